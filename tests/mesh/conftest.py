"""One mesh per module: real daemon, real Envoys, real kubectl."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mutua.testing.running_mesh import RunningMesh


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningMesh]:
    running = RunningMesh(Path(tmp_path_factory.mktemp("mesh")), name="audit")
    try:
        running.up()
        yield running
    finally:
        running.mutua("down", "--purge")
    assert running.leftovers() == []
