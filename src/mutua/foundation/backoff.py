"""How long to wait before trying again.

One value for the whole project: 0.5 s first, doubling, capped, ±20 %.  Pure: the draw is an
argument, the attempt number is the caller's state.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """An exponential schedule with jitter.

    Attributes:
        first: Seconds before the second attempt.
        factor: Growth per attempt (dimensionless).
        ceiling: Seconds that no delay exceeds before jitter.
        jitter: Half-width of the jitter as a share of the delay (dimensionless).
    """

    first: float = 0.5
    factor: float = 2.0
    ceiling: float = 150.0
    jitter: float = 0.2

    def delay(self, attempt: int, *, draw: float) -> float:
        """Return the seconds to wait after failed attempt number `attempt` (0 is the first).

        Args:
            attempt: How many attempts failed before this one; not negative.
            draw: A uniform draw in [0, 1).
        """
        exponent = min(attempt, 64)
        base = min(self.first * self.factor**exponent, self.ceiling)
        return base * (1 + self.jitter * (2 * draw - 1))
