"""A command that was given a time ends in it, whatever it waits for."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import FrameType

from mutua.foundation.errors import Unavailable


@contextmanager
def time_limit(limit: timedelta) -> Iterator[None]:
    """End the block when its time is over.  In the main thread only.

    Args:
        limit: How long it may take; zero is no limit.

    Raises:
        Unavailable: It took longer.
    """

    def end(_number: int, _frame: FrameType | None) -> None:
        raise Unavailable(f"no answer within {limit.total_seconds():g} s", hint="see --timeout")

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, limit.total_seconds())
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
