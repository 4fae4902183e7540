"""What does the cluster look like right now?  The store in memory, for those who react to it.

A `Mirror` lists and watches one kind; a `View` holds the mirrors of several and writes through:
what a write returned is visible to the writer's next read, although the watch has not delivered
it yet.  That spares controllers the bookkeeping of "did I already create it?", the source of
duplicated pods.  Objects in a mirror are shared: copy before changing one.

Prior art: client-go's informers; the write-through replaces its expectations.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from mutua.api.object import PODS, Object, Resource
from mutua.cluster.controllers.pod_facts import grace_of
from mutua.foundation.backoff import Backoff
from mutua.foundation.errors import Unavailable
from mutua.store.port import EventType, Expired, NotFound, ObjectStore, Stale

RELIST: Final = Backoff(first=0.05, ceiling=5.0)
"""Between failed lists: the store is in this process, so an outage is short and jitter useless."""

log = logging.getLogger(__name__)


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


class Mirror:
    """All objects of one kind, following the store."""

    def __init__(self, store: ObjectStore, resource: Resource) -> None:
        self.resource = resource
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
        return [obj for objects in self._objects.values() for obj in objects.values()]

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
            except Unavailable:
                await asyncio.sleep(RELIST.delay(attempt, draw=0.5))
                attempt += 1

    async def _relist(self) -> None:
        listing = await self._store.list(self.resource)
        listed = {address(obj) for obj in listing.items}
        for old in self.list():
            if address(old) not in listed and version(old) <= listing.resource_version:
                self._remove(old)
        for obj in listing.items:
            self._store_newer(obj)
        self._position = max(self._position, listing.resource_version)
        self._synced.set()

    async def _follow(self) -> None:
        async for event in self._store.watch(self.resource, since=self._position):
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
        self._objects.get(namespace, {}).pop(name, None)
        self._tell(Change(obj, None))

    def _tell(self, change: Change) -> None:
        for listener in self._listeners:
            listener(change)


class View:
    """Several mirrors and the store behind them: read from memory, write through."""

    def __init__(self, store: ObjectStore, resources: Iterable[Resource]) -> None:
        self.store = store
        self._mirrors = {resource: Mirror(store, resource) for resource in resources}

    def __getitem__(self, resource: Resource) -> Mirror:
        return self._mirrors[resource]

    @property
    def resources(self) -> tuple[Resource, ...]:
        """What this view follows."""
        return tuple(self._mirrors)

    async def run(self) -> None:
        """Follow the store until cancelled."""
        async with asyncio.TaskGroup() as group:
            for mirror in self._mirrors.values():
                group.create_task(mirror.run(), name=f"mirror {mirror.resource}")

    async def wait_synced(self) -> None:
        """Return once every mirror has its first list."""
        for mirror in self._mirrors.values():
            await mirror.wait_synced()

    async def create(self, resource: Resource, obj: Object) -> Object:
        """Create through the store; see `ObjectStore.create`."""
        return self._seen(resource, await self.store.create(resource, obj))

    async def update(self, resource: Resource, obj: Object) -> Object:
        """Update through the store; see `ObjectStore.update`."""
        return self._seen(resource, await self.store.update(resource, obj))

    async def update_status(self, resource: Resource, obj: Object) -> Object:
        """Update only the status; see `ObjectStore.update_status`."""
        return self._seen(resource, await self.store.update_status(resource, obj))

    async def delete(self, resource: Resource, obj: Object) -> None:
        """Delete this incarnation of an object, a pod with its grace; fine when it is gone."""
        namespace, name = address(obj)
        grace = grace_of(obj) if resource == PODS else None
        try:
            left = await self.store.delete(resource, namespace, name, uid=uid(obj), grace=grace)
        except (NotFound, Stale):
            return  # gone, or another incarnation by now
        if left["metadata"].get("deletionTimestamp") and resource in self._mirrors:
            self[resource].put(left)

    def _seen(self, resource: Resource, obj: Object) -> Object:
        if resource in self._mirrors:
            self[resource].put(obj)
        return obj


def address(obj: Object) -> tuple[str, str]:
    """Return namespace ("" when it has none) and name."""
    metadata = obj["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


def uid(obj: Object) -> str:
    """Return the object's uid."""
    return str(obj["metadata"].get("uid", ""))


def version(obj: Object) -> int:
    """Return the object's resourceVersion."""
    return int(obj["metadata"].get("resourceVersion") or 0)
