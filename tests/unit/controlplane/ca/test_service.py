"""Requests to rotate are heeded once, and an answer outlives a restart."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from mutua.api.object import CERTIFICATE_AUTHORITIES, Object
from mutua.controlplane.ca.record import NAME, NAMESPACE
from mutua.controlplane.ca.rotator import Rotator
from mutua.controlplane.ca.service import CertificateAuthorityService
from mutua.identity.authority import Authority
from mutua.identity.bundle import TrustBundle
from mutua.identity.keystore import KeyStore
from mutua.identity.rotation import Evidence
from mutua.store.memory import MemoryStore
from mutua.testing.clock import ManualClock

TD = "cluster.local"


class HesitantFleet:
    """Proxies that confirm nothing as long as they are told not to."""

    def __init__(self) -> None:
        self.hesitates = False

    def trust(self, bundle: TrustBundle) -> None:
        pass

    def expect(self, signer: str) -> None:
        pass

    def evidence(self) -> Evidence:
        return Evidence(("web",), ("web",)) if self.hesitates else Evidence()


class World:
    """What outlives the control plane: keys, objects, proxies, and the events that were told."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock()
        self.store = MemoryStore(self.clock)
        self.fleet = HesitantFleet()
        self.events: list[str] = []
        self._folder = folder

    @asynccontextmanager
    async def control_plane(self) -> AsyncIterator[None]:
        """Start one that knows nothing but what is stored, and end it."""
        keys = KeyStore.open(self._folder, TD, self.clock)
        authority = Authority(keys.material(keys.state.issuing), TD, self.clock)
        rotator = Rotator(keys, authority, self.fleet, self.clock)
        service = CertificateAuthorityService(
            self.store, rotator, authority, self.clock, self._report
        )
        started = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(service.run(started.set))
            await started.wait()
            await asyncio.sleep(10)
            yield
            task.cancel()

    async def ask(self, request: str, **wish: Any) -> None:
        obj = await self._object()
        rotation = {"id": request, "replace": "Root", **wish}
        await self.store.update(CERTIFICATE_AUTHORITIES, {**obj, "spec": {"rotation": rotation}})
        await asyncio.sleep(10)

    async def status(self) -> Any:
        return (await self._object())["status"]

    async def _object(self) -> Object:
        return await self.store.get(CERTIFICATE_AUTHORITIES, NAMESPACE, NAME)

    def _report(self, _obj: Object, _severity: str, reason: str, _message: str) -> None:
        self.events.append(reason)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "ca")


async def test_what_was_refused_is_not_begun_by_a_restart_when_it_would_be_possible(
    world: World,
) -> None:
    async with world.control_plane():
        world.fleet.hesitates = True
        await world.ask("first")
        await world.ask("second")  # the first is under way
        refused = await world.status()
        world.fleet.hesitates = False
        await asyncio.sleep(10)
        over = await world.status()
    async with world.control_plane():
        restarted = await world.status()

    assert refused["message"].startswith("request second: ")
    assert ("rotation" in refused, "rotation" in over) == (True, False)
    assert restarted == over
    assert (over["lastRequest"], over["message"]) == ("first", refused["message"])
    assert world.events == ["RotationBegun", "RotationRefused", "RotationDone"]


async def test_another_request_after_the_restart_is_heeded(world: World) -> None:
    async with world.control_plane():
        world.fleet.hesitates = True
        await world.ask("first")
        await world.ask("second")
    world.fleet.hesitates = False
    async with world.control_plane():
        await world.ask("third")
        done = await world.status()

    assert done["lastRequest"] == "third"
    assert "message" not in done


async def test_what_was_begun_goes_on_after_a_restart(world: World) -> None:
    async with world.control_plane():
        before = (await world.status())["issuing"]["fingerprint"]
        world.fleet.hesitates = True
        await world.ask("first")
    world.fleet.hesitates = False
    async with world.control_plane():
        after = await world.status()

    assert after["issuing"]["fingerprint"] != before
    assert "rotation" not in after
    assert world.events == ["RotationBegun", "RotationDone"]
