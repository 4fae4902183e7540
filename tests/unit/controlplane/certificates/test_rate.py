from hypothesis import given
from hypothesis import strategies as st

from mutua.controlplane.certificates.rate import RateLimit


def test_a_burst_passes_and_then_the_rate() -> None:
    limit = RateLimit(rate=2, burst=3)

    assert [limit.admit("web", 0.0) for _ in range(4)] == [0, 0, 0, 0.5]
    assert limit.admit("web", 0.5) == 0
    assert limit.admit("web", 0.75) == 0.25


def test_callers_do_not_share() -> None:
    limit = RateLimit(rate=1, burst=1)
    limit.admit("web", 0.0)

    assert limit.admit("web", 0.0) > 0
    assert limit.admit("other", 0.0) == 0


def test_a_clock_that_steps_back_gives_nothing() -> None:
    limit = RateLimit(rate=1, burst=1)
    limit.admit("web", 100.0)

    assert limit.admit("web", 50.0) > 0


@given(st.lists(st.integers(0, 50), max_size=200))
def test_memory_is_bounded(callers: list[int]) -> None:
    limit = RateLimit(callers=8)
    for caller in callers:
        limit.admit(str(caller), 0.0)

    assert len(limit) <= 8


@given(st.lists(st.floats(0, 5), max_size=100))
def test_never_more_than_burst_and_rate(pauses: list[float]) -> None:
    limit, now, passed = RateLimit(rate=2, burst=5), 0.0, 0
    for pause in pauses:
        now += pause
        passed += limit.admit("web", now) == 0

    assert passed <= 5 + 2 * now + 1e-6
