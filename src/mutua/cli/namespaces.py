"""Is there such a namespace?  The API lists a missing one as it lists an empty one: with success.

A command that is given a name with a typing error must not answer "nothing to report" or "READY".
"""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

from mutua.api.object import NAMESPACES
from mutua.cli.client import ALL_NAMESPACES, list_objects
from mutua.foundation.errors import Rejected


def require_namespace(client: Any, name: str) -> None:
    """Ask the API for a namespace that a command was given; "" and "*" mean all.

    Raises:
        Rejected: There is none of that name.
    """
    if name not in {"", ALL_NAMESPACES}:
        check_namespace(name, (one["metadata"]["name"] for one in list_objects(client, NAMESPACES)))


def check_namespace(name: str, existing: Iterable[str]) -> None:
    """Look for a namespace among the names of those that exist.

    Raises:
        Rejected: It is not one of them; the hint has the names that are spelled nearly so.
    """
    names = sorted(existing)
    if name not in names:
        near = ", ".join(get_close_matches(name, names))
        raise Rejected(f'namespaces "{name}" not found', hint=near and f"did you mean: {near}?")
