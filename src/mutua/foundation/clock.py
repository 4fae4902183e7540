"""What time is it?  The one module that may ask the operating system.

Everything else takes a `Clock`, so that a certificate's whole life can be tested in microseconds.
Deadlines that must survive sleep and clock steps are compared with `now()` (wall clock); lengths
of time are measured with the event loop's own monotonic clock.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from typing_extensions import override

STEP: Final = timedelta(seconds=1)
"""Difference between two clocks' progress that counts as a step.  Clocks that are kept right by
slewing differ by half a millisecond a second (adjtimex(2), MAXFREQ)."""


class Clock(Protocol):
    """A source of wall-clock time."""

    def now(self) -> datetime:
        """Return the current instant, timezone-aware, UTC."""
        ...


class SystemClock(Clock):
    """The operating system's wall clock."""

    @override
    def now(self) -> datetime:
        return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class StoppedClock(Clock):
    """One instant, for what is made and then checked by the same time.

    Attributes:
        instant: Timezone-aware, UTC.
    """

    instant: datetime

    @override
    def now(self) -> datetime:
        return self.instant


class StepWatch:
    """Notices that the wall clock was set, or that the machine slept.

    In either case it has gone another way than a clock that nobody sets and that stops in sleep.
    """

    def __init__(self) -> None:
        self._began: datetime | None = None

    def has_stepped(self, now: datetime, monotonic: float) -> bool:
        """Tell whether the wall clock has stepped since the last call.

        Args:
            now: Wall time.
            monotonic: Seconds on a clock that nobody sets, read at the same moment.
        """
        began, self._began = self._began, now - timedelta(seconds=monotonic)
        return began is not None and abs(self._began - began) > STEP


def rfc3339(instant: datetime) -> str:
    """Format an instant as Kubernetes does: UTC, whole seconds, trailing Z (RFC 3339)."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_rfc3339(text: str) -> datetime:
    """Read an RFC 3339 instant.

    Raises:
        ValueError: `text` is not one.
    """
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise ValueError(f"instant without a zone: {text!r}")
    return instant.astimezone(UTC)
