"""What is in memory is what is in the store, whatever happens on the way."""

from collections.abc import AsyncIterator, Callable
from typing import Any

from mutua.api.object import PODS, Resource
from mutua.foundation.errors import Unavailable
from mutua.lifecycle.supervisor import Ready
from mutua.store.memory import MemoryStore
from mutua.store.mirror import Change, Mirror, address
from mutua.store.port import Event, Expired, Listing
from mutua.testing.clock import ManualClock
from mutua.testing.mesh import pod
from mutua.testing.polling import eventually
from mutua.testing.proxy import running


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


def follow(store: MemoryStore) -> tuple[Mirror, Callable[[Ready], Any], list[Change]]:
    changes: list[Change] = []
    mirror = Mirror(store, PODS)
    mirror.subscribe(changes.append)

    async def service(ready: Ready) -> None:
        ready()
        await mirror.run()

    return mirror, service, changes


def names(mirror: Mirror) -> set[str]:
    return {obj["metadata"]["name"] for obj in mirror.list()}


async def test_it_has_what_was_there_and_follows_what_happens() -> None:
    store = FaultyStore()
    await store.create(PODS, pod("shop", "old"))
    mirror, service, changes = follow(store)
    async with running(service):
        await mirror.wait_synced()
        assert names(mirror) == {"old"}
        made = await store.create(PODS, pod("shop", "new"))
        await eventually(lambda: mirror.get("shop", "new") is not None)
        await store.update_status(PODS, {**made, "status": {"phase": "Failed"}})
        await eventually(lambda: len(changes) == 3)
        assert changes[-1].object["status"] == {"phase": "Failed"}
        await store.delete(PODS, "shop", "old")
        await eventually(lambda: names(mirror) == {"new"})
        assert len(changes) == 4


async def test_it_may_follow_one_namespace_only() -> None:
    store = FaultyStore()
    for namespace in ("shop", "bank"):
        await store.create(PODS, pod(namespace, "old"))
    mirror = Mirror(store, PODS, "shop")

    async def service(ready: Ready) -> None:
        ready()
        await mirror.run()

    async with running(service):
        await mirror.wait_synced()
        await store.create(PODS, pod("bank", "new"))
        await store.create(PODS, pod("shop", "new"))
        await eventually(lambda: mirror.get("shop", "new") is not None)

    assert {address(obj) for obj in mirror.list()} == {("shop", "old"), ("shop", "new")}


async def test_an_expired_watch_lists_again_and_notices_what_is_gone() -> None:
    store = FaultyStore()
    await store.create(PODS, pod("shop", "kept"))
    gone = await store.create(PODS, pod("shop", "gone"))
    store.watch_faults = [Expired("too old")]
    mirror, service, changes = follow(store)
    mirror.put(gone)
    await store.delete(PODS, "shop", "gone")
    async with running(service):
        await eventually(lambda: store.lists == 2)
        assert names(mirror) == {"kept"}
        assert [(address(one.object)[1], one.after is None) for one in changes] == [
            ("gone", False),
            ("gone", True),
            ("kept", False),
        ]


async def test_what_did_not_change_stays_the_same_object_across_a_relist() -> None:
    store = FaultyStore()
    await store.create(PODS, pod("shop", "web"))
    mirror, service, changes = follow(store)
    async with running(service):
        await mirror.wait_synced()
        before = mirror.get("shop", "web")
    store.watch_faults = [Expired("too old")]
    async with running(service):
        await eventually(lambda: store.lists == 3)
        assert mirror.get("shop", "web") is before
        assert len(changes) == 1


async def test_a_write_is_seen_before_the_watch_tells_and_told_once() -> None:
    store = FaultyStore()
    mirror, service, changes = follow(store)
    async with running(service):
        await mirror.wait_synced()
        made = await store.create(PODS, pod("shop", "web"))
        mirror.put(made)
        assert mirror.get("shop", "web") is made
        await store.create(PODS, pod("shop", "later"))
        await eventually(lambda: mirror.get("shop", "later") is not None)
        assert [change.object["metadata"]["name"] for change in changes] == ["web", "later"]


async def test_a_late_answer_does_not_bring_back_what_the_watch_saw_go() -> None:
    store = FaultyStore()
    mirror, service, changes = follow(store)
    async with running(service):
        await mirror.wait_synced()
        made = await store.create(PODS, pod("shop", "web"))
        await store.delete(PODS, "shop", "web")
        await eventually(lambda: len(changes) == 2)
        mirror.put(made)
        assert mirror.get("shop", "web") is None


async def test_deleted_and_created_again_is_two_changes() -> None:
    store = FaultyStore()
    await store.create(PODS, pod("shop", "web"))
    mirror, service, changes = follow(store)
    async with running(service):
        await mirror.wait_synced()
        await store.delete(PODS, "shop", "web")
        again = await store.create(PODS, pod("shop", "web"))
        mirror.put(again)
        assert [change.after is None for change in changes] == [False, True, False]


async def test_whoever_subscribes_late_is_told_what_is_there() -> None:
    store = FaultyStore()
    await store.create(PODS, pod("shop", "web"))
    mirror, service, _changes = follow(store)
    async with running(service):
        await mirror.wait_synced()
        late: list[Change] = []
        mirror.subscribe(late.append)
        assert [change.before for change in late] == [None]


async def test_an_unavailable_store_is_tried_again() -> None:
    store = FaultyStore()
    await store.create(PODS, pod("shop", "web"))
    store.list_faults = [Unavailable("busy"), Unavailable("busy")]
    mirror, service, _changes = follow(store)
    async with running(service):
        await mirror.wait_synced()
        assert names(mirror) == {"web"}
        assert store.lists == 3
