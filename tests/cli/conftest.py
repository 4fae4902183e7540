"""A private mesh per folder for what only asks, and one per test for what starts and stops."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mutua.testing.running_mesh import RunningMesh

TUTORIAL = Path(__file__).parents[2] / "examples" / "mtls-tutorial"


@pytest.fixture(scope="session")
def start_services() -> Callable[[RunningMesh], None]:
    """Return what starts the tutorial's services and its plain pod, and waits for them."""
    return _start_services


def _start_services(mesh: RunningMesh) -> None:
    for name in ("01-test-services.yaml", "03-non-mesh-pod.yaml"):
        mesh.apply((TUTORIAL / name).read_text())
    for namespace in ("mtls-test", "default"):  # Deployments: their pods may not be there yet
        available = ("--for=condition=Available", "--timeout=60s")
        mesh.kubectl("wait", "deploy", "--all", "-n", namespace, *available)
    ready = ("--for=condition=Ready", "--timeout=60s")
    mesh.kubectl("wait", "pod/plain-pod", "-n", "mtls-test", *ready)


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
