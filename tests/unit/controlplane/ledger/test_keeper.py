"""What proxies report becomes objects, survives restarts, and can be forgotten."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from mutua.api.object import (
    CONFIG_MAPS,
    DESTINATION_RULES,
    ENDPOINT_SLICES,
    NAMESPACES,
    PLAINTEXT_CALLERS,
    PODS,
    SERVICES,
    Object,
)
from mutua.controlplane.controlplane import ControlPlane
from mutua.controlplane.ledger.keeper import ATTEMPTS, REST, SETTLE, Keeper, Refusal
from mutua.controlplane.ledger.watch import NAME, from_config_map
from mutua.store.memory import MemoryStore
from mutua.testing.clock import ManualClock
from mutua.testing.mesh import destination_rule, endpoint_slice, namespace, pod, service
from mutua.testing.polling import eventually
from mutua.testing.proxy import running
from mutua.xds.sighting import Sighting, Speaks

CALL = Sighting("10.244.0.7", 40000, 8080, Speaks.HTTP, "web")
REFUSED = Sighting("10.244.0.7", 40001, 8080, Speaks.TCP, refused=True)
HTTP = {"name": "http", "port": 80, "targetPort": 8080}


class Mesh:
    """A store, a control plane, and two pods: `web` and `client`, which has no sidecar."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = MemoryStore(self.clock)
        self.plane = ControlPlane(self.store, clock=self.clock)
        self.server = ""
        self.client: Object = {}

    async def fill(self) -> None:
        await self.store.create(NAMESPACES, namespace("shop", None))
        web = await self.store.create(PODS, pod("shop", "web", "10.244.0.2"))
        self.client = await self.store.create(
            PODS, pod("shop", "client", "10.244.0.7", meshed=False)
        )
        await self.store.create(SERVICES, service("shop", "web", HTTP))
        self.server = web["metadata"]["uid"]

    def keeper(self) -> Keeper:
        return Keeper(self.store, self.clock, lambda: self.plane.snapshot)

    async def entries(self) -> list[Any]:
        return list((await self.store.list(PLAINTEXT_CALLERS)).items)


async def start() -> Mesh:
    mesh = Mesh()
    await mesh.fill()
    return mesh


async def test_a_caller_is_written_at_once_and_its_numbers_later() -> None:
    mesh = await start()
    keeper = mesh.keeper()
    async with running(mesh.plane.run), running(keeper.run):
        keeper.witness(mesh.server)(CALL)
        [entry] = await eventually(mesh.entries)
        assert entry["metadata"]["namespace"] == "shop"
        assert entry["spec"]["caller"] == {"kind": "Pod", "namespace": "shop", "name": "client"}
        assert (entry["status"]["reason"], entry["status"]["count"]) == ("NoSidecar", 1)

        for _ in range(9):
            keeper.witness(mesh.server)(CALL)
        await asyncio.sleep(REST / 2)
        assert (await mesh.entries())[0]["status"]["count"] == 1
        await asyncio.sleep(REST)
        assert (await mesh.entries())[0]["status"]["count"] == 10


async def test_what_was_seen_survives_a_restart_and_the_gap_is_known() -> None:
    mesh = await start()
    first = mesh.keeper()
    async with running(mesh.plane.run):
        async with running(first.run):
            for _ in range(3):
                first.witness(mesh.server)(CALL)
            await eventually(mesh.entries)
        assert (await mesh.entries())[0]["status"]["count"] == 3

        mesh.clock.advance(timedelta(minutes=5))
        second = mesh.keeper()
        async with running(second.run):
            second.witness(mesh.server)(CALL)
        assert (await mesh.entries())[0]["status"]["count"] == 4

    watched = from_config_map(await mesh.store.get(CONFIG_MAPS, "istio-system", NAME))
    assert watched is not None
    assert watched.missed == timedelta(minutes=5)
    assert watched.until - watched.since == timedelta(minutes=5)


async def test_a_deleted_entry_is_forgotten() -> None:
    mesh = await start()
    keeper = mesh.keeper()
    async with running(mesh.plane.run), running(keeper.run):
        keeper.witness(mesh.server)(CALL)
        keeper.witness(mesh.server)(CALL)
        [entry] = await eventually(mesh.entries)
        await mesh.store.delete(PLAINTEXT_CALLERS, "shop", entry["metadata"]["name"])
        await asyncio.sleep(0.1)
        keeper.witness(mesh.server)(CALL)
        [entry] = await eventually(mesh.entries)

    assert entry["status"]["count"] == 1


async def test_a_refusal_is_told_at_once_with_what_is_known_about_the_caller() -> None:
    mesh = await start()
    keeper = mesh.keeper()
    told: list[Refusal] = []
    keeper.on_refusal = told.append
    async with running(mesh.plane.run), running(keeper.run):
        keeper.witness(mesh.server)(REFUSED)
        keeper.witness(mesh.server)(CALL)
        keeper.witness(mesh.server)(REFUSED)

    assert [one.served_before for one in told] == [False, True]
    assert {one.server for one in told} == {mesh.server}
    assert told[1].entry.key.caller.short == "pod/client.shop"


async def test_a_pod_that_has_gone_meanwhile_is_still_named() -> None:
    mesh = await start()
    keeper = mesh.keeper()
    async with running(mesh.plane.run), running(keeper.run):
        await mesh.store.delete(PODS, "shop", "client")
        await asyncio.sleep(0.1)
        keeper.witness(mesh.server)(CALL)
        [entry] = await eventually(mesh.entries)

    assert entry["spec"]["caller"]["name"] == "client"


async def test_probes_strangers_and_nonsense_are_not_noted() -> None:
    mesh = await start()
    keeper = mesh.keeper()
    async with running(mesh.plane.run), running(keeper.run):
        keeper.witness(mesh.server)(Sighting("127.0.0.6", 1, 8080, Speaks.HTTP))
        keeper.witness(mesh.server)(Sighting("not an address", 1, 8080, Speaks.HTTP))
        keeper.witness(mesh.server)(Sighting("10.244.0.7", 1, 0, Speaks.HTTP))
        keeper.witness("nobody")(CALL)
        await asyncio.sleep(2 * REST)

    assert await mesh.entries() == []


async def test_an_entry_that_cannot_be_written_does_not_end_the_others() -> None:
    mesh = await start()
    keeper = mesh.keeper()
    await mesh.store.create(
        PLAINTEXT_CALLERS, {"metadata": {"namespace": "shop", "name": "not-ours"}, "spec": {}}
    )
    async with running(mesh.plane.run), running(keeper.run):
        keeper.witness(mesh.server)(CALL)

    assert len(await mesh.entries()) == 2


@pytest.mark.parametrize("passes", [SETTLE, timedelta(days=-1)])
async def test_a_rule_that_has_just_gone_is_still_the_reason_for_a_moment(
    passes: timedelta,
) -> None:
    """The client's proxy has yet to hear of it, and to leave its connections."""
    mesh = await start()
    other = await mesh.store.create(PODS, pod("shop", "other", "10.244.0.8"))
    web = {"metadata": {"uid": mesh.server}, "status": {"podIP": "10.244.0.2"}}
    await mesh.store.create(ENDPOINT_SLICES, endpoint_slice(service("shop", "web", HTTP), [web]))
    off = destination_rule("shop", "web", {"tls": {"mode": "DISABLE"}})
    await mesh.store.create(DESTINATION_RULES, off)
    keeper = mesh.keeper()
    call = replace(CALL, source=other["status"]["podIP"])

    async def reason() -> str:
        keeper.witness(mesh.server)(call)
        await asyncio.sleep(2 * REST)
        return str((await mesh.entries())[0]["status"]["reason"])

    async with running(mesh.plane.run), running(keeper.run):
        assert await reason() == "DestinationRule"
        await mesh.store.delete(DESTINATION_RULES, "shop", "rule")
        await asyncio.sleep(0.1)
        assert await reason() == "DestinationRule"
        mesh.clock.advance(passes)
        assert await reason() == "PodAddress"


async def test_the_program_is_looked_up_a_few_times_and_then_known() -> None:
    mesh = await start()
    asked: list[tuple[str, str, int]] = []

    async def find(uid: str, address: str, port: int) -> str:
        asked.append((uid, address, port))
        return "curl" if len(asked) == 2 else ""

    keeper = Keeper(mesh.store, mesh.clock, lambda: mesh.plane.snapshot, program=find)
    async with running(mesh.plane.run), running(keeper.run):
        for _ in range(3):
            keeper.witness(mesh.server)(CALL)
            await asyncio.sleep(REST)
        [entry] = await mesh.entries()

    assert asked == [(mesh.client["metadata"]["uid"], "10.244.0.7", 40000)] * 2
    assert entry["status"]["process"] == "curl"


async def test_a_program_that_is_never_found_is_not_looked_up_for_ever() -> None:
    mesh = await start()
    asked: list[int] = []

    async def find(_uid: str, _address: str, port: int) -> str:
        asked.append(port)
        return ""

    keeper = Keeper(mesh.store, mesh.clock, lambda: mesh.plane.snapshot, program=find)
    async with running(mesh.plane.run), running(keeper.run):
        for _ in range(3 * ATTEMPTS):
            keeper.witness(mesh.server)(CALL)
            await asyncio.sleep(REST)

    assert len(asked) == ATTEMPTS
