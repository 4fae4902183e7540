"""A measured figure: what, how much, in which unit, and how it was taken."""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the benchmark's table.

    Attributes:
        name: What was measured.
        value: The figure.
        unit: Its unit.
        method: How it was taken, one sentence.
        aim: What the project aims at, in the same unit, "" when there is no aim.
    """

    name: str
    value: float
    unit: str
    method: str
    aim: str = ""


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least `share` of the values do not exceed.

    Args:
        values: At least one.
        share: In (0, 1]; 0.5 is the median.

    Raises:
        ValueError: No values, or a share outside (0, 1].
    """
    if not values or not 0 < share <= 1:
        raise ValueError("a percentile needs values and a share in (0, 1]")
    return sorted(values)[math.ceil(share * len(values)) - 1]
