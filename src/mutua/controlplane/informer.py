"""All objects of one kind in memory, following the store: list once, then watch.

Whoever reads `objects` sees the store as it was a moment ago, and is told when it moved on.  An
object is a new Python object only when it changed, so readers may compare by identity.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from mutua.api.object import Object, Resource
from mutua.foundation.backoff import Backoff
from mutua.foundation.errors import Unavailable
from mutua.store.port import EventType, Expired, ObjectStore

RETRY: Final = Backoff(first=0.05, ceiling=5.0)
"""Between failed lists; seconds.  One process asks, so the jitter is not drawn."""

log = logging.getLogger(__name__)

Address = tuple[str, str]
"""Namespace ("" when it has none) and name."""


class Informer:
    """The objects of one kind.

    Attributes:
        resource: The kind.
        objects: By address.  Shared: never change one.
        synced: Set once the first list is in.
    """

    def __init__(
        self, store: ObjectStore, resource: Resource, on_change: Callable[[Address], None]
    ) -> None:
        """Follow `resource`; `on_change` is called after every change and must not block."""
        self.resource = resource
        self.objects: dict[Address, Object] = {}
        self.synced = asyncio.Event()
        self._store = store
        self._on_change = on_change

    async def run(self) -> None:
        """Follow the store until cancelled."""
        attempt = 0
        while True:
            try:
                position = await self._list()
                attempt = 0
                await self._follow(position)
            except Expired:
                log.info("watch expired, listing again", extra={"resource": str(self.resource)})
            except Unavailable as error:
                log.warning(
                    "store unavailable",
                    extra={"resource": str(self.resource), "reason": str(error)},
                )
                await asyncio.sleep(RETRY.delay(attempt, draw=0.5))
                attempt += 1

    async def _list(self) -> int:
        listing = await self._store.list(self.resource)
        listed = {address(obj): obj for obj in listing.items}
        for key in self.objects.keys() - listed.keys():
            self._set(key, None)
        for key, obj in listed.items():
            if _version(self.objects.get(key)) != _version(obj):
                self._set(key, obj)
        self.synced.set()
        return listing.resource_version

    async def _follow(self, position: int) -> None:
        async for event in self._store.watch(self.resource, since=position):
            if event.type is EventType.DELETED:
                self._set(address(event.object), None)
            elif event.type is not EventType.BOOKMARK:
                self._set(address(event.object), event.object)

    def _set(self, key: Address, obj: Object | None) -> None:
        if obj is None:
            self.objects.pop(key, None)
        else:
            self.objects[key] = obj
        self._on_change(key)


def address(obj: Object) -> Address:
    """Return an object's namespace ("" when it has none) and name."""
    metadata = obj["metadata"]
    return metadata.get("namespace") or "", metadata["name"]


def _version(obj: Object | None) -> str:
    return str(obj["metadata"].get("resourceVersion", "")) if obj is not None else ""
