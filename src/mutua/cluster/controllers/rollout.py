"""How many pods may the old and the new template have right now?  The arithmetic of a rollout.

Pure.  Source: Kubernetes documentation "Deployments", Rolling Update Deployment, and the
reconcileNewReplicaSet / reconcileOldReplicaSets rules of the deployment controller.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mutua.foundation.errors import Rejected


@dataclass(frozen=True, slots=True)
class Size:
    """One ReplicaSet: how many pods it is told to have, and how many of those are available."""

    wanted: int
    available: int


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a rollout must respect.

    Attributes:
        desired: Pods the Deployment asks for.
        surge: Pods it may have on top of that.
        unavailable: Pods of `desired` that may be missing.
    """

    desired: int
    surge: int
    unavailable: int


def read_bounds(spec: dict[str, Any]) -> Bounds:
    """Read a Deployment's spec; missing fields have Kubernetes' defaults (1 replica, 25 %, 25 %).

    Raises:
        Rejected: A bound is neither a number nor a percentage.
    """
    replicas = spec.get("replicas")
    desired = 1 if replicas is None else int(replicas)
    strategy = spec.get("strategy") or {}
    if strategy.get("type") == "Recreate":
        return Bounds(desired, 0, desired)
    rolling = strategy.get("rollingUpdate") or {}
    surge = _count(rolling.get("maxSurge", "25%"), desired, up=True)
    unavailable = _count(rolling.get("maxUnavailable", "25%"), desired, up=False)
    if surge == 0 and unavailable == 0:
        unavailable = 1  # neither rounding may stop the rollout for ever
    return Bounds(desired, surge, min(unavailable, desired))


def _count(value: int | str, total: int, *, up: bool) -> int:
    if isinstance(value, int):
        return value
    try:
        share = float(value.removesuffix("%")) / 100 * total
    except ValueError:
        raise Rejected(f"neither a number nor a percentage: {value!r}") from None
    return math.ceil(share) if up else math.floor(share)


def next_sizes(bounds: Bounds, new: Size, old: Sequence[Size]) -> tuple[int, tuple[int, ...]]:
    """Return what the new ReplicaSet and the old ones (in the given order) should want next.

    Growing comes before shrinking; the next change of any pod asks again.
    """
    grown = _grown(bounds, new, old)
    if grown != new.wanted:
        return grown, tuple(size.wanted for size in old)
    return grown, _shrunk(bounds, new, old)


def _grown(bounds: Bounds, new: Size, old: Sequence[Size]) -> int:
    if new.wanted >= bounds.desired:
        return bounds.desired
    room = bounds.desired + bounds.surge - new.wanted - sum(size.wanted for size in old)
    return new.wanted + max(0, min(room, bounds.desired - new.wanted))


def _shrunk(bounds: Bounds, new: Size, old: Sequence[Size]) -> tuple[int, ...]:
    floor = bounds.desired - bounds.unavailable
    new_missing = new.wanted - new.available
    budget = new.wanted + sum(size.wanted for size in old) - floor - new_missing
    if budget <= 0:
        return tuple(size.wanted for size in old)
    sizes = []
    for size in old:  # pods that serve nobody go first: they cost no availability
        gone = max(0, min(budget, size.wanted - size.available))
        budget -= gone
        sizes.append(Size(size.wanted - gone, size.available))
    spare = new.available + sum(min(size.wanted, size.available) for size in sizes) - floor
    wanted = []
    for size in sizes:
        gone = max(0, min(spare, size.wanted))
        spare -= gone
        wanted.append(size.wanted - gone)
    return tuple(wanted)
