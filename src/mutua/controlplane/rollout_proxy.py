"""How far is one proxy in a change of policies?  See `rollout`."""

from dataclasses import dataclass, field
from typing import Final

SETTLE: Final = 0.1
"""Seconds from a proxy's confirmation until it counts.  A worker takes a change up within its next
turn, which is microseconds on an idle machine and a time slice or two on a busy one."""

PATIENCE: Final = 60.0
"""Seconds that a proxy may leave an epoch unconfirmed before the others go on without it."""

UNKNOWN: Final = -1
"""An epoch before all others: the proxy may have any configuration."""


@dataclass(slots=True, eq=False)
class Proxy:
    """How far one proxy is, in epochs.

    Attributes:
        confirmed: The last epoch that it confirmed; it is there or further.
        settled: The same, of confirmations that count.
        settling: Confirmations that do not count yet, each with the time from which on it does.
        behind_since: When the first epoch came that it has not confirmed; None when it has all.
        is_known: It has been connected, so it has some configuration.
        has_confirmed: Any configuration at all.
        refuses: It refused its inbound listener.
    """

    confirmed: int = UNKNOWN
    settled: int = UNKNOWN
    settling: list[tuple[int, float]] = field(default_factory=list)
    behind_since: float | None = None
    is_known: bool = False
    has_confirmed: bool = False
    refuses: bool = False

    def settle(self, now: float) -> None:
        """Let the confirmations count whose time has come."""
        while self.settling and self.settling[0][1] <= now:
            self.settled = self.settling.pop(0)[0]

    def is_late(self, now: float) -> bool:
        """Tell whether the others go on without it."""
        return self.behind_since is not None and now >= self.behind_since + PATIENCE
