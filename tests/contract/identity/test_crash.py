"""Die at every step of writing the authority's key: what is left is whole, or nothing is."""

import subprocess
import sys
from pathlib import Path

import pytest

from mutua.foundation.clock import SystemClock
from mutua.identity.authority import Authority
from mutua.identity.keystore import KeyStore
from mutua.identity.rotation import Evidence, advance

KEY_FILE = "generation-1.pem"

CRASHING = """
import os, sys
from pathlib import Path
from mutua.foundation.clock import SystemClock
from mutua.identity.authority import Authority

directory, remaining = Path(sys.argv[1]), int(sys.argv[2])

def die(event, arguments):
    # Every open, mkdir, link, rename and unlink below the directory counts as one step.
    global remaining
    if any(isinstance(a, (str, Path)) and str(a).startswith(str(directory)) for a in arguments):
        if not remaining:
            os._exit(9)
        remaining -= 1

sys.addaudithook(die)
Authority.load_or_create(directory, "cluster.local", SystemClock())
"""

ROTATING = """
from mutua.identity.keystore import KeyStore
from mutua.identity.rotation import Evidence, advance, begin
""" + CRASHING.replace(
    'Authority.load_or_create(directory, "cluster.local", SystemClock())',
    """
store = KeyStore.open(directory, "cluster.local", SystemClock())
store.save(begin(store.state, request="r", target=store.add_root(), now=SystemClock().now()))
while store.state.rotation is not None:
    store.save(advance(store.state, Evidence(), SystemClock().now()))
""",
)


def run(directory: Path, steps: int, program: str = CRASHING) -> int:
    argv = [sys.executable, "-c", program, str(directory), str(steps)]
    return subprocess.run(argv, check=False, env={"PYTHONPATH": ":".join(sys.path)}).returncode


@pytest.mark.parametrize("steps", range(20))
def test_an_authority_survives_death_at_any_step_of_its_creation(
    tmp_path: Path, steps: int
) -> None:
    directory = tmp_path / "pki"

    died = run(directory, steps) == 9
    left = (directory / KEY_FILE).exists()
    key = (directory / KEY_FILE).read_bytes() if left else b""
    recovered = Authority.load_or_create(directory, "cluster.local", SystemClock())

    assert died or left
    if left:
        assert (directory / KEY_FILE).read_bytes() == key
    again = Authority.load_or_create(directory, "cluster.local", SystemClock())
    assert again.roots_pem == recovered.roots_pem


def test_the_steps_above_reach_the_end(tmp_path: Path) -> None:
    assert run(tmp_path / "pki", 19) == 0


@pytest.mark.parametrize("steps", range(0, 72, 3))
def test_a_rotation_survives_death_at_any_step(tmp_path: Path, steps: int) -> None:
    directory = tmp_path / "pki"
    KeyStore.open(directory, "cluster.local", SystemClock())

    died = run(directory, steps, ROTATING) == 9
    store = KeyStore.open(directory, "cluster.local", SystemClock())
    while store.state.rotation is not None:
        store.save(advance(store.state, Evidence(), SystemClock().now()))

    assert store.material(store.state.issuing).anchor in store.bundle().roots
    assert died or store.state.issuing == 2
    left = {path.name for path in directory.iterdir() if not path.name.startswith(".")}
    assert left == {"state.json", f"generation-{store.state.issuing}.pem"} or died


def test_the_steps_of_a_rotation_reach_its_end(tmp_path: Path) -> None:
    KeyStore.open(tmp_path / "pki", "cluster.local", SystemClock())

    assert run(tmp_path / "pki", 71, ROTATING) == 0
