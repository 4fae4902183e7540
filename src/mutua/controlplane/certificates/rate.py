"""How often may one caller ask?  A token bucket per caller, for a bounded number of callers.

A bucket that is full again says nothing that a fresh one would not, so the least recently used
bucket is the one forgotten when there are too many.  A caller gains by that only when thousands of
others asked since, all of them authenticated.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

RATE: Final = 20.0
"""Requests per second, sustained, by one caller.  An agent asks once in half a lifetime, and after
a failure at most ten times a second for less than two seconds (istio-semantics 4.7)."""

BURST: Final = 200
"""Requests at once by one caller: a service account's pods that all start together."""

CALLERS: Final = 10_000
"""Callers remembered; about 2 MB."""


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


class RateLimit:
    """Token buckets by caller."""

    def __init__(self, rate: float = RATE, burst: int = BURST, callers: int = CALLERS) -> None:
        """Limit every caller alike.

        Args:
            rate: Requests per second.
            burst: Requests at once, after a pause.
            callers: How many are remembered.
        """
        self._rate = rate
        self._burst = burst
        self._callers = callers
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def __len__(self) -> int:
        """How many callers are remembered."""
        return len(self._buckets)

    def admit(self, caller: str, now: float) -> float:
        """Take one request of a caller into account.

        Args:
            caller: Any name.
            now: Monotonic seconds; an instant before the last one counts as no time passed.

        Returns:
            0 when the request may pass, else the seconds after which the next one may.
        """
        bucket = self._buckets.pop(caller, None) or _Bucket(self._burst, now)
        self._buckets[caller] = bucket  # now the most recently used
        if len(self._buckets) > self._callers:
            self._buckets.popitem(last=False)
        gained = max(0.0, now - bucket.at) * self._rate
        bucket.tokens, bucket.at = min(self._burst, bucket.tokens + gained), now
        if bucket.tokens < 1:
            return (1 - bucket.tokens) / self._rate
        bucket.tokens -= 1
        return 0.0
