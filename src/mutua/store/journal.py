"""Where committed writes go to survive the process.

The index in memory answers every read; a journal only has to take each change before it is
acknowledged, and to give everything back after a restart.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from typing_extensions import override

from mutua.api.object import Key, Resource
from mutua.store.history import Change


@dataclass(frozen=True, slots=True)
class Recovered:
    """What a journal remembers.

    Attributes:
        version: The last resourceVersion given out.
        objects: Every live object's JSON.
        changes: Recent changes, oldest first.
        horizons: Per kind, the position before which changes are forgotten.
    """

    version: int = 0
    objects: Iterable[tuple[Key, bytes]] = ()
    changes: Iterable[Change] = ()
    horizons: dict[Resource, int] = field(default_factory=dict)


class Journal(Protocol):
    """A durable log of changes."""

    def recover(self) -> Recovered:
        """Return everything written so far; called once, first."""
        ...

    def append(self, change: Change) -> None:
        """Make one change durable; returning means it survives the death of the process."""
        ...

    def close(self) -> None:
        """Release what the journal holds."""
        ...


class ForgetfulJournal(Journal):
    """A journal that keeps nothing: what a store in memory uses."""

    @override
    def recover(self) -> Recovered:
        return Recovered()

    @override
    def append(self, change: Change) -> None:
        pass

    @override
    def close(self) -> None:
        pass
