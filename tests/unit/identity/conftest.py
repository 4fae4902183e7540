"""A clock that stands still, and the openssl command as the foreign peer."""

import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mutua.testing.clock import ManualClock

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def openssl(tmp_path: Path) -> Callable[..., str]:
    """Run openssl with files given by name and return all it prints, success or not."""
    program = shutil.which("openssl")
    if program is None:
        pytest.fail("no openssl command on this machine")

    def run(*arguments: str, **files: str) -> str:
        for name, text in files.items():
            (tmp_path / name).write_text(text)
        done = subprocess.run(
            [program, *arguments], cwd=tmp_path, check=False, capture_output=True, text=True
        )
        return done.stdout + done.stderr

    return run
