"""Garbage in cycles is still collected, only less often."""

import gc
from collections.abc import Iterator

import pytest

from mutua.lifecycle.garbage import YOUNG, collect_seldom


@pytest.fixture(autouse=True)
def _thresholds() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)


class Cycle:
    """Refers to itself, as a task and its exception do."""

    alive = 0

    def __init__(self) -> None:
        self.itself = self
        Cycle.alive += 1

    def __del__(self) -> None:
        Cycle.alive -= 1


def test_cycles_do_not_pile_up() -> None:
    collect_seldom()
    most = 0
    for _ in range(3 * YOUNG):
        Cycle()
        most = max(most, Cycle.alive)
    assert YOUNG / 10 < most <= YOUNG
