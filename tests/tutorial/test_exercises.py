"""Exercises 1 to 8, then verification and troubleshooting, as written and in order."""

import importlib.util
import shlex
import shutil
import sys
from pathlib import Path

import pytest

from mutua.testing.running_mesh import RunningMesh

FOLDER = Path(__file__).parents[2] / "examples" / "mtls-tutorial"


def _load(name: str):
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


OBSERVATION = _load("observation")
TRANSCRIPT = _load("transcript")

STEPS = [
    pytest.param(step, id=f"{title}: {step.why}")
    for title, steps in (
        *TRANSCRIPT.EXERCISES,
        *TRANSCRIPT.CERTIFICATES,
        TRANSCRIPT.INVESTIGATION,
        TRANSCRIPT.CLEANUP,
    )
    for step in steps
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the tutorial's folder: exercise 8 writes keys into it."""
    copy = tmp_path_factory.mktemp("tutorial") / FOLDER.name
    shutil.copytree(FOLDER, copy, ignore=shutil.ignore_patterns("*.pem", "__pycache__"))
    return copy


@pytest.mark.parametrize("step", STEPS)
def test_the_tutorial_shows_what_it_promises(step, mesh: RunningMesh, folder: Path) -> None:
    istioctl = shlex.join([sys.executable, "-m", "mutua", "istioctl"])
    done, seen = step.observe(folder, mesh.environ, kubectl="kubectl", istioctl=istioctl)
    assert seen.matched, (
        f"$ {step.command}\n{seen.seen}\n{done.stderr}\n{mesh.daemon_log()[-3000:]}"
    )


def test_every_file_of_the_tutorial_is_applied_once_in_its_order() -> None:
    commands = [step.command for _, steps in TRANSCRIPT.EXERCISES for step in steps]
    applied = [line.split("apply -f ")[1] for line in commands if " apply -f " in line]

    assert applied == sorted(file.name for file in FOLDER.glob("*.yaml"))
    assert [name[:2] for name in applied] == [f"{number:02}" for number in range(1, 9)]
