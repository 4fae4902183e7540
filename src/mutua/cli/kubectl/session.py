"""What do kubectl's commands have in common?  Options, and whom they speak to about what."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

import click
from lightkube import ApiError, Client

from mutua.api.kinds import Kind
from mutua.api.object import Object
from mutua.cli.client import ALL_NAMESPACES, connect, list_objects, resource_class
from mutua.cli.kubectl.arguments import Target
from mutua.foundation.errors import Rejected, Unavailable
from mutua.foundation.layout import Layout

POLL: Final = 0.1
"""Seconds between two looks while waiting."""

namespace_option: Final = click.option(
    "-n", "--namespace", metavar="NAME", help="Default: default."
)
everywhere_option: Final = click.option(
    "-A", "--all-namespaces", is_flag=True, help="In every namespace."
)
selector_option: Final = click.option(
    "-l", "--selector", default="", metavar="LABELS", help="Such as app=web or 'app in (a,b)'."
)


@dataclass(frozen=True, slots=True)
class Session:
    """What the group `kubectl` was told, before its command."""

    layout: Layout
    namespace: str | None

    @contextmanager
    def connect(
        self, namespace: str | None = None, *, everywhere: bool = False
    ) -> Iterator[Client]:
        """Yield a client whose namespace is the command's."""
        chosen = ALL_NAMESPACES if everywhere else namespace or self.namespace or "default"
        with connect(self.layout, chosen) as client:
            yield client


def read_objects(client: Client, target: Target, selector: str = "") -> list[Object]:
    """Return the objects of a kind that a label selector picks, in the client's namespace."""
    from mutua.api.selectors import parse_label_selector

    wanted = parse_label_selector(selector)
    found = list_objects(client, target.kind.resource, client.namespace)
    return [obj for obj in found if wanted.matches(obj["metadata"].get("labels"))]


def read_object(client: Client, kind: Kind, name: str) -> Object:
    """Return one object.

    Raises:
        ApiError: It does not exist.
    """
    if kind.namespaced and client.namespace == ALL_NAMESPACES:
        raise Rejected("a resource cannot be retrieved by name across all namespaces")
    found = client.get(resource_class(kind), name)
    return {"apiVersion": kind.api_version(), "kind": kind.kind, **found}


def each(targets: Sequence[Target]) -> Iterator[Target]:
    """Yield one target for every name, and one for a kind without names."""
    for target in targets:
        if target.names:
            yield from (replace(target, names=(name,)) for name in target.names)
        else:
            yield target


def place(kind: Kind, obj: Object) -> dict[str, str]:
    """Return lightkube's arguments that say in which namespace an object is."""
    return {"namespace": obj["metadata"]["namespace"]} if kind.namespaced else {}


def until(holds: Callable[[], bool], deadline: float, complaint: str) -> None:
    """Look again and again until something holds.

    Raises:
        Unavailable: It did not before the deadline, on the monotonic clock.
    """
    while not holds():
        if time.monotonic() > deadline:
            raise Unavailable(complaint)
        time.sleep(POLL)


def until_gone(client: Client, kind: Kind, obj: Object, deadline: float) -> None:
    """Wait until an object, or that one of its name, is gone.

    Raises:
        Unavailable: It is still there at the deadline.
    """
    name, uid = obj["metadata"]["name"], obj["metadata"].get("uid")

    def gone() -> bool:
        try:
            now: Any = client.get(resource_class(kind), name, **place(kind, obj))
        except ApiError as error:
            if error.status.code == 404:
                return True
            raise
        return uid not in {None, now["metadata"]["uid"]}

    plural = kind.resource.plural
    until(gone, deadline, f"timed out waiting for the condition on {plural}/{name}")


def seconds(text: str) -> float:
    """Read a duration such as 30s, 2m or 1h.

    Raises:
        Rejected: It is something else.
    """
    units = {"s": 1, "m": 60, "h": 3600}
    number, unit = (text[:-1], text[-1]) if text[-1:] in units else (text, "s")
    try:
        return float(number) * units[unit]
    except ValueError as error:
        raise Rejected(f"--timeout: {text!r} is not a duration such as 30s or 2m") from error
