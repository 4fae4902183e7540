"""Watches as clients see them: resume, selection, bookmarks, the end of history."""

import asyncio
from typing import Any

MakeApi = Any  # the fixture's type lives in conftest, which tests cannot import

MAPS = "/api/v1/namespaces/shop/configmaps"
MERGE = "application/merge-patch+json"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


def config(name: str, **labels: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": labels}}


def summary(events: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(e["type"], e["object"]["metadata"].get("name", "")) for e in events]


async def test_without_a_position_the_current_objects_come_first(api: MakeApi) -> None:
    call = await api("shop")
    await call("POST", MAPS, config("a"))
    await call("POST", MAPS, config("b"))

    for position in ("", "&resourceVersion=0"):
        events = await call.events(f"{MAPS}?watch=true{position}", 2)
        assert summary(events) == [("ADDED", "a"), ("ADDED", "b")]


async def test_a_watch_resumes_after_its_position(api: MakeApi) -> None:
    call = await api("shop")
    await call("POST", MAPS, config("a"))
    _, listing = await call("GET", MAPS)
    await call("POST", MAPS, config("b"))
    await call("DELETE", f"{MAPS}/a")

    position = listing["metadata"]["resourceVersion"]
    events = await call.events(f"{MAPS}?watch=true&resourceVersion={position}", 2)

    assert summary(events) == [("ADDED", "b"), ("DELETED", "a")]
    assert int(events[1]["object"]["metadata"]["resourceVersion"]) > int(position)
    assert (events[0]["object"]["kind"], events[0]["object"]["apiVersion"]) == ("ConfigMap", "v1")


async def test_objects_enter_and_leave_a_selection(api: MakeApi) -> None:
    call = await api("shop")
    await call("POST", MAPS, config("a", app="web"))
    for label in ("job", "web", "web"):
        patch = {"metadata": {"labels": {"app": label}}, "data": {"x": label}}
        await call("PATCH", f"{MAPS}/a", patch, content_type=MERGE)
    await call("DELETE", f"{MAPS}/a")
    await call("POST", MAPS, config("end", app="web"))

    target = f"{MAPS}?watch=true&resourceVersion=1&labelSelector=app%3Dweb"
    events = await call.events(target, 5)

    assert summary(events) == [
        ("ADDED", "a"),
        ("DELETED", "a"),
        ("ADDED", "a"),
        ("DELETED", "a"),
        ("ADDED", "end"),
    ]
    assert events[1]["object"]["metadata"]["labels"] == {"app": "web"}
    assert events[1]["object"]["metadata"]["resourceVersion"] == "3"


async def test_a_watch_of_one_name_sees_only_that_object(api: MakeApi) -> None:
    call = await api("shop")
    await call("POST", MAPS, config("a"))
    await call("POST", MAPS, config("b"))

    target = f"{MAPS}?watch=true&resourceVersion=1&fieldSelector=metadata.name%3Db"

    assert summary(await call.events(target, 1)) == [("ADDED", "b")]


async def test_a_forgotten_position_is_a_410_event_and_the_end(api: MakeApi) -> None:
    call = await api("shop")
    for number in range(40):
        await call("POST", MAPS, config(f"c{number}"))

    events = await call.events(f"{MAPS}?watch=true&resourceVersion=2", 2)

    (event,) = events
    assert event["type"] == "ERROR"
    assert (event["object"]["code"], event["object"]["reason"]) == (410, "Expired")


async def test_a_watch_list_marks_the_end_of_the_beginning(api: MakeApi) -> None:
    call = await api("shop")
    await call("POST", MAPS, config("a"))

    target = f"{MAPS}?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
    added, bookmark = await call.events(f"{target}&allowWatchBookmarks=true", 2)

    assert added["type"] == "ADDED"
    assert bookmark["type"] == "BOOKMARK"
    metadata = bookmark["object"]["metadata"]
    assert metadata["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert metadata["resourceVersion"] == "2"


async def test_bookmarks_come_in_silence_to_those_who_want_them(api: MakeApi) -> None:
    call = await api("shop", "other")

    wanted = await call.events(f"{MAPS}?watch=true&allowWatchBookmarks=true&timeoutSeconds=100", 9)
    unwanted = await call.events(f"{MAPS}?watch=true&timeoutSeconds=100", 9)

    assert summary(wanted) == [("BOOKMARK", "")] * 3
    assert wanted[0]["object"]["metadata"]["resourceVersion"] == "2"
    assert unwanted == []


async def test_a_watch_ends_when_its_time_is_over(api: MakeApi) -> None:
    call = await api("shop")
    loop = asyncio.get_running_loop()
    start = loop.time()

    assert await call.events(f"{MAPS}?watch=true&timeoutSeconds=7", 1) == []
    assert loop.time() - start == 7


async def test_a_table_watch_sends_its_columns_once(api: MakeApi) -> None:
    call = await api("shop")
    await call("POST", MAPS, config("a"))
    await call("POST", MAPS, config("b"))

    first, second = await call.events(f"{MAPS}?watch=true", 2, accept=TABLE)

    assert [c["name"] for c in first["object"]["columnDefinitions"]] == ["Name", "Data", "Age"]
    assert second["object"]["columnDefinitions"] == []
    assert second["object"]["rows"][0]["cells"][0] == "b"
