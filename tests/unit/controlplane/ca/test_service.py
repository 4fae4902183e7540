"""Requests to rotate are heeded once, and an answer outlives a restart."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from mutua.api.condition import find_condition
from mutua.api.object import CERTIFICATE_AUTHORITIES, SECRETS, Object
from mutua.controlplane.ca.record import NAME, NAMESPACE
from mutua.controlplane.ca.rotator import Rotator
from mutua.controlplane.ca.service import CertificateAuthorityService
from mutua.identity.authority import Authority
from mutua.identity.bundle import TrustBundle
from mutua.identity.crl import sign_lists
from mutua.identity.keyfile import Damaged
from mutua.identity.keystore import INTERMEDIATE_LIFETIME, ROOT_LIFETIME, KeyStore
from mutua.identity.material import self_signed
from mutua.identity.rotation import Evidence
from mutua.identity.x509 import self_signed_ca
from mutua.store.memory import MemoryStore
from mutua.store.port import NotFound
from mutua.testing.clock import ManualClock

TD = "cluster.local"


class HesitantFleet:
    """Proxies that confirm nothing as long as they are told not to."""

    def __init__(self) -> None:
        self.hesitates = False
        self.trusts = TrustBundle(())

    def trust(self, bundle: TrustBundle) -> None:
        self.trusts = bundle

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
        self.messages: list[str] = []
        self.objection = ""
        self._folder = folder

    @asynccontextmanager
    async def control_plane(self) -> AsyncIterator[None]:
        """Start one that knows nothing but what is stored, and end it."""
        keys = KeyStore.open(self._folder, TD, self.clock)
        authority = Authority(keys.material(keys.state.issuing), TD, self.clock)
        rotator = Rotator(
            keys, authority, self.fleet, self.clock, objects=lambda _material: self.objection
        )
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

    async def plug_in(self, files: dict[str, str], *, encoding: str = "ascii") -> None:
        """Create or replace Secret cacerts."""
        data = {k: base64.b64encode(v.encode(encoding)).decode() for k, v in files.items()}
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"namespace": NAMESPACE, "name": "cacerts"},
            "data": data,
        }
        try:
            present = await self.store.get(SECRETS, NAMESPACE, "cacerts")
        except NotFound:
            await self.store.create(SECRETS, secret)
        else:
            await self.store.update(SECRETS, {**present, "data": data})
        await asyncio.sleep(10)

    async def condition(self, kind: str) -> tuple[str, str, str]:
        """Return status, reason and message."""
        found = find_condition(await self._object(), kind)
        assert found is not None
        return found["status"], found["reason"], found["message"]

    def _report(self, _obj: Object, _severity: str, reason: str, message: str) -> None:
        self.events.append(reason)
        self.messages.append(message)


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


class PluggedIn:
    """A root that signs by itself, as the files of a set."""

    def __init__(self, world: World, lifetime: timedelta = timedelta(days=1000)) -> None:
        self.world = world
        self.root = self_signed_ca("own", lifetime=lifetime, clock=world.clock)

    def files(self, crl: str = "") -> dict[str, str]:
        pem = self_signed(self.root).anchor
        made = dict.fromkeys(("ca-cert.pem", "cert-chain.pem", "root-cert.pem"), pem)
        return {**made, "ca-key.pem": self.root.key.pem(), **({"ca-crl.pem": crl} if crl else {})}

    def lists(self, *serials: int) -> str:
        return sign_lists([self.root], serials, number=1, now=self.world.clock.now())


async def issuing(world: World) -> tuple[str, str]:
    found = (await world.status())["issuing"]
    return found["fingerprint"], found["source"]


async def test_a_root_is_replaced_when_a_fifth_of_its_life_is_left_and_not_before(
    world: World,
) -> None:
    async with world.control_plane():
        before = await issuing(world)
        assert (await world.condition("UpToDate"))[0] == "True"
        world.clock.advance(ROOT_LIFETIME * 0.799)
        await asyncio.sleep(60)
        assert await issuing(world) == before
        world.clock.advance(ROOT_LIFETIME * 0.002)
        await asyncio.sleep(60)
        after = await issuing(world)
        condition = await world.condition("UpToDate")

    assert after != before
    assert after[1] == "self-signed"
    assert condition[0] == "True"
    assert world.events == ["RenewalBegun", "RotationDone"]
    assert "the root 'O=cluster.local' ends at" in world.messages[0]


async def test_an_intermediate_is_replaced_below_the_same_root_and_later_the_root_too(
    world: World,
) -> None:
    async with world.control_plane():
        await world.ask("mine", replace="Intermediate")
        roots = (await world.status())["roots"]
        before = await issuing(world)
        world.clock.advance(INTERMEDIATE_LIFETIME * 0.81)
        await asyncio.sleep(60)
        renewed, same = await issuing(world), (await world.status())["roots"]
        world.clock.advance(ROOT_LIFETIME * 0.9)  # the intermediate has ended as well
        await asyncio.sleep(60)
        last = await issuing(world)

    assert renewed != before
    assert (renewed[1], same) == ("intermediate", roots)
    assert last[1] == "self-signed"


async def test_a_ca_that_begins_in_the_future_is_replaced_when_the_clock_was_set_right(
    world: World,
) -> None:
    world.clock.advance(ROOT_LIFETIME)
    async with world.control_plane():
        before = await issuing(world)
        world.clock.advance(-ROOT_LIFETIME)
        await asyncio.sleep(60)
        assert await issuing(world) != before


async def test_a_renewal_waits_for_the_rotation_under_way(world: World) -> None:
    async with world.control_plane():
        world.fleet.hesitates = True
        await world.ask("first")
        world.clock.advance(ROOT_LIFETIME * 0.9)
        await asyncio.sleep(60)
        assert world.events == ["RotationBegun"]
        world.fleet.hesitates = False
        await asyncio.sleep(60)

    # The root of that rotation was made before the clock advanced.
    assert world.events == ["RotationBegun", "RotationDone", "RenewalBegun", "RotationDone"]


async def test_a_renewal_that_is_aborted_or_fails_is_begun_again_later(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world.control_plane():
        with monkeypatch.context() as broken:
            broken.setattr(KeyStore, "add_root", no_space)
            world.clock.advance(ROOT_LIFETIME * 0.9)
            await asyncio.sleep(500)
            assert world.events == ["RenewalFailed"]
            assert "it was not replaced: no space" in (await world.condition("UpToDate"))[2]
        world.fleet.hesitates = True
        await asyncio.sleep(110)
        moving = (await world.status())["rotation"]["id"]
        await world.ask(moving, abort=True)
        world.fleet.hesitates = False
        await asyncio.sleep(500)
        assert world.events[1:] == ["RenewalBegun", "RotationAborted", "RotationDone"]
        await asyncio.sleep(3600)

    assert world.events[4:] == ["RenewalBegun", "RotationDone"]


def no_space(_store: KeyStore) -> int:
    raise Damaged("no space")


async def test_a_renewal_makes_no_former_request_new(world: World) -> None:
    async with world.control_plane():
        await world.ask("first")
        world.clock.advance(ROOT_LIFETIME * 0.9)
        await asyncio.sleep(60)
        before = await issuing(world)
    async with world.control_plane():
        assert await issuing(world) == before

    assert world.events == ["RotationBegun", "RotationDone", "RenewalBegun", "RotationDone"]


async def test_of_a_plugged_in_ca_and_its_lists_operators_are_warned_once_per_threshold(
    world: World,
) -> None:
    own = PluggedIn(world)
    async with world.control_plane():
        await world.plug_in(own.files(own.lists()))
        before = await issuing(world)
        assert (await world.condition("UpToDate"))[0] == "True"
        world.events.clear()
        world.messages.clear()
        for days in (85, 6, 5, 10):  # of the 101 of a list
            world.clock.advance(timedelta(days=days))
            await asyncio.sleep(60)
        status, reason, message = await world.condition("UpToDate")
        assert await issuing(world) == before
        world.clock.advance(timedelta(days=800))
        await asyncio.sleep(60)

    assert world.events == ["CAEndsSoon"] * 5
    assert ["ended" in one for one in world.messages] == [False] * 3 + [True, False]
    assert "the root 'CN=own' ends at" in world.messages[-1]
    assert (status, reason) == ("False", "EndsSoon")
    assert message.startswith("the revocation list of 'CN=own' (ca-crl.pem) ended at 2026-04-11")
    assert "Secret cacerts" in message


async def test_a_start_with_a_list_that_has_ended_meanwhile_goes_on(world: World) -> None:
    own = PluggedIn(world)
    async with world.control_plane():
        await world.plug_in(own.files(own.lists()))
        before = await issuing(world)
    world.clock.advance(timedelta(days=200))
    async with world.control_plane():
        assert await issuing(world) == before
        status, _, message = await world.condition("UpToDate")
        await world.plug_in(own.files(own.lists(7)))
        again = await world.condition("UpToDate")

    assert (status, "ended at" in message) == ("False", True)
    assert again[0] == "True"


async def test_only_other_lists_are_in_force_at_once_also_while_a_rotation_stands_still(
    world: World,
) -> None:
    own = PluggedIn(world)
    async with world.control_plane():
        world.fleet.hesitates = True
        await world.plug_in(own.files(own.lists()))
        moving = (await world.status())["rotation"]
        revoking = own.lists(7)
        await world.plug_in(own.files(revoking))
        assert world.fleet.trusts.crl == revoking
        assert (await world.status())["rotation"] == moving
        world.fleet.hesitates = False
        await asyncio.sleep(10)
        assert (await issuing(world))[1] == "plugged-in"
        await world.plug_in(own.files())
        assert world.fleet.trusts.crl == ""
    async with world.control_plane():
        assert world.fleet.trusts.crl == ""  # as stored

    assert world.events == ["CAAdopted", "CAAdopted", "RotationDone", "CAAdopted"]


async def test_another_set_that_has_to_wait_says_so_and_what_to_do(world: World) -> None:
    first, second = PluggedIn(world), PluggedIn(world)
    async with world.control_plane():
        world.fleet.hesitates = True
        await world.plug_in(first.files())
        await world.plug_in(second.files())
        waiting = await world.condition("PluggedIn")
        assert world.events == ["CAAdopted", "CAWaiting"]
        world.fleet.hesitates = False
        await asyncio.sleep(30)
        adopted = await world.condition("PluggedIn")

    assert waiting[:2] == ("False", "Waiting")
    assert "mutua ca rotate abort" in waiting[2]
    assert adopted[:2] == ("True", "Adopted")


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
async def test_a_file_that_is_no_ascii_text_is_named_and_so_is_its_fault(
    world: World, encoding: str
) -> None:
    files = PluggedIn(world).files()
    files["cert-chain.pem"] = "Z\u00fcrich\n" + files["cert-chain.pem"]
    async with world.control_plane():
        await world.plug_in({**files, "notes.txt": "\u00fc"}, encoding=encoding)
        status, reason, message = await world.condition("PluggedIn")

    assert (status, reason) == ("False", "Refused")
    assert message.startswith("cert-chain.pem: byte 2 is no ASCII character")


async def test_a_step_that_somebody_would_refuse_is_not_taken_and_can_be_taken_back(
    world: World,
) -> None:
    async with world.control_plane():
        before = await issuing(world)
        world.objection = "web refuses the canary"
        await world.ask("first")
        moving = (await world.status())["rotation"]
        assert await issuing(world) == before
        await world.ask("first", abort=True)
        assert "rotation" not in await world.status()
        await world.ask("second")
        world.objection = ""
        await asyncio.sleep(10)
        assert await issuing(world) != before

    assert moving["stage"] == "Distribute"
    assert "web refuses the canary" in moving["message"]
    halted = ["RotationBegun", "RotationHalted"]
    assert world.events == [*halted, "RotationAborted", "RotationDone", *halted, "RotationDone"]
