"""A daemon's worth of cluster on a real shim and a real network, in a child process.

The test's body runs in a fork of pytest that has joined the shim's namespaces, as the daemon
does; the shim itself is started by pytest's own process.
"""

import asyncio
import os
import random
import select
import signal
import sys
import traceback
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from mutua.api.condition import is_true
from mutua.api.object import PODS, Object, Resource
from mutua.cluster.adapters import NetworkProber
from mutua.cluster.controllers.cluster import Controllers
from mutua.cluster.node.context import NodeContext
from mutua.cluster.node.node import Node
from mutua.cluster.node.ports import PodRuntime
from mutua.cluster.node.settings import NodeSettings
from mutua.foundation.clock import SystemClock
from mutua.runtime.enter import enter_shim
from mutua.runtime.network.node import NodeNetwork
from mutua.runtime.shim.client import ShimClient
from mutua.store.sqlite import SqliteStore
from mutua.testing.cluster import NAMESPACED
from mutua.testing.node import FakeSidecars, FakeTokens
from mutua.testing.shims import PATH, PrivateMesh

PATIENCE = 120.0
"""Seconds a test may take, far beyond any expected; then its child is killed."""

DEADLINE = 40.0
"""Seconds until a condition that should come soon is called missing."""

Body = Callable[[], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True)
class LiveCluster:
    """Controllers and a node over a store that survives them."""

    store: SqliteStore
    network: NodeNetwork
    shim: ShimClient

    async def until(self, probe: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        """Wait until a question has a truthy answer, and return it."""
        async with asyncio.timeout(DEADLINE):
            while True:
                if answer := await probe():
                    return answer
                await asyncio.sleep(0.005)

    async def pods(self) -> list[Object]:
        """Return the pods of namespace `shop`."""
        return list((await self.store.list(PODS, "shop")).items)

    async def ready_pods(self, count: int) -> list[Object]:
        """Wait until so many pods are ready, and return them."""

        async def probe() -> tuple[list[Object]] | None:
            ready = [pod for pod in await self.pods() if is_true(pod, "Ready")]
            return (ready,) if len(ready) == count else None

        try:
            [found] = await self.until(probe)
        except TimeoutError:
            statuses = [(pod["metadata"]["name"], pod.get("status")) for pod in await self.pods()]
            raise AssertionError(f"expected {count} ready pods: {statuses}") from None
        return list(found)

    async def empty(self, resource: Resource) -> None:
        """Wait until namespace `shop` has none of a kind."""

        async def probe() -> bool:
            return not (await self.store.list(resource, "shop")).items

        await self.until(probe)


@asynccontextmanager
async def running(mesh: PrivateMesh) -> AsyncIterator[LiveCluster]:
    """Run what the daemon runs, as far as pods are concerned."""
    clock = SystemClock()
    store = SqliteStore(mesh.layout.database, clock)
    network = NodeNetwork(mesh.layout.netns)
    await network.start()
    async with mesh.connect() as shim:
        rng = random.Random()  # noqa: S311 - names, not secrets
        controllers = Controllers(store, clock, namespaced=NAMESPACED, rng=rng)
        context = NodeContext(
            settings=NodeSettings(
                layout=mesh.layout,
                python=sys.executable,
                path=PATH,
                visible=(sys.prefix, sys.base_prefix),  # wherever the checkout lives, even in /tmp
            ),
            runtime=PodRuntime(shim, network, NetworkProber(network)),
            view=controllers.view,
            events=controllers.events,
            clock=clock,
            sidecars=FakeSidecars(),
            tokens=FakeTokens(),
        )
        ready = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(controllers.run()),
                group.create_task(Node(context).run(ready.set)),
            ]
            await ready.wait()
            try:
                yield LiveCluster(store, network, shim)
            finally:
                for task in tasks:
                    task.cancel()
    await network.stop()
    store.close()


def in_daemon(mesh: PrivateMesh, body: Body) -> None:
    """Run `body` in a child that has joined the mesh's namespaces."""
    report = _run_daemon(mesh, body, PATIENCE)
    if report != "done":
        raise AssertionError(report or "the test's process died")


def in_doomed_daemon(mesh: PrivateMesh, body: Body, *, after: float) -> None:
    """Run `body` like `in_daemon`, and kill -9 the child after so many seconds."""
    report = _run_daemon(mesh, body, after)
    if "Traceback" in report:
        raise AssertionError(report)


def _run_daemon(mesh: PrivateMesh, body: Body, patience: float) -> str:
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        os.close(reading)
        _be_daemon(mesh, body, writing)
    os.close(writing)
    try:
        return _read(reading, patience)
    finally:
        os.close(reading)
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def _be_daemon(mesh: PrivateMesh, body: Body, report: int) -> None:
    try:
        enter_shim(mesh.layout)
        with asyncio.Runner() as runner:
            runner.run(body())
        os.write(report, b"done")
    except BaseException:  # noqa: BLE001 - reported to the parent
        os.write(report, traceback.format_exc().encode())
    finally:
        os._exit(0)


def _read(pipe: int, patience: float) -> str:
    report = b""
    while select.select([pipe], [], [], patience)[0]:
        if not (chunk := os.read(pipe, 1 << 16)):
            return report.decode()
        report += chunk
    return f"{report.decode()}\nthe test's process was killed after {patience:g} s"
