"""What is in memory is what is in the store, whatever happens on the way."""

from collections.abc import AsyncIterator, Callable
from typing import Any

from mutua.api.object import PODS, Resource
from mutua.controlplane.informer import Address, Informer
from mutua.foundation.errors import Unavailable
from mutua.lifecycle.supervisor import Ready
from mutua.store.memory import MemoryStore
from mutua.store.port import Event, Expired, Listing
from mutua.testing.clock import ManualClock
from mutua.testing.mesh import pod
from mutua.testing.proxy import eventually, running


class FaultyStore(MemoryStore):
    """Fails in the ways it is told to, once each, and then works."""

    def __init__(self) -> None:
        super().__init__(ManualClock())
        self.list_faults: list[Exception] = []
        self.watch_faults: list[Exception] = []
        self.lists = 0

    async def list(self, resource: Resource, namespace: str | None = None) -> Listing:
        self.lists += 1
        if self.list_faults:
            raise self.list_faults.pop()
        return await super().list(resource, namespace)

    async def watch(
        self, resource: Resource, *, since: int, namespace: str | None = None
    ) -> AsyncIterator[Event]:
        if self.watch_faults:
            raise self.watch_faults.pop()
        async for event in super().watch(resource, since=since, namespace=namespace):
            yield event


def follow(store: MemoryStore) -> tuple[Informer, Callable[[Ready], Any], list[Address]]:
    changes: list[Address] = []
    informer = Informer(store, PODS, changes.append)

    async def service(ready: Ready) -> None:
        ready()
        await informer.run()

    return informer, service, changes


async def test_it_has_what_was_there_and_follows_what_happens() -> None:
    store = FaultyStore()
    await store.create(PODS, pod("shop", "old"))
    informer, service, changes = follow(store)
    async with running(service):
        await informer.synced.wait()
        assert set(informer.objects) == {("shop", "old")}
        made = await store.create(PODS, pod("shop", "new"))
        await eventually(lambda: ("shop", "new") in informer.objects)
        await store.update_status(PODS, {**made, "status": {"phase": "Failed"}})
        await eventually(lambda: informer.objects["shop", "new"]["status"] == {"phase": "Failed"})
        await store.delete(PODS, "shop", "old")
        await eventually(lambda: set(informer.objects) == {("shop", "new")})
        assert len(changes) == 4


async def test_an_expired_watch_lists_again_and_notices_what_is_gone() -> None:
    store = FaultyStore()
    await store.create(PODS, pod("shop", "kept"))
    kept_out = await store.create(PODS, pod("shop", "gone"))
    store.watch_faults = [Expired("too old")]
    informer, service, changes = follow(store)
    informer.objects = {("shop", "gone"): kept_out}
    await store.delete(PODS, "shop", "gone")
    async with running(service):
        await eventually(lambda: store.lists == 2)
        assert set(informer.objects) == {("shop", "kept")}
        assert changes == [("shop", "gone"), ("shop", "kept")]


async def test_an_unavailable_store_is_tried_again() -> None:
    store = FaultyStore()
    await store.create(PODS, pod("shop", "web"))
    store.list_faults = [Unavailable("busy"), Unavailable("busy")]
    informer, service, _changes = follow(store)
    async with running(service):
        await informer.synced.wait()
        assert set(informer.objects) == {("shop", "web")}
        assert store.lists == 3
