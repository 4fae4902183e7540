"""What time is it?  The one module that may ask the operating system.

Everything else takes a `Clock`, so that a certificate's whole life can be tested in microseconds.
Deadlines that must survive sleep and clock steps are compared with `now()` (wall clock); lengths
of time are measured with the event loop's own monotonic clock.
"""

from datetime import UTC, datetime
from typing import Protocol

from typing_extensions import override


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
