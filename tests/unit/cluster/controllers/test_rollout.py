"""The arithmetic of a rollout never breaks its bounds, and always ends."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mutua.cluster.controllers.rollout import Bounds, Size, next_sizes, read_bounds
from mutua.foundation.errors import Rejected

STUCK = {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "1%"}}

# fmt: off
SPECS = [
    pytest.param({}, Bounds(1, 1, 0), id="the defaults of one replica: one more, none missing"),
    pytest.param({"replicas": 10}, Bounds(10, 3, 2), id="25 % rounds up, and down"),
    pytest.param({"replicas": 4, "strategy": {"type": "Recreate"}}, Bounds(4, 0, 4), id="all"),
    pytest.param({"replicas": 3, "strategy": STUCK}, Bounds(3, 0, 1), id="zeros would not end"),
    pytest.param({"replicas": 0}, Bounds(0, 0, 0), id="nothing wanted"),
]
# fmt: on


@pytest.mark.parametrize(("spec", "bounds"), SPECS)
def test_bounds(spec: dict[str, object], bounds: Bounds) -> None:
    assert read_bounds(spec) == bounds


def test_a_bound_that_is_no_number_is_rejected() -> None:
    with pytest.raises(Rejected, match="neither"):
        read_bounds({"strategy": {"rollingUpdate": {"maxSurge": "many"}}})


bounds = st.builds(
    Bounds, desired=st.integers(1, 8), surge=st.integers(0, 4), unavailable=st.integers(1, 4)
)


@given(bounds=bounds, old=st.integers(0, 8))
def test_a_rollout_ends_with_new_pods_only_and_stays_within_its_bounds(
    bounds: Bounds, old: int
) -> None:
    old = min(old, bounds.desired)
    new_size, old_size = Size(0, 0), Size(old, old)

    for _ in range(100):
        new_wanted, [old_wanted] = next_sizes(bounds, new_size, [old_size])
        assert new_wanted + old_wanted <= max(bounds.desired + bounds.surge, old)
        if old == bounds.desired:
            serving = min(new_size.available, new_wanted) + min(old_size.available, old_wanted)
            assert serving >= bounds.desired - bounds.unavailable
        new_size = Size(new_wanted, new_wanted)
        old_size = Size(old_wanted, old_wanted)

    assert (new_size.wanted, old_size.wanted) == (bounds.desired, 0)
