"""What every ObjectStore tells a watcher."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from mutua.api.object import CONFIG_MAPS, SECRETS, Object
from mutua.store.port import Event, EventType, Expired, ObjectStore

PATIENCE = 20.0
"""Seconds after which an event that does not come is a failure."""


def config(name: str, namespace: str = "shop", **data: str) -> Object:
    return {"metadata": {"name": name, "namespace": namespace}, "data": data}


async def take(events: AsyncIterator[Event], count: int) -> list[Event]:
    async with asyncio.timeout(PATIENCE), aclosing(events):  # type: ignore[type-var]
        return [await anext(events) for _ in range(count)]


def summary(events: list[Event]) -> list[tuple[str, str, int]]:
    return [
        (e.type.value, e.object["metadata"].get("name", ""), e.resource_version) for e in events
    ]


async def test_changes_after_a_position_are_replayed_in_order(store: ObjectStore) -> None:
    await store.create(CONFIG_MAPS, config("a"))
    start = (await store.list(CONFIG_MAPS)).resource_version
    await store.create(SECRETS, config("s"))
    await store.create(CONFIG_MAPS, config("b"))
    await store.update(CONFIG_MAPS, config("b", colour="red"))
    await store.delete(CONFIG_MAPS, "shop", "a")

    events = await take(store.watch(CONFIG_MAPS, since=start), 3)

    assert summary(events) == [("ADDED", "b", 5), ("MODIFIED", "b", 6), ("DELETED", "a", 7)]
    assert [e.object["metadata"]["resourceVersion"] for e in events] == ["5", "6", "7"]


async def test_a_waiting_watcher_is_told_of_the_next_change(store: ObjectStore) -> None:
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(take(store.watch(CONFIG_MAPS, since=0), 2))
        await asyncio.sleep(0)
        await store.create(CONFIG_MAPS, config("a"))
        await asyncio.sleep(0)
        await store.update(CONFIG_MAPS, config("a", colour="red"))

    assert summary(waiting.result()) == [("ADDED", "a", 3), ("MODIFIED", "a", 4)]


async def test_an_event_carries_the_object_before_the_change(store: ObjectStore) -> None:
    await store.create(CONFIG_MAPS, config("a", colour="red"))
    await store.update(CONFIG_MAPS, config("a", colour="blue"))
    await store.delete(CONFIG_MAPS, "shop", "a")

    added, modified, deleted = await take(store.watch(CONFIG_MAPS, since=0), 3)

    assert added.previous is None
    assert modified.previous is not None
    assert modified.previous["data"] == {"colour": "red"}
    assert deleted.previous is not None
    assert deleted.object["data"] == deleted.previous["data"] == {"colour": "blue"}


async def test_a_watch_of_a_namespace_sees_only_that_namespace(store: ObjectStore) -> None:
    await store.create(CONFIG_MAPS, config("a", "other"))
    await store.create(CONFIG_MAPS, config("b", "shop"))

    events = await take(store.watch(CONFIG_MAPS, since=0, namespace="shop"), 1)

    assert summary(events) == [("ADDED", "b", 4)]


async def test_a_write_that_changes_nothing_is_no_event(store: ObjectStore) -> None:
    await store.create(CONFIG_MAPS, config("a"))
    await store.update(CONFIG_MAPS, config("a"))
    await store.create(CONFIG_MAPS, config("b"))

    events = await take(store.watch(CONFIG_MAPS, since=0), 2)

    assert summary(events) == [("ADDED", "a", 3), ("ADDED", "b", 4)]


async def test_a_position_before_the_kept_history_is_expired(store: ObjectStore) -> None:
    for round_ in range(40):
        await store.create(CONFIG_MAPS, config(f"c{round_}"))

    with pytest.raises(Expired):
        await take(store.watch(CONFIG_MAPS, since=3), 1)
    assert len(await take(store.watch(CONFIG_MAPS, since=32), 10)) == 10


async def test_a_chatty_kind_does_not_expire_a_quiet_one(store: ObjectStore) -> None:
    await store.create(SECRETS, config("s"))
    for round_ in range(40):
        await store.create(CONFIG_MAPS, config(f"c{round_}"))

    assert summary(await take(store.watch(SECRETS, since=0), 1)) == [("ADDED", "s", 3)]


async def test_a_watcher_that_falls_behind_is_expired(store: ObjectStore) -> None:
    events = store.watch(CONFIG_MAPS, since=0)
    await store.create(CONFIG_MAPS, config("first"))
    await anext(events)
    for round_ in range(40):
        await store.create(CONFIG_MAPS, config(f"c{round_}"))

    with pytest.raises(Expired):
        await take(events, 40)


async def test_a_position_from_the_future_is_expired(store: ObjectStore) -> None:
    with pytest.raises(Expired):
        await take(store.watch(CONFIG_MAPS, since=1000), 1)


async def test_silence_is_answered_with_a_bookmark_of_the_newest_position(
    store: ObjectStore,
) -> None:
    await store.create(CONFIG_MAPS, config("a"))
    await store.create(SECRETS, config("s"))

    events = await take(store.watch(CONFIG_MAPS, since=0, bookmarks=0.01), 2)

    assert summary(events) == [("ADDED", "a", 3), ("BOOKMARK", "", 4)]
    assert events[1].type is EventType.BOOKMARK
