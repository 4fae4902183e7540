"""A private mesh per folder for what only asks, and one per test for what starts and stops."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mutua.testing.running_mesh import RunningMesh


@pytest.fixture(scope="session")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningMesh]:
    """A mesh that runs while the folder's tests do; a test cleans up its own objects."""
    running = RunningMesh(Path(tmp_path_factory.mktemp("cli")), name="cli")
    try:
        running.up()
        yield running
    finally:
        running.mutua("down", "--purge")
    assert running.leftovers() == []


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[RunningMesh]:
    """A mesh that has not been started; whatever a test does with it, nothing may remain."""
    running = RunningMesh(tmp_path, name="fresh")
    try:
        yield running
    finally:
        running.mutua("down", "--purge")
    assert running.leftovers() == []
