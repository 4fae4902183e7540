"""All objects of one kind in memory, following the store: list once, then watch.

Whoever reads a `Mirror` sees the store as it was a moment ago, and is told when it moved on.  An
object is a new Python object only when it changed, so readers may compare by identity; objects
are shared, so copy before changing one.

Prior art: client-go's informers.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from typing import Final

from mutua.api.object import Object, Resource
from mutua.foundation.backoff import Backoff
from mutua.foundation.errors import Unavailable
from mutua.store.port import EventType, Expired, ObjectStore

RELIST: Final = Backoff(first=0.05, ceiling=5.0)
"""Seconds between failed lists.  One process asks, so the jitter is not drawn."""

log = logging.getLogger(__name__)

Address = tuple[str, str]
"""Namespace ("" when it has none) and name."""


@dataclass(frozen=True, slots=True)
class Change:
    """One object before and after; None when it did not exist."""

    before: Object | None
    after: Object | None

    @property
    def object(self) -> Object:
        """The object after the change, or its last state."""
        obj = self.after if self.after is not None else self.before
        assert obj is not None, "a change is about an object"  # noqa: S101
        return obj


Listener = Callable[[Change], None]
"""Enqueues; it runs inside the delivery and must neither work nor raise."""


class Mirror:
    """All objects of one kind, following the store.

    Attributes:
        resource: The kind.
    """

    def __init__(
        self, store: ObjectStore, resource: Resource, namespace: str | None = None
    ) -> None:
        """Prepare to follow `resource`, in one namespace or (None) all; `run` does it."""
        self.resource = resource
        self._namespace = namespace
        self._store = store
        self._objects: dict[str, dict[str, Object]] = {}
        self._position = 0
        self._listeners: list[Listener] = []
        self._synced = asyncio.Event()

    def get(self, namespace: str, name: str) -> Object | None:
        """Return one object, or None."""
        return self._objects.get(namespace, {}).get(name)

    def list(self, namespace: str | None = None) -> list[Object]:
        """Return the objects of one namespace, or (None) of all."""
        if namespace is not None:
            return list(self._objects.get(namespace, {}).values())
        return list(chain.from_iterable(one.values() for one in self._objects.values()))

    def subscribe(self, listener: Listener) -> None:
        """Call `listener` for every change, and now for every object that is there.

        Listeners run inside the delivery: they enqueue, they do not work.
        """
        self._listeners.append(listener)
        for obj in self.list():
            listener(Change(None, obj))

    async def wait_synced(self) -> None:
        """Return once the first list is in."""
        await self._synced.wait()

    def put(self, obj: Object) -> None:
        """Take over what a write returned, unless the watch knows better already."""
        if version(obj) > self._position:
            self._store_newer(obj)

    async def run(self) -> None:
        """Follow the store until cancelled."""
        attempt = 0
        while True:
            try:
                await self._relist()
                attempt = 0
                await self._follow()
            except Expired:
                log.info("watch expired, listing again", extra={"resource": str(self.resource)})
            except Unavailable as error:
                log.warning(
                    "store unavailable",
                    extra={"resource": str(self.resource), "reason": str(error)},
                )
                await asyncio.sleep(RELIST.delay(attempt, draw=0.5))
                attempt += 1

    async def _relist(self) -> None:
        listing = await self._store.list(self.resource, self._namespace)
        listed = {address(obj) for obj in listing.items}
        for old in self.list():
            if address(old) not in listed and version(old) <= listing.resource_version:
                self._remove(old)
        for obj in listing.items:
            self._store_newer(obj)
        self._position = max(self._position, listing.resource_version)
        self._synced.set()

    async def _follow(self) -> None:
        watch = self._store.watch(self.resource, since=self._position, namespace=self._namespace)
        async for event in watch:
            self._position = max(self._position, event.resource_version)
            if event.type is EventType.DELETED:
                known = self.get(*address(event.object))
                if known is not None and version(known) <= event.resource_version:
                    self._remove(event.object)
            elif event.type is not EventType.BOOKMARK:
                self._store_newer(event.object)

    def _store_newer(self, obj: Object) -> None:
        namespace, name = address(obj)
        known = self.get(namespace, name)
        if known is not None and version(known) >= version(obj):
            return
        if known is not None and uid(known) != uid(obj):
            self._remove(known)  # deleted and created again: two changes, not one
            known = None
        self._objects.setdefault(namespace, {})[name] = obj
        self._tell(Change(known, obj))

    def _remove(self, obj: Object) -> None:
        namespace, name = address(obj)
        if (siblings := self._objects.get(namespace)) is not None:
            siblings.pop(name, None)
            if not siblings:
                del self._objects[namespace]  # namespaces come and go
        self._tell(Change(obj, None))

    def _tell(self, change: Change) -> None:
        for listener in self._listeners:
            listener(change)


def address(obj: Object) -> Address:
    """Return namespace ("" when it has none) and name."""
    metadata = obj["metadata"]
    return metadata.get("namespace") or "", metadata["name"]


def uid(obj: Object) -> str:
    """Return the object's uid."""
    return str(obj["metadata"].get("uid", ""))


def version(obj: Object) -> int:
    """Return the object's resourceVersion."""
    return int(obj["metadata"].get("resourceVersion") or 0)
