"""What does the cluster look like right now, my own writes included?

A `View` holds the mirrors of several kinds and writes through: what a write returned is visible
to the writer's next read, although the watch has not delivered it yet.  That spares controllers
the bookkeeping of "did I already create it?", the source of duplicated pods.

Prior art: client-go's informers; the write-through replaces its expectations.
"""

import asyncio
from collections.abc import Iterable

from mutua.api.object import PODS, Object, Resource
from mutua.cluster.controllers.pod_facts import grace_of
from mutua.store.mirror import Mirror, address, uid
from mutua.store.port import NotFound, ObjectStore, Stale


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
