"""Exercises 1 to 3 as written, with the real kubectl, in order."""

import importlib.util
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from mutua.testing.running_mesh import RunningMesh

FOLDER = Path(__file__).parents[2] / "examples" / "mtls-tutorial"


def _transcript():
    spec = importlib.util.spec_from_file_location("transcript", FOLDER / "transcript.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["transcript"] = module
    spec.loader.exec_module(module)
    return module


TRANSCRIPT = _transcript()

STEPS = [
    pytest.param(step, id=f"{title}: {step.why}")
    for title, steps in TRANSCRIPT.EXERCISES
    for step in steps
]


@pytest.mark.parametrize("step", STEPS)
def test_the_tutorial_shows_what_it_promises(step, mesh: RunningMesh) -> None:
    command = step.command.format(
        kubectl="kubectl", mutua=shlex.join([sys.executable, "-m", "mutua"])
    )

    done = subprocess.run(
        command,
        shell=True,
        cwd=FOLDER,
        env=mesh.environ,
        capture_output=True,
        text=True,
        timeout=120,
    )

    seen = step.check(TRANSCRIPT.Result(done.returncode, done.stdout, done.stderr))
    assert seen.matched, f"$ {command}\n{seen.seen}\n{done.stderr}\n{mesh.daemon_log()[-3000:]}"
