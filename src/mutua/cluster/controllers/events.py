"""What happened to an object, for `kubectl describe` and `kubectl get events`.

Recording never blocks and never fails the caller: a bounded queue, written behind.  The same
thing happening again raises the count of one Event object instead of making another, and Events
go after an hour or when there are too many.  Source: client-go `tools/record`, event TTL of
kube-apiserver.
"""

import asyncio
import logging
from collections import OrderedDict
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Literal

from mutua.api.object import EVENTS, Object
from mutua.foundation.clock import Clock, parse_rfc3339, rfc3339
from mutua.foundation.errors import MutuaError
from mutua.store.port import NotFound, ObjectStore

LIFETIME: Final = timedelta(hours=1)
"""kube-apiserver --event-ttl."""

MOST: Final = 1000
"""Events kept in all namespaces: a crash loop must not fill the store."""

PENDING: Final = 256
"""Occurrences waiting to be written; what comes on top is dropped."""

MESSAGE: Final = 1024
"""Longest message, in characters (Kubernetes events.k8s.io/v1 note: 1 kB)."""

SWEEP: Final = 60.0
"""Seconds between two looks for old events."""

log = logging.getLogger(__name__)

Severity = Literal["Normal", "Warning"]


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One thing that happened, in the words of an Event."""

    involved: dict[str, Any]
    severity: Severity
    reason: str
    message: str
    component: str

    @property
    def identity(self) -> tuple[str, ...]:
        """What two occurrences of the same thing have in common."""
        return (
            self.involved.get("uid", ""),
            self.involved["name"],
            self.severity,
            self.reason,
            self.message,
            self.component,
        )


@dataclass(frozen=True, slots=True)
class Written:
    """An Event object in the store, and when its occurrence was last seen (RFC 3339)."""

    namespace: str
    name: str
    seen: str


class EventRecorder:
    """Writes Events behind the back of those who record them."""

    def __init__(self, store: ObjectStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._queue: asyncio.Queue[Occurrence] = asyncio.Queue(PENDING)
        self._written: OrderedDict[tuple[str, ...], Written] = OrderedDict()
        self._number = 0

    def record(
        self, obj: Object, severity: Severity, reason: str, message: str, *, component: str
    ) -> None:
        """Note that something happened to `obj`; returns at once."""
        occurrence = Occurrence(_reference(obj), severity, reason, message[:MESSAGE], component)
        try:
            self._queue.put_nowait(occurrence)
        except asyncio.QueueFull:
            log.warning("event dropped: too many at once", extra={"reason": reason})

    async def run(self) -> None:
        """Write what was recorded until cancelled."""
        await self._adopt()
        while True:
            try:
                async with asyncio.timeout(SWEEP):
                    occurrence = await self._queue.get()
            except TimeoutError:
                await self._sweep()
                continue
            try:
                await self._write(occurrence)
            except MutuaError as error:  # a terminating namespace takes no events
                log.debug("event not written", extra={"reason": str(error)})
            if len(self._written) > MOST:
                await self._sweep()

    async def _adopt(self) -> None:
        for event in sorted((await self._store.list(EVENTS)).items, key=_last_seen):
            metadata = event["metadata"]
            written = Written(metadata["namespace"], metadata["name"], _last_seen(event))
            self._written[_occurrence(event).identity] = written
        await self._sweep()

    async def _write(self, occurrence: Occurrence) -> None:
        now = rfc3339(self._clock.now())
        known = self._written.get(occurrence.identity)
        event = None if known is None else await self._find(known)
        if event is None:
            event = await self._store.create(EVENTS, self._new(occurrence, now))
        else:
            event["count"] = int(event.get("count") or 1) + 1
            event["lastTimestamp"] = now
            await self._store.update(EVENTS, event)
        metadata = event["metadata"]
        written = Written(metadata["namespace"], metadata["name"], now)
        self._written[occurrence.identity] = written
        self._written.move_to_end(occurrence.identity)

    async def _find(self, written: Written) -> Object | None:
        try:
            return await self._store.get(EVENTS, written.namespace, written.name)
        except NotFound:
            return None

    def _new(self, occurrence: Occurrence, now: str) -> Object:
        """Name events so that those of one second list in the order in which they happened."""
        self._number += 1
        microseconds = int(self._clock.now().timestamp() * 1e6)
        suffix = f"{microseconds:015x}{self._number % 0x1000:03x}"
        return _new_event(occurrence, f"{occurrence.involved['name'][:200]}.{suffix}", now)

    async def _sweep(self) -> None:
        oldest = rfc3339(self._clock.now() - LIFETIME)
        while self._written:
            identity, written = next(iter(self._written.items()))
            if written.seen >= oldest and len(self._written) <= MOST:
                return
            try:
                await self._store.delete(EVENTS, written.namespace, written.name)
            except NotFound:
                pass  # its namespace went first
            except MutuaError as error:
                log.warning("old event not deleted", extra={"reason": str(error)})
                return  # the next sweep begins with it
            del self._written[identity]


def _occurrence(event: Object) -> Occurrence:
    """Read back what an Event says."""
    involved = {"name": "", **(event.get("involvedObject") or {})}
    component = (event.get("source") or {}).get("component") or ""
    severity: Severity = "Warning" if event.get("type") == "Warning" else "Normal"
    return Occurrence(
        involved, severity, event.get("reason") or "", event.get("message") or "", component
    )


def _new_event(occurrence: Occurrence, name: str, now: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"namespace": occurrence.involved.get("namespace") or "default", "name": name},
        "involvedObject": occurrence.involved,
        "type": occurrence.severity,
        "reason": occurrence.reason,
        "message": occurrence.message,
        "source": {"component": occurrence.component},
        "reportingComponent": occurrence.component,
        "reportingInstance": "",
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }


def _reference(obj: Object) -> dict[str, Any]:
    metadata = obj["metadata"]
    reference = {
        "apiVersion": obj.get("apiVersion", ""),
        "kind": obj.get("kind", ""),
        "namespace": metadata.get("namespace", ""),
        "name": metadata["name"],
        "uid": metadata.get("uid", ""),
    }
    return {name: value for name, value in reference.items() if value}


def _last_seen(event: Object) -> str:
    seen = event.get("lastTimestamp") or event["metadata"].get("creationTimestamp") or ""
    try:
        return rfc3339(parse_rfc3339(seen))
    except ValueError:
        return ""
