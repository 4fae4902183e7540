"""A wall clock that the test moves."""

from datetime import UTC, datetime, timedelta
from typing import Final

from typing_extensions import override

from mutua.foundation.clock import Clock

START: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""Where a manual clock stands unless told otherwise."""


class ManualClock(Clock):
    """Stands still until `advance` or an assignment to `instant` moves it, in either direction."""

    def __init__(self, instant: datetime = START) -> None:
        self.instant = instant

    @override
    def now(self) -> datetime:
        return self.instant

    def advance(self, by: timedelta) -> None:
        """Move the clock."""
        self.instant += by
