"""When does a controller look at which object?  A queue of keys and the loop around it.

A key that is added while it waits is there once; one that is added while it is being worked on
comes again afterwards.  So a controller never works on one object twice at the same time, never
misses the last change, and a storm of changes costs one round.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable
from typing import Final, Generic, TypeVar

from mutua.foundation.backoff import Backoff
from mutua.foundation.errors import Conflict, MutuaError
from mutua.store.port import NotFound

RETRY: Final = Backoff(first=0.005, ceiling=30.0)
"""After a failed round: a conflict is over within milliseconds (client-go's queue: 5 ms).
No jitter is drawn: one process asks, so nobody can collide with it."""

log = logging.getLogger(__name__)

K = TypeVar("K", bound=Hashable)
Reconcile = Callable[[K], Awaitable[float | None]]


class Reconciler(Generic[K]):
    """Call `reconcile` for every key that was added, one at a time.

    `reconcile` brings the world of one key to where it should be.  It returns the seconds after
    which it wants to look again although nothing changed, or None.  A round that fails is
    repeated with back-off: a controller never dies of one object.
    """

    def __init__(self, name: str, reconcile: Reconcile[K]) -> None:
        self._name = name
        self._reconcile = reconcile
        self._waiting: dict[K, None] = {}
        self._added = asyncio.Event()
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._failures: dict[K, int] = {}

    def add(self, key: K) -> None:
        """Look at `key` as soon as possible."""
        self._waiting.setdefault(key)
        self._added.set()

    def add_after(self, key: K, seconds: float) -> None:
        """Look at `key` in so many seconds; the last call for a key counts."""
        if (timer := self._timers.pop(key, None)) is not None:
            timer.cancel()
        loop = asyncio.get_running_loop()
        self._timers[key] = loop.call_later(max(seconds, 0.0), self._due, key)

    async def run(self) -> None:
        """Work until cancelled."""
        try:
            while True:
                while not self._waiting:
                    self._added.clear()
                    await self._added.wait()
                key = next(iter(self._waiting))
                del self._waiting[key]
                await self._round(key)
        finally:
            for timer in self._timers.values():
                timer.cancel()
            self._timers.clear()

    async def _round(self, key: K) -> None:
        try:
            again = await self._reconcile(key)
        except MutuaError as error:
            # Somebody else was faster: changed it, or deleted it.
            is_race = isinstance(error, Conflict | NotFound)
            level = logging.DEBUG if is_race else logging.WARNING
            log.log(level, "round failed", extra={**self._fields(key), "reason": str(error)})
            self._retry(key)
        except Exception:
            log.exception("round failed: a bug", extra=self._fields(key))
            self._retry(key)
        else:
            self._failures.pop(key, None)
            if again is not None:
                self.add_after(key, again)

    def _retry(self, key: K) -> None:
        attempt = self._failures.get(key, 0)
        self._failures[key] = attempt + 1
        self.add_after(key, RETRY.delay(attempt, draw=0.5))

    def _due(self, key: K) -> None:
        self._timers.pop(key, None)
        self.add(key)

    def _fields(self, key: K) -> dict[str, str]:
        return {"controller": self._name, "key": str(key)}
