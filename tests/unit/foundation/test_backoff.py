"""How long to wait."""

from hypothesis import given
from hypothesis import strategies as st

from mutua.foundation.backoff import Backoff

draws = st.floats(0, 1, exclude_max=True)


def test_without_jitter_the_delay_doubles_up_to_the_ceiling() -> None:
    backoff = Backoff(first=0.5, factor=2, ceiling=3, jitter=0)

    assert [backoff.delay(n, draw=0) for n in range(5)] == [0.5, 1, 2, 3, 3]


@given(attempt=st.integers(0, 10_000), draw=draws)
def test_the_delay_stays_within_the_jitter_of_the_ceiling(attempt: int, draw: float) -> None:
    assert 0.4 <= Backoff().delay(attempt, draw=draw) <= 180
