"""One mesh for the whole folder: the exercises build on each other."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mutua.testing.running_mesh import RunningMesh


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningMesh]:
    running = RunningMesh(Path(tmp_path_factory.mktemp("mesh")), name="tutorial")
    try:
        running.up()
        yield running
    finally:
        running.mutua("down", "--purge")
    assert running.leftovers() == []
