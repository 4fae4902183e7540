"""An event loop whose clock jumps to the next timer instead of waiting for it.

Code under test keeps using asyncio.sleep and asyncio.timeout; a certificate that renews after
twelve hours is tested in microseconds, and a test in which every task is stuck fails at once.
Only for tests without real I/O: the loop cannot know that a packet is still in flight.
"""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from typing_extensions import override

PATIENCE: Final = 20.0
"""Real seconds to wait for another thread before calling it a deadlock."""

T = TypeVar("T")


class _JumpingSelector(selectors.DefaultSelector):
    """Turn "nothing is ready for `timeout` seconds" into elapsed virtual time."""

    elapsed = 0.0

    @override
    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(PATIENCE if timeout is None else 0)
        if not ready and timeout is None:
            raise RuntimeError("deadlock: every task waits and no timer is pending")
        if not ready and timeout is not None:
            self.elapsed += max(timeout, 0.0)
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An asyncio loop that starts at zero and never sleeps."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    @override
    def time(self) -> float:
        return self._jumping.elapsed


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` to completion in virtual time and return its result."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main)
