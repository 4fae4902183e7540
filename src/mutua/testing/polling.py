"""Wait for a condition, never for a time: the one poll of the asynchronous tests."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

PATIENCE: Final = 45.0
"""Seconds a condition may take on a busy machine; in virtual time they cost nothing."""

PAUSE: Final = 0.005
"""Seconds between two looks."""


async def eventually(holds: Callable[[], Any], what: str = "the condition holds") -> Any:
    """Return the first true answer of `holds`, plain or async.

    Raises:
        AssertionError: It never was true; the message says `what` was waited for.
    """
    try:
        async with asyncio.timeout(PATIENCE):
            while True:
                answer = holds()
                if asyncio.iscoroutine(answer):
                    answer = await answer
                if answer:
                    return answer
                await asyncio.sleep(PAUSE)
    except TimeoutError:
        raise AssertionError(f"not within {PATIENCE:g} s: {what}") from None


TURNS: Final = 10
"""Of the event loop, more than enough to begin to serve whom it has accepted."""


async def accepted_are_served() -> None:
    """Return once every connection that a server has accepted has reached its handler."""
    for _ in range(TURNS):
        await asyncio.sleep(0)
