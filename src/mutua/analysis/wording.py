"""How messages name several things."""

from collections.abc import Sequence
from typing import Final

SHOWN: Final = 4
"""Names that a message gives before it counts the rest."""


def having(names: Sequence[str]) -> str:
    """Return `a has` or `a and b have`."""
    return f"{listed(names)} {'has' if len(names) == 1 else 'have'}"


def listed(names: Sequence[str]) -> str:
    """Return `a`, `a and b`, `a, b and 7 more`."""
    shown, rest = names[:SHOWN], len(names) - SHOWN
    if rest > 0:
        return f"{', '.join(shown)} and {rest} more"
    if len(shown) < 2:
        return "".join(shown)
    return f"{', '.join(shown[:-1])} and {shown[-1]}"
