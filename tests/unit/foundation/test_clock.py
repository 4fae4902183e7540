"""A clock that was set is noticed, one that is kept right is not."""

from datetime import timedelta

import pytest

from mutua.foundation.clock import StepWatch
from mutua.testing.clock import START


@pytest.mark.parametrize(
    ("wall", "monotonic", "stepped"),
    [
        (1.0, 1.0, False),
        (3600.0, 3600.0, False),  # nobody looked for an hour
        (1.0005, 1.0, False),  # slewed
        (2.5, 1.0, True),
        (-86_400.0, 1.0, True),
        (600.0, 1.0, True),  # slept, or set forward
    ],
)
def test_a_step_is_a_difference_to_a_clock_that_nobody_sets(
    wall: float, monotonic: float, *, stepped: bool
) -> None:
    watch = StepWatch()

    assert not watch.has_stepped(START, 100.0)
    now = START + timedelta(seconds=wall)
    assert watch.has_stepped(now, 100.0 + monotonic) is stepped
    assert not watch.has_stepped(now + timedelta(seconds=1), 101.0 + monotonic)
