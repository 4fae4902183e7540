"""Every adapter of the ObjectStore port, behind one fixture."""

import asyncio
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typing_extensions import override

from mutua.api.object import NAMESPACES
from mutua.cluster.apiserver.registry import Registry
from mutua.foundation.clock import Clock
from mutua.store.memory import MemoryStore
from mutua.store.port import ObjectStore
from mutua.store.sqlite import SqliteStore

START = datetime(2030, 1, 1, tzinfo=UTC)


class SteppingClock(Clock):
    """Advances a second with every look."""

    def __init__(self) -> None:
        self.instant = START

    @override
    def now(self) -> datetime:
        self.instant += timedelta(seconds=1)
        return self.instant


MakeStore = Callable[[], MemoryStore]


@pytest.fixture(params=["memory", "sqlite", "registry"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ObjectStore]:
    """A store at version 2: it holds the namespaces `shop` and `other`, and nothing else."""
    clock = SteppingClock()
    adapter = (
        SqliteStore(tmp_path / "mesh.db", clock, capacity=16)
        if request.param == "sqlite"
        else MemoryStore(clock, capacity=16)
    )
    asyncio.run(_make_namespaces(adapter))
    clock.instant = START
    yield Registry(adapter, clock=clock) if request.param == "registry" else adapter
    adapter.close()


async def _make_namespaces(store: ObjectStore) -> None:
    for name in ("shop", "other"):
        await store.create(NAMESPACES, {"metadata": {"name": name}})


@pytest.fixture
def reopen(tmp_path: Path) -> Iterator[MakeStore]:
    """Close the durable store, if it is open, and open it again."""
    opened: list[SqliteStore] = []

    def open_again() -> SqliteStore:
        while opened:
            opened.pop().close()
        opened.append(SqliteStore(tmp_path / "durable.db", SteppingClock(), capacity=16))
        return opened[-1]

    yield open_again
    while opened:
        opened.pop().close()
