"""Since when has somebody been watching, and when was nobody?

The ConfigMap `NAME` in the root namespace holds the answer, so that a plan can say what it is
based on.  While the control plane is down, proxies have nobody to report to: that is a gap.
"""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from mutua.api.object import CONFIG_MAPS, Object
from mutua.foundation.clock import Clock, parse_rfc3339, rfc3339
from mutua.foundation.errors import MutuaError
from mutua.store.port import NotFound, ObjectStore

NAME: Final = "mutua-plaintext-ledger"

HEARTBEAT: Final = timedelta(seconds=30)
"""How often "still watching" is written; what a crash makes uncertain."""

SHORT: Final = timedelta(seconds=2)
"""A gap that is not mentioned: whoever is seen once is seen again."""

MOST_GAPS: Final = 20


@dataclass(frozen=True, slots=True)
class Watched:
    """What the ledger is based on.

    Attributes:
        since: When it was begun.
        until: When it was last known to be kept.
        gaps: Times in between when nobody watched, the latest last.
        displaced: Entries that made place for others.
    """

    since: datetime
    until: datetime
    gaps: tuple[tuple[datetime, datetime], ...] = ()
    displaced: int = 0

    @property
    def missed(self) -> timedelta:
        """How long nobody watched, all in all."""
        return sum((end - begin for begin, end in self.gaps), timedelta())


def from_config_map(obj: Object) -> Watched | None:
    """Read the ConfigMap; None when it makes no sense."""
    data = obj.get("data") or {}
    try:
        return Watched(
            parse_rfc3339(data["since"]),
            parse_rfc3339(data["until"]),
            tuple((parse_rfc3339(a), parse_rfc3339(b)) for a, b in json.loads(data["gaps"])),
            int(data.get("displaced", "0")),
        )
    except (KeyError, TypeError, ValueError):
        return None


def resumed(before: Watched | None, now: datetime) -> Watched:
    """Return what is watched from now on."""
    if before is None or now < before.until:
        return Watched(now, now)
    gaps = before.gaps
    if now - before.until > SHORT:
        gaps = (*gaps, (before.until, now))[-MOST_GAPS:]
    return Watched(before.since, now, gaps, before.displaced)


class Watch:
    """Keeps the ConfigMap true."""

    def __init__(self, store: ObjectStore, clock: Clock, root_namespace: str) -> None:
        self._store = store
        self._clock = clock
        self._namespace = root_namespace
        self._state: Watched | None = None
        self._carried = 0

    async def begin(self) -> None:
        """Note that watching begins, or begins again."""
        try:
            found = await self._store.get(CONFIG_MAPS, self._namespace, NAME)
        except MutuaError:
            found = {}
        before = from_config_map(found)
        self._carried = before.displaced if before else 0
        self._state = resumed(before, self._clock.now())
        await self._write(self._state)

    async def note(self, displaced: int, *, ending: bool = False) -> None:
        """Note that it goes on, when that is due.

        Args:
            displaced: Entries that made place since `begin`.
            ending: Whether this is the last time.
        """
        now, state = self._clock.now(), self._state
        if state is None or (now - state.until < HEARTBEAT and not ending):
            return
        self._state = Watched(state.since, now, state.gaps, self._carried + displaced)
        await self._write(self._state)

    async def _write(self, state: Watched) -> None:
        gaps = [[rfc3339(begin), rfc3339(end)] for begin, end in state.gaps]
        data: dict[str, Any] = {
            "since": rfc3339(state.since),
            "until": rfc3339(state.until),
            "gaps": json.dumps(gaps),
            "displaced": str(state.displaced),
        }
        metadata = {"namespace": self._namespace, "name": NAME}
        obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
        try:
            try:
                await self._store.update(CONFIG_MAPS, obj)
            except NotFound:
                await self._store.create(CONFIG_MAPS, obj)
        except MutuaError:
            return  # the next one will do
