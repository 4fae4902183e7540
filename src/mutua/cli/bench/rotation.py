"""How long does another root take, and a thousand certificates at once?

The CA, the agent and its secret service in this process, and proxies that confirm in another
(`fleet`): real keys, real signatures, real SDS over real sockets, no Envoy.
"""

import asyncio
import os
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from mutua.agent.agent import Agent
from mutua.agent.issuer import LocalIssuer
from mutua.agent.sds import sds_handler
from mutua.agent.workload import Workload
from mutua.cli.bench.figure import Figure
from mutua.cli.bench.hub import socket_of
from mutua.controlplane.ca.rotator import Rotator
from mutua.controlplane.ca.service import TICK
from mutua.foundation.clock import SystemClock
from mutua.foundation.errors import Unavailable
from mutua.foundation.spiffe import SpiffeId
from mutua.identity.authority import Authority
from mutua.identity.keystore import KeyStore
from mutua.identity.rotation import Evidence
from mutua.xds.server import WorkloadServer, serve_workload

DOMAIN: Final = "cluster.local"
PATIENCE: Final = 300.0
"""Seconds that any single wait may take."""

POLL: Final = 0.005

MEMORY: Final = "/dev/shm"  # noqa: S108 - the directory in it is private
"""A file system in memory (shm_overview(7)), for machines without a session."""


@dataclass(frozen=True, slots=True)
class _Fleet:
    agent: Agent
    authority: Authority
    rotator: Rotator
    keys: KeyStore


def rotation(proxies: int, renewals: int, rounds: int = 3) -> list[Figure]:
    """Measure a rotation of the root, and everybody's renewal at once.

    Args:
        proxies: For the rotation.
        renewals: Workloads that renew at once.
        rounds: Rotations of which the median counts.
    """
    rotated = asyncio.run(_with_fleet(proxies, lambda fleet: _rotations(fleet, rounds)))
    renewed = asyncio.run(_with_fleet(renewals, _renewal))
    confirming = "proxies that confirm over SDS in another process"
    return [
        Figure(
            f"rotate root, {proxies} proxies",
            rotated,
            "s",
            f"median of {rounds}: from the request to the key deleted, with {proxies} {confirming}",
        ),
        Figure(
            f"{renewals} workloads renew at once",
            renewed,
            "s",
            "new key, request, signature, files (in memory) and SDS for each, with "
            f"{renewals} {confirming}",
        ),
    ]


async def _rotations(fleet: _Fleet, rounds: int) -> float:
    return median([await _rotate(fleet) for _ in range(rounds)])


async def _rotate(fleet: _Fleet) -> float:
    loop, began = asyncio.get_running_loop(), time.monotonic()
    fleet.rotator.replace_root(str(began))
    while fleet.rotator.state.rotation is not None:
        if not fleet.rotator.step(loop.time()):
            await asyncio.sleep(TICK)
        _require(began)
    return time.monotonic() - began


async def _renewal(fleet: _Fleet) -> float:
    """Let another CA sign that everybody trusts; each workload asks it for a certificate."""
    began = time.monotonic()
    material = fleet.keys.material(fleet.keys.add_intermediate())
    fleet.authority.adopt(material, fleet.authority.bundle)
    fleet.agent.expect(material.fingerprint)
    while fleet.agent.evidence() != Evidence():
        await asyncio.sleep(POLL)
        _require(began)
    return time.monotonic() - began


def _require(began: float) -> None:
    if time.monotonic() > began + PATIENCE:
        raise Unavailable(f"the proxies have not confirmed within {PATIENCE:g} s")


async def _with_fleet(proxies: int, measure: Callable[[_Fleet], Awaitable[float]]) -> float:
    with tempfile.TemporaryDirectory(prefix="mutua-bench-", dir=_in_memory()) as folder:
        async with _running(Path(folder), proxies) as fleet:
            return await measure(fleet)


def _in_memory() -> str | None:
    """Return where a mesh keeps its certificate files: the session's runtime directory.

    It is in memory.  On a disk the file system would be what is measured: ext4, for one, passes
    over everything that was deleted in the last minutes whenever it makes a file.
    """
    places = (os.environ.get("XDG_RUNTIME_DIR", ""), MEMORY)
    return next((place for place in places if place and Path(place).is_dir()), None)


@asynccontextmanager
async def _running(folder: Path, proxies: int) -> AsyncIterator[_Fleet]:
    clock = SystemClock()
    keys = KeyStore.open(folder / "ca", DOMAIN, clock)
    authority = Authority(keys.material(keys.state.issuing), DOMAIN, clock)
    agent = Agent(LocalIssuer(authority), clock, random.SystemRandom().random)
    rotator = Rotator(keys, authority, agent, clock)
    rotator.resume()
    servers = [await _serve(folder, agent, number) for number in range(proxies)]
    clients = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "mutua.cli.bench.fleet", str(folder), str(proxies)),
        stdin=asyncio.subprocess.PIPE,
    )
    renewing = asyncio.create_task(agent.run())
    try:
        began = time.monotonic()
        while agent.evidence() != Evidence():
            await asyncio.sleep(POLL)
            _require(began)
        yield _Fleet(agent, authority, rotator, keys)
    finally:
        renewing.cancel()
        clients.kill()
        await clients.wait()
        for server in servers:
            await server.stop()


async def _serve(folder: Path, agent: Agent, number: int) -> WorkloadServer:
    identity = SpiffeId(DOMAIN, "bench", f"s{number}")
    workload = Workload(
        uid=str(number), identity=identity, certs_dir=folder / "certs" / str(number)
    )
    return await serve_workload(
        {socket_of(folder, number): [sds_handler(await agent.add(workload))]}
    )
