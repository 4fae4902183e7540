"""The ledger itself: one entry per server workload, port and caller; bounded, and pure.

An entry counts requests (HTTP) or connections (anything else) since it was opened.  When there is
no room, the entry that has been silent for longest makes place, and the ledger says how many did.
Writing is somebody else's business: it takes what changed, at once if it is more than numbers.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from mutua.controlplane.ledger.cause import Finding
from mutua.controlplane.ledger.party import Party
from mutua.xds.sighting import Sighting, Speaks

MOST: Final = 2000
"""Entries kept.  Each is an object of about one kilobyte."""

MOST_OF_ONE: Final = 500
"""Entries kept about one server: what its proxy says must not displace what others said."""

MOST_PODS: Final = 8
"""Pods of a caller that an entry names, the latest ones."""


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """What an entry is about.

    Attributes:
        server: Whose proxy reported.
        port: The pod's port.
        caller: Who called.
    """

    server: Party
    port: int
    caller: Party


@dataclass(slots=True, kw_only=True)
class Entry:
    """What is known about one caller of one port.

    Attributes:
        key: Who and where.
        first_seen: When it was first seen in plaintext, or refused.
        last_seen: When it was last served in plaintext; None when it never was.
        count: How often it was served.
        last_refused: When it was last refused; None when it never was.
        refused: How often it was refused.
        speaks: What it spoke last.
        host: Whom its last HTTP request asked for, "" for none.
        account: Its service account, "" when it is no pod.
        address: Where it called from last.
        pods: Uids of its pods that called, the latest first.
        process: Name of the program that called, "" when unknown.
        finding: Why it did not use mutual TLS when it was last served.
    """

    key: Key
    first_seen: datetime
    last_seen: datetime | None = None
    count: int = 0
    last_refused: datetime | None = None
    refused: int = 0
    speaks: Speaks = Speaks.TCP
    host: str = ""
    account: str = ""
    address: str = ""
    pods: tuple[str, ...] = ()
    process: str = ""
    finding: Finding | None = None

    @property
    def latest(self) -> datetime:
        """When it was last seen at all."""
        return max(self.last_seen or self.first_seen, self.last_refused or self.first_seen)


@dataclass(slots=True)
class Ledger:
    """All entries, those silent for longest first.

    Attributes:
        most: Entries kept.
        most_of_one: Entries kept about one server.
        displaced: How many made place for others.
    """

    most: int = MOST
    most_of_one: int = MOST_OF_ONE
    displaced: int = 0
    _entries: OrderedDict[Key, Entry] = field(default_factory=OrderedDict)
    _of: dict[Party, OrderedDict[Key, None]] = field(default_factory=dict)
    _changed: dict[Key, None] = field(default_factory=dict)
    _urgent: dict[Key, None] = field(default_factory=dict)
    _displaced: list[Key] = field(default_factory=list)

    def restore(self, entries: Iterable[Entry]) -> None:
        """Take up what was written earlier."""
        for entry in sorted(entries, key=lambda one: one.latest):
            self._entries[entry.key] = entry
            self._move_to_end(entry.key)

    def note(self, key: Key, sighting: Sighting, now: datetime) -> Entry:
        """Count one sighting, and return its entry."""
        entry = self._entries.get(key)
        is_news = entry is None or (sighting.refused and not entry.refused)
        if entry is None:
            entry = self._entries[key] = Entry(key=key, first_seen=now)
        self._move_to_end(key)
        if sighting.refused:
            entry.refused += 1
            entry.last_refused = now
        else:
            entry.count += 0 if sighting.ongoing and entry.count else 1
            entry.last_seen = now
            entry.speaks = sighting.speaks
            entry.host = sighting.host or entry.host
        entry.address = sighting.source
        self._changed[key] = None
        if is_news:
            self._urgent[key] = None
        self._make_room(key.server)
        return entry

    def touch(self, entry: Entry) -> None:
        """Note that more than numbers changed in an entry."""
        if entry.key in self._entries:
            self._urgent[entry.key] = None

    def find(self, key: Key) -> Entry | None:
        """Return an entry."""
        return self._entries.get(key)

    def forget(self, key: Key) -> None:
        """Drop an entry; the caller's next call opens a new one."""
        self._entries.pop(key, None)
        if key in (siblings := self._of.get(key.server, OrderedDict())):
            del siblings[key]
            if not siblings:
                del self._of[key.server]
        self._changed.pop(key, None)
        self._urgent.pop(key, None)

    def take_urgent(self, limit: int) -> list[Entry]:
        """Return entries in which more than numbers changed since they were last taken."""
        return [self._taken(key) for key in list(self._urgent)[:limit]]

    def take_changed(self, limit: int) -> list[Entry]:
        """Return entries that changed since they were last taken, longest waiting first."""
        return [self._taken(key) for key in list(self._changed)[:limit]]

    def take_displaced(self) -> list[Key]:
        """Return the keys of entries that made place since the last call."""
        taken, self._displaced = self._displaced, []
        return taken

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def _taken(self, key: Key) -> Entry:
        self._changed.pop(key, None)
        self._urgent.pop(key, None)
        return self._entries[key]

    def _move_to_end(self, key: Key) -> None:
        self._entries.move_to_end(key)
        siblings = self._of.setdefault(key.server, OrderedDict())
        siblings[key] = None
        siblings.move_to_end(key)

    def _make_room(self, server: Party) -> None:
        if len(self._of[server]) > self.most_of_one:
            self._displace(next(iter(self._of[server])))
        if len(self._entries) > self.most:
            self._displace(next(iter(self._entries)))

    def _displace(self, key: Key) -> None:
        self.forget(key)
        self._displaced.append(key)
        self.displaced += 1
