"""Percentiles of a benchmark."""

import pytest

from mutua.cli.bench.figure import percentile


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [([5.0], 0.5, 5.0), ([1, 2, 3, 4], 0.5, 2), ([4, 1, 3, 2], 1.0, 4), (range(1, 101), 0.99, 99)],
)
def test_a_percentile_is_the_smallest_value_that_enough_values_do_not_exceed(
    values, share, expected
) -> None:
    assert percentile(list(values), share) == expected


@pytest.mark.parametrize(("values", "share"), [([], 0.5), ([1], 0.0), ([1], 1.1)])
def test_nonsense_is_a_bug(values, share) -> None:
    with pytest.raises(ValueError, match="percentile"):
        percentile(values, share)
