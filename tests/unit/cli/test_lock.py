"""One daemon per mesh."""

import os
from pathlib import Path

import pytest

from mutua.cli import lock
from mutua.foundation.layout import Layout


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout("x", tmp_path, tmp_path)


def test_a_mesh_that_was_never_started_has_no_holder(layout: Layout) -> None:
    assert lock.holder(layout) is None


def test_the_holder_is_whoever_recorded_itself(layout: Layout) -> None:
    fd = lock.acquire(layout)
    lock.record(fd, 4711)

    assert lock.holder(layout) == 4711

    os.close(fd)
    assert lock.holder(layout) is None


def test_the_second_one_is_told_who_holds_it_and_what_to_do(layout: Layout) -> None:
    fd = lock.acquire(layout)
    lock.record(fd, 4711)

    with pytest.raises(lock.AlreadyRunning, match="pid 4711") as refused:
        lock.acquire(layout)

    assert "mutua down" in refused.value.hint
    os.close(fd)
