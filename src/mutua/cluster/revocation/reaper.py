"""Ends connections whose certificate has expired.  When that is due: `expiry`.

Connections that are plaintext prove no identity, so no certificate ends them.  Which ones they are
is the word of the server's proxy, which reports them as long as they are open.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from typing import Final

from mutua.cluster.revocation.closing import Connections
from mutua.cluster.revocation.expiry import Due, limit
from mutua.cluster.revocation.kept import DELAY, DeadlineFile
from mutua.cluster.revocation.register import Leaf
from mutua.foundation.clock import Clock
from mutua.foundation.errors import MutuaError
from mutua.lifecycle.supervisor import Ready
from mutua.runtime.network.connections import Connection
from mutua.xds.sighting import Sighting

TICK: Final = 1.0
"""Seconds between two looks at the clock: how late an end can be."""

PATIENCE: Final = 10.0
"""Seconds a proxy gets to take a new certificate up; what is open then counts as the old one's."""

LOOK: Final = 0.05
"""Seconds between two looks at whether it has."""

MEMORY: Final = 60.0
"""Seconds that a report of a plaintext connection counts; an open one is reported every 15."""

MOST_PLAINTEXT: Final = 65_536
"""Plaintext connections remembered."""

log = logging.getLogger(__name__)


class Reaper:
    """Ends what has outlived its certificate."""

    def __init__(
        self,
        clock: Clock,
        *,
        network: Connections,
        is_presented: Callable[[str], bool],
        held: Callable[[], Collection[str]],
        addresses: Callable[[], Mapping[str, str]],
        kept: DeadlineFile,
    ) -> None:
        """Prepare.

        Args:
            clock: Wall time, because certificates go by it.
            network: Where connections are.
            is_presented: Tells whether a pod's proxy has taken its newest certificate up.
            held: Returns the uids of all pods that certificates are held for.
            addresses: Returns the addresses of all pods with a proxy, by uid.
            kept: What an earlier one knew, and the next one will.
        """
        self._clock = clock
        self._network = network
        self._is_presented = is_presented
        self._held = held
        self._addresses = addresses
        self._kept = kept
        self._deadlines = kept.read()
        self._unnoted = self._deadlines.unnoted
        self._changed = asyncio.Event()
        self._seen: frozenset[str] = frozenset()
        self._renewed: asyncio.Queue[tuple[str, datetime, float]] = asyncio.Queue()
        self._looking = asyncio.Lock()  # one pod after the other
        self._plaintext: dict[tuple[str, int], float] = {}

    def certified(self, new: Leaf, old: Leaf | None) -> None:
        """Take note of a certificate, and of the one that it replaces."""
        self._deadlines.certified(new.pod, new.not_after)
        self._seen |= {new.pod}
        if old is not None:
            end = limit(old.validity, replaced=self._clock.now())
            self._deadlines.replaced(old.pod, end)
            self._renewed.put_nowait((old.pod, end, asyncio.get_running_loop().time()))
        self._changed.set()

    def hear(self, sighting: Sighting) -> None:
        """Take note of a connection without mutual TLS."""
        if not sighting.refused:
            key = (sighting.source, sighting.source_port)
            self._plaintext.pop(key, None)
            self._plaintext[key] = asyncio.get_running_loop().time()
            while len(self._plaintext) > MOST_PLAINTEXT:
                del self._plaintext[next(iter(self._plaintext))]

    async def run(self, ready: Ready) -> None:
        """Serve until cancelled."""
        async with asyncio.TaskGroup() as group:
            for pod, end in self._unnoted:
                self._renewed.put_nowait((pod, end, asyncio.get_running_loop().time()))
            group.create_task(self._follow_renewals(), name="renewals")
            group.create_task(self._keep(), name="deadlines")
            ready()
            while True:
                await asyncio.sleep(TICK)
                await self._tick(frozenset(self._held()))

    async def _tick(self, held: frozenset[str]) -> None:
        """End what is due, and forget pods that are gone.

        One of which only an earlier daemon knew may yet come; its deadlines pass by themselves.
        """
        for pod in self._seen - held:
            self._deadlines.remove(pod)
        self._seen = held
        known = self._addresses()
        for due in [*self._deadlines.due(self._clock.now())]:
            await self._end(due, known)
            if due.cookies is None and due.pod not in held:
                self._deadlines.remove(due.pod)
            self._changed.set()

    async def _keep(self) -> None:
        """Write down what has changed."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                self._kept.write(self._deadlines)
            except OSError as error:
                log.warning("deadlines not written down", extra={"reason": str(error)})
            await asyncio.sleep(DELAY)

    async def _follow_renewals(self) -> None:
        async with asyncio.TaskGroup() as group:
            while True:
                pod, end, began = await self._renewed.get()
                group.create_task(self._note(pod, end, began), name=f"renewal of {pod}")

    async def _note(self, pod: str, end: datetime, began: float) -> None:
        """Note what is open once a proxy presents its new certificate; a slow one delays no other.

        There are few of these at a time: each is over within TICK + PATIENCE, and a pod renews
        once in half a lifetime.
        """
        if self._clock.now() < end:
            await self._await_presented(pod, began)
        # Else nobody accepts the old one any longer: what is opened from now on is the new one's.
        known = self._addresses()
        try:
            async with self._looking:
                found = await self._network.connections(pod)
        except MutuaError as error:
            log.warning("connections not noted", extra={"reason": str(error)})
            return
        mine = frozenset(one.cookie for one in found if self._is_ours(pod, one, known))
        self._deadlines.note(pod, end, mine)
        self._changed.set()

    async def _await_presented(self, pod: str, began: float) -> None:
        """Wait until a proxy has taken its new certificate up, and its workers follow."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(max(began + TICK - loop.time(), 0.0))
        while not self._is_presented(pod):
            if loop.time() > began + PATIENCE:
                return
            await asyncio.sleep(LOOK)

    async def _end(self, due: Due, known: Mapping[str, str]) -> None:
        def is_meant(one: Connection) -> bool:
            is_due = due.cookies is None or one.cookie in due.cookies
            return is_due and self._is_ours(due.pod, one, known)

        try:
            ended = await self._network.end_connections(due.pod, is_meant)
        except MutuaError as error:
            log.warning("connections outlive their certificate", extra={"reason": str(error)})
            return
        if ended:
            log.info("connections ended with their certificate", extra={"count": ended})

    def _is_ours(self, pod: str, one: Connection, known: Mapping[str, str]) -> bool:
        """Tell whether a connection is mutual TLS between two pods of the mesh."""
        caller = (known.get(pod, ""), one.local) if one.dialled else (one.peer, one.port)
        seen = self._plaintext.get(caller)
        is_plain = seen is not None and asyncio.get_running_loop().time() - seen < MEMORY
        return one.peer in known.values() and not is_plain
