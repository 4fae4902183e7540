"""What a durable ObjectStore keeps across the death of its process."""

import asyncio
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path

import pytest

from mutua.api.object import CONFIG_MAPS, Object
from mutua.foundation.clock import SystemClock
from mutua.foundation.errors import Unavailable
from mutua.store.memory import MemoryStore
from mutua.store.port import Event, Expired, NotFound
from mutua.store.sqlite import SqliteStore

WRITER = """
import asyncio, sys
from pathlib import Path
from mutua.api.object import CONFIG_MAPS
from mutua.foundation.clock import SystemClock
from mutua.store.sqlite import SqliteStore

async def main(path, prefix):
    store = SqliteStore(Path(path), SystemClock())
    n = 0
    while True:
        obj = {"metadata": {"name": f"{prefix}-{n}", "namespace": "x"}, "data": {"n": str(n)}}
        made = await store.create(CONFIG_MAPS, obj)
        made["data"]["again"] = "yes"
        made = await store.update(CONFIG_MAPS, made)
        print(made["metadata"]["name"], made["metadata"]["resourceVersion"], flush=True)
        n += 1

asyncio.run(main(*sys.argv[1:]))
"""


def config(name: str, **data: str) -> Object:
    return {"metadata": {"name": name, "namespace": "shop"}, "data": data}


async def events_since(store: MemoryStore, since: int, count: int) -> list[Event]:
    async with asyncio.timeout(20), aclosing(store.watch(CONFIG_MAPS, since=since)) as events:  # type: ignore[type-var]
        return [await anext(events) for _ in range(count)]


async def test_objects_and_versions_survive_a_restart(reopen: Callable[[], MemoryStore]) -> None:
    before = reopen()
    kept = await before.create(CONFIG_MAPS, config("kept"))
    await before.create(CONFIG_MAPS, config("gone"))
    await before.delete(CONFIG_MAPS, "shop", "gone")

    after = reopen()

    assert await after.get(CONFIG_MAPS, "shop", "kept") == kept
    with pytest.raises(NotFound):
        await after.get(CONFIG_MAPS, "shop", "gone")
    assert (await after.create(CONFIG_MAPS, config("next")))["metadata"]["resourceVersion"] == "4"


async def test_a_watch_resumes_across_a_restart(reopen: Callable[[], MemoryStore]) -> None:
    before = reopen()
    await before.create(CONFIG_MAPS, config("a"))
    await before.update(CONFIG_MAPS, config("a", colour="red"))
    expected = await events_since(before, 1, 1)

    assert await events_since(reopen(), 1, 1) == expected


async def test_forgotten_history_stays_forgotten_after_a_restart(
    reopen: Callable[[], MemoryStore],
) -> None:
    store = reopen()
    for number in range(600):
        await store.create(CONFIG_MAPS, config(f"c{number}"))

    after = reopen()

    with pytest.raises(Expired):
        await events_since(after, 0, 1)
    assert len(await events_since(after, 590, 10)) == 10


async def test_a_second_process_is_refused(tmp_path: Path) -> None:
    first = SqliteStore(tmp_path / "mesh.db", SystemClock())

    with pytest.raises(Unavailable, match="cannot open the object store"):
        SqliteStore(tmp_path / "mesh.db", SystemClock())

    first.close()
    SqliteStore(tmp_path / "mesh.db", SystemClock()).close()


async def test_a_file_that_is_not_a_store_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mesh.db").write_text("this is not a database, and long enough to tell" * 100)

    with pytest.raises(Unavailable, match="not a database"):
        SqliteStore(tmp_path / "mesh.db", SystemClock())


async def test_what_is_on_disk_is_private(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "mesh.db", SystemClock())
    await store.create(CONFIG_MAPS, config("a"))

    modes = {file.name: file.stat().st_mode & 0o777 for file in tmp_path.iterdir()}
    store.close()

    assert modes == {"mesh.db": 0o600, "mesh.db-wal": 0o600}


async def test_a_write_that_finds_no_room_has_not_happened(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "mesh.db", SystemClock())
    await store.create(CONFIG_MAPS, config("a"))
    store._journal._db.execute("pragma max_page_count = 1")  # type: ignore[attr-defined]

    with pytest.raises(Unavailable, match="disk is full"):
        await store.create(CONFIG_MAPS, config("b", blob="x" * 100_000))

    listing = await store.list(CONFIG_MAPS)
    assert [o["metadata"]["name"] for o in listing.items] == ["a"]
    store._journal._db.execute("pragma max_page_count = 100000")  # type: ignore[attr-defined]
    after = await store.create(CONFIG_MAPS, config("c"))
    assert after["metadata"]["resourceVersion"] == "2"
    store.close()


@pytest.mark.parametrize("seed", range(6))
async def test_every_acknowledged_write_survives_a_kill(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "mesh.db"
    acknowledged: list[tuple[str, str]] = []
    for round_ in range(2):
        acknowledged += _write_until_killed(path, f"r{round_}", random.Random(seed * 2 + round_))

    store = SqliteStore(path, SystemClock())
    listing = await store.list(CONFIG_MAPS, "x")
    store.close()

    assert acknowledged
    found = {o["metadata"]["name"]: o for o in listing.items}
    for name, version in acknowledged:
        assert found[name]["metadata"]["resourceVersion"] == version
        assert found[name]["data"]["again"] == "yes"
    assert listing.resource_version >= max(int(version) for _, version in acknowledged)


def _write_until_killed(path: Path, prefix: str, draws: random.Random) -> list[tuple[str, str]]:
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), prefix], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        first = writer.stdout.readline()
        time.sleep(draws.uniform(0, 0.2))  # the random instant is the subject, not a condition
        writer.send_signal(signal.SIGKILL)
        lines = [first, *writer.stdout]
    complete = [line.split() for line in lines if line.endswith("\n")]
    return [(name, version) for name, version in complete]
