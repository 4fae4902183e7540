"""Every adapter of the ObjectStore port, behind one fixture."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typing_extensions import override

from mutua.foundation.clock import Clock
from mutua.store.memory import MemoryStore
from mutua.store.sqlite import SqliteStore


class SteppingClock(Clock):
    """Advances a second with every look."""

    def __init__(self) -> None:
        self.instant = datetime(2030, 1, 1, tzinfo=UTC)

    @override
    def now(self) -> datetime:
        self.instant += timedelta(seconds=1)
        return self.instant


MakeStore = Callable[[], MemoryStore]


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MemoryStore]:
    clock = SteppingClock()
    store = (
        MemoryStore(clock, capacity=16)
        if request.param == "memory"
        else SqliteStore(tmp_path / "mesh.db", clock, capacity=16)
    )
    yield store
    store.close()


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
