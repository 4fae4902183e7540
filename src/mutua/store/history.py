"""Which changes has a watcher not seen yet?

One bounded list of changes per kind, so that a chatty kind (events, pod status) never pushes the
changes of a quiet one (policies) out of reach.  Watchers hold a position, not a queue: a slow
watcher costs nothing, and one that falls behind the horizon is told to list again.

Objects are kept as the JSON text that was stored.  Every reader decodes its own copy, which is
how the port's promise "it never changes under them" is kept.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from mutua.api.object import Key, Resource
from mutua.store.port import EventType, Expired

CAPACITY: Final = 2048
"""Changes kept per kind.  Source: enough for a rollout of hundreds of pods between two polls of a
stalled watcher; about 12 MB for a kind of 3 KB objects when full (each body is shared by two
changes)."""


@dataclass(frozen=True, slots=True)
class Change:
    """One committed write.

    Attributes:
        version: The resourceVersion it made.
        key: The address of the object.
        type: ADDED, MODIFIED or DELETED.
        body: JSON of the object after the change; with the deletion's version when DELETED.
        previous: JSON of the object before the change, None when ADDED.
    """

    version: int
    key: Key
    type: EventType
    body: bytes
    previous: bytes | None


@dataclass(slots=True)
class _Ring:
    horizon: int
    changes: list[Change] = field(default_factory=list)


class History:
    """The recent changes of every kind."""

    def __init__(self, *, capacity: int = CAPACITY, horizon: int = 0) -> None:
        """Start empty.

        Args:
            capacity: Changes kept per kind.
            horizon: Position before which nothing is known of any kind.
        """
        self._capacity = capacity
        self._horizon = horizon
        self._rings: dict[Resource, _Ring] = {}

    def append(self, change: Change) -> None:
        """Add the newest change, forgetting the oldest of its kind when there are too many."""
        ring = self._ring(change.key.resource)
        ring.changes.append(change)
        # Trimmed in blocks: deleting the head of a list costs its length.
        if len(ring.changes) >= self._capacity + self._slack:
            dropped = len(ring.changes) - self._capacity
            ring.horizon = ring.changes[dropped - 1].version
            del ring.changes[:dropped]

    def forget(self, resource: Resource, version: int) -> None:
        """Declare that changes of this kind up to `version` are not known."""
        self._ring(resource).horizon = version

    def since(self, resource: Resource, version: int) -> Sequence[Change]:
        """Return the changes of a kind after position `version`, oldest first.

        Raises:
            Expired: Some of them have been forgotten.
        """
        ring = self._ring(resource)
        if version < ring.horizon:
            raise Expired(f"too old resource version: {version} ({ring.horizon})")
        changes = ring.changes
        if not changes or changes[-1].version <= version:
            return ()
        return changes[bisect_right(changes, version, key=lambda change: change.version) :]

    @property
    def _slack(self) -> int:
        return max(self._capacity // 8, 1)

    def _ring(self, resource: Resource) -> _Ring:
        ring = self._rings.get(resource)
        if ring is None:
            ring = self._rings[resource] = _Ring(self._horizon)
        return ring
