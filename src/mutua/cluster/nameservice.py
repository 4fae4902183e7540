"""The daemon's side of DNS: writes down the names, and keeps the name server running.

Services, EndpointSlices, ServiceEntries ─► dns/records.json ─► nameserver ─► pods

The name server is a child of the shim.
"""

import asyncio
import logging
from pathlib import Path
from typing import Final

from mutua.api.object import ENDPOINT_SLICES, SERVICE_ENTRIES, SERVICES
from mutua.cluster.controllers.view import View
from mutua.cluster.dns_records import Records
from mutua.cluster.nameserver import write_records
from mutua.cluster.node.settings import NodeSettings
from mutua.foundation.backoff import Backoff
from mutua.lifecycle.supervisor import Ready
from mutua.runtime.shim.client import ShimClient
from mutua.runtime.spec import NODE, ContainerSpec, ContainerState

PREFIX: Final = f"{NODE}/nameserver/"
"""Of the container's id; the attempt follows."""

RESTART: Final = Backoff(first=0.1, ceiling=10.0)
"""Between the end of one name server and the start of the next, in seconds."""

log = logging.getLogger(__name__)


class NameService:
    """Keeps the cluster's names answered."""

    def __init__(self, view: View, settings: NodeSettings) -> None:
        """Prepare; nothing happens before `run`.

        Args:
            view: What has names: Services, EndpointSlices and ServiceEntries.
            settings: Addresses, directories, the interpreter.
        """
        self._view = view
        self._settings = settings
        self._changed = asyncio.Event()

    async def run(self, ready: Ready) -> None:
        """Serve until cancelled; the name server stays when this ends."""
        shim = await ShimClient.connect(self._settings.layout.shim_socket)
        try:
            for resource in (SERVICES, ENDPOINT_SLICES, SERVICE_ENTRIES):
                self._view[resource].subscribe(lambda _change: self._changed.set())
            self._write()
            running = await self._adopt(shim)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._follow(), name="dns records")
                group.create_task(self._keep_running(shim, running), name="dns server")
                ready()
        finally:
            await shim.close()

    @property
    def _records(self) -> Path:
        return self._settings.layout.run / "dns" / "records.json"

    async def _follow(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            self._write()

    def _write(self) -> None:
        records = Records(
            self._view[SERVICES].list(),
            self._view[ENDPOINT_SLICES].list(),
            self._view[SERVICE_ENTRIES].list(),
        )
        self._records.parent.mkdir(mode=0o700, exist_ok=True)
        write_records(self._records, records.names)

    async def _adopt(self, shim: ShimClient) -> ContainerState | None:
        """Return the name server that an earlier daemon started, if it still runs."""
        found = [one for one in await shim.containers() if one.id.startswith(PREFIX)]
        for state in found:
            if not state.running:
                await shim.remove(state.id)
        return next((state for state in found if state.running), None)

    async def _keep_running(self, shim: ShimClient, running: ContainerState | None) -> None:
        attempt = int(running.id.removeprefix(PREFIX)) + 1 if running else 0
        failures = 0
        exits = shim.exits()
        while True:
            if running is None:
                running = await shim.start(self._spec(attempt))
                attempt += 1
            started = asyncio.get_running_loop().time()
            async for state in exits:
                if state.id == running.id:
                    break
            else:
                return  # the shim has ended; the node says so
            log.warning("name server ended", extra={"exit_code": state.exit_code})
            await shim.remove(running.id)
            lived = asyncio.get_running_loop().time() - started
            failures = failures + 1 if lived < RESTART.ceiling else 0
            await asyncio.sleep(RESTART.delay(failures, draw=0.5))
            running = None

    def _spec(self, attempt: int) -> ContainerSpec:
        layout, settings = self._settings.layout, self._settings
        return ContainerSpec(
            id=f"{PREFIX}{attempt}",
            argv=(
                settings.python, "-m", "mutua.cluster.nameserver", str(self._records), settings.dns,
            ),
            env={"PATH": settings.path},
            hostname=settings.name,
            log_path=str(layout.logs / "nameserver" / f"{attempt}.log"),
            capabilities=("NET_BIND_SERVICE",),
        )  # fmt: skip
