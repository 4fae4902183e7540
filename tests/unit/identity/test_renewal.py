from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mutua.identity.renewal import SHORTEST, Validity, effective_ttl, renewal_instant, schedule

T0 = datetime(2026, 1, 1, tzinfo=UTC)
DAY = Validity(not_before=T0, not_after=T0 + timedelta(hours=20))

draws = st.floats(min_value=0, max_value=1, exclude_max=True)
validities = st.builds(
    lambda start, seconds: Validity(not_before=start, not_after=start + timedelta(seconds=seconds)),
    st.integers(min_value=-(10**9), max_value=3 * 10**9).map(lambda s: T0 + timedelta(seconds=s)),
    st.integers(min_value=1, max_value=20 * 365 * 86400),
)


@pytest.mark.parametrize(
    ("draw", "hours"),
    [
        pytest.param(0.0, 9.0, id="the earliest draw renews at 45 % of the lifetime"),
        pytest.param(0.5, 10.0, id="the middle draw renews at half-life"),
        pytest.param(0.75, 10.5, id="a late draw renews after half-life"),
    ],
)
def test_the_window(draw: float, hours: float) -> None:
    assert renewal_instant(DAY, draw=draw) == T0 + timedelta(hours=hours)


@given(validity=validities, draw=draws)
def test_renewal_leaves_at_least_forty_percent_of_the_lifetime_for_repairs(
    validity: Validity, draw: float
) -> None:
    instant = renewal_instant(validity, draw=draw)

    assert validity.not_before + 0.44 * validity.lifetime <= instant
    assert instant <= validity.not_before + 0.56 * validity.lifetime


@given(validity=validities, draws=st.tuples(draws, draws))
def test_a_larger_draw_never_renews_earlier(validity: Validity, draws: tuple[float, float]) -> None:
    low, high = sorted(draws)

    assert renewal_instant(validity, draw=low) <= renewal_instant(validity, draw=high)


@given(validity=validities, draw=draws, offset=st.timedeltas(max_value=timedelta(days=9999)))
def test_a_certificate_is_due_outside_the_time_between_its_start_and_its_renewal(
    validity: Validity, draw: float, offset: timedelta
) -> None:
    plan = schedule(validity, draw=draw)
    now = T0 + max(offset, timedelta(days=-9999))

    assert plan.is_due(now) is not (validity.not_before <= now < plan.renew_at)


def test_a_certificate_from_the_future_is_due_because_the_clock_was_set_back() -> None:
    assert schedule(DAY, draw=0.5).is_due(T0 - timedelta(seconds=1))


@pytest.mark.parametrize("draw", [-0.1, 1.0, float("nan")])
def test_a_draw_outside_the_unit_interval_is_a_bug(draw: float) -> None:
    with pytest.raises(ValueError, match="draw"):
        renewal_instant(DAY, draw=draw)


def test_validity_is_never_empty_and_always_aware() -> None:
    with pytest.raises(ValueError, match="empty"):
        Validity(not_before=T0, not_after=T0)
    with pytest.raises(ValueError, match="aware"):
        Validity(not_before=T0.replace(tzinfo=None), not_after=T0)


def test_zones_do_not_matter() -> None:
    elsewhere = timezone(timedelta(hours=9))
    moved = Validity(
        not_before=DAY.not_before.astimezone(elsewhere),
        not_after=DAY.not_after.astimezone(elsewhere),
    )

    assert renewal_instant(moved, draw=0.3) == renewal_instant(DAY, draw=0.3)


@given(
    ttl=st.integers(1, 90 * 86400).map(lambda s: timedelta(seconds=s)),
    left=st.integers(-10, 3650 * 86400).map(lambda s: timedelta(seconds=s)),
)
def test_what_the_signers_end_leaves_of_a_lifetime(ttl: timedelta, left: timedelta) -> None:
    found = effective_ttl(ttl, left)

    assert found <= max(left, SHORTEST)
    assert found == ttl or found * 2 > max(left, SHORTEST)  # by no more than a half
