"""A policy on probation is kept, reverted or let go, whoever is still there to see it."""

import asyncio
from typing import Any

import pytest

from mutua.api.object import PEER_AUTHENTICATIONS, PODS, SERVICES, Object
from mutua.controlplane.controlplane import ControlPlane
from mutua.controlplane.ledger.keeper import Refusal
from mutua.controlplane.ledger.ledger import Entry, Key
from mutua.controlplane.ledger.party import Party
from mutua.controlplane.strict.change import (
    APPLIED,
    REVERTED,
    Scope,
    on_probation,
    policy_to_change,
    probation_of,
    strict_policy,
)
from mutua.controlplane.strict.guard import PATIENCE, Guard
from mutua.store.memory import MemoryStore
from mutua.store.port import NotFound
from mutua.testing.clock import START, ManualClock
from mutua.testing.mesh import peer_authentication, pod, service
from mutua.testing.polling import eventually
from mutua.testing.proxy import Proxy, running

WATCH = 10.0
AT_ONCE = 0.5
"""Virtual seconds; everything that waits waits for longer."""
HTTP = {"name": "http", "port": 80, "targetPort": 8080}


class Mesh:
    """A store, a control plane with the proxy of pod `web`, and a guard."""

    def __init__(self) -> None:
        self.store = MemoryStore(ManualClock())
        self.plane = ControlPlane(self.store, clock=ManualClock())
        self.events: list[tuple[str, str]] = []
        self.guard = self.new_guard()
        self.uid = ""

    def new_guard(self) -> Guard:
        return Guard(
            self.store,
            ManualClock(),
            lambda: self.plane.snapshot,
            lambda _obj, _severity, reason, note: self.events.append((reason, note)),
        )

    async def fill(self, *policies: Object) -> None:
        made = await self.store.create(PODS, pod("shop", "web", "10.244.0.2"))
        self.uid = made["metadata"]["uid"]
        await self.store.create(SERVICES, service("shop", "web", HTTP))
        for policy in policies:
            await self.store.create(PEER_AUTHENTICATIONS, policy)

    def connect(self, **how: Any) -> Proxy:
        proxy = Proxy(self.plane.add(self.uid), **how)
        proxy.connect()
        return proxy

    async def switch(self, *, known_only: bool = False) -> None:
        """Do what `strict apply` does."""
        policies = list((await self.store.list(PEER_AUTHENTICATIONS)).items)
        scope = Scope(namespace="shop")
        before = policy_to_change(policies, scope)
        policy = on_probation(
            strict_policy(policies, scope), before, watch=WATCH, known_only=known_only
        )
        write = self.store.create if before is None else self.store.update
        await write(PEER_AUTHENTICATIONS, policy)
        await eventually(self.is_pushed)

    async def is_pushed(self) -> bool:
        policy = await self.policy()
        conditions = (policy.get("status") or {}).get("conditions") or [{}]
        return conditions[-1].get("observedGeneration") == policy["metadata"]["generation"]

    async def policy(self) -> Object:
        return await self.store.get(PEER_AUTHENTICATIONS, "shop", "default")

    async def mode(self) -> str:
        """Return what the policy says, "" when there is none."""
        try:
            return str((await self.policy())["spec"]["mtls"]["mode"])
        except NotFound:
            return ""

    async def notes(self) -> dict[str, str]:
        found: dict[str, str] = (await self.policy())["metadata"].get("annotations") or {}
        return found

    def refuse(self, *, port: int = 8080, served_before: bool = True) -> None:
        server, caller = Party("Pod", "shop", "web"), Party("Pod", "street", "plain")
        entry = Entry(key=Key(server, port, caller), first_seen=START)
        self.guard.refused(Refusal(self.uid, entry, served_before))


PERMISSIVE = peer_authentication("shop", "PERMISSIVE")


async def test_it_stays_when_nobody_is_refused_for_long_enough() -> None:
    mesh = Mesh()
    await mesh.fill(PERMISSIVE)
    async with running(mesh.plane.run), running(mesh.guard.run):
        mesh.connect()
        await mesh.switch()
        await asyncio.sleep(WATCH - 1)
        assert probation_of(await mesh.policy()) is not None
        await asyncio.sleep(2)

    assert await mesh.mode() == "STRICT"
    assert (await mesh.notes()).keys() == {APPLIED}
    assert [reason for reason, _ in mesh.events] == ["StrictHeld"]


async def test_the_watch_begins_when_it_is_in_force_everywhere() -> None:
    mesh = Mesh()
    await mesh.fill(PERMISSIVE)
    async with running(mesh.plane.run), running(mesh.guard.run):
        proxy = mesh.connect()
        proxy.answers = False
        await mesh.switch()
        await asyncio.sleep(PATIENCE - WATCH)
        proxy.answers = True
        proxy.serve()
        await asyncio.sleep(WATCH - 1)
        assert probation_of(await mesh.policy()) is not None
        await asyncio.sleep(2)
        assert probation_of(await mesh.policy()) is None

    assert await mesh.mode() == "STRICT"


@pytest.mark.parametrize("before", ["PERMISSIVE", "DISABLE", None])
async def test_it_is_put_back_at_once_when_somebody_is_refused(before: str | None) -> None:
    mesh = Mesh()
    await mesh.fill(*([peer_authentication("shop", before)] if before else []))
    async with running(mesh.plane.run), running(mesh.guard.run):
        mesh.connect()
        await mesh.switch()
        mesh.refuse()
        await asyncio.sleep(AT_ONCE)
        assert await mesh.mode() == (before or "")

    [(reason, note)] = mesh.events
    assert reason == "StrictReverted"
    assert "pod/plain.street was refused by pod/web.shop on 8080" in note
    if before:
        assert note in (await mesh.notes())[REVERTED]


async def test_a_refusal_that_the_policy_did_not_cause_reverts_nothing() -> None:
    strict = peer_authentication(
        "shop",
        "PERMISSIVE",
        name="web",
        selector={"matchLabels": {"app": "web"}},
        portLevelMtls={"9000": {"mode": "STRICT"}},
    )
    mesh = Mesh()
    await mesh.fill(PERMISSIVE, strict)
    async with running(mesh.plane.run), running(mesh.guard.run):
        mesh.connect()
        await mesh.switch()
        mesh.refuse(port=9000)  # it was STRICT before
        mesh.refuse(port=8080)  # it is not STRICT now
        await asyncio.sleep(AT_ONCE)

        assert await mesh.mode() == "STRICT"
        assert mesh.events == []


async def test_a_stranger_can_be_left_out_of_account() -> None:
    mesh = Mesh()
    await mesh.fill(PERMISSIVE)
    async with running(mesh.plane.run), running(mesh.guard.run):
        mesh.connect()
        await mesh.switch(known_only=True)
        mesh.refuse(served_before=False)
        await asyncio.sleep(AT_ONCE)
        assert await mesh.mode() == "STRICT"
        mesh.refuse(served_before=True)
        await asyncio.sleep(AT_ONCE)
        assert await mesh.mode() == "PERMISSIVE"


async def test_it_is_put_back_when_a_proxy_refuses_it() -> None:
    mesh = Mesh()
    await mesh.fill(PERMISSIVE)
    async with running(mesh.plane.run), running(mesh.guard.run):
        proxy = mesh.connect()
        proxy.refuses.add("virtualInbound")
        await mesh.switch()
        await asyncio.sleep(AT_ONCE)

    assert await mesh.mode() == "PERMISSIVE"
    assert "refused virtualInbound" in mesh.events[0][1]


async def test_it_is_put_back_when_it_does_not_come_into_force() -> None:
    mesh = Mesh()
    await mesh.fill(PERMISSIVE)
    async with running(mesh.plane.run), running(mesh.guard.run):
        proxy = mesh.connect()
        proxy.answers = False
        await mesh.switch()
        await asyncio.sleep(PATIENCE - 1)
        assert await mesh.mode() == "STRICT"
        await asyncio.sleep(2)

    assert await mesh.mode() == "PERMISSIVE"
    assert "not in force within 60 s" in mesh.events[0][1]


async def test_what_a_person_changes_meanwhile_is_theirs() -> None:
    mesh = Mesh()
    await mesh.fill(PERMISSIVE)
    async with running(mesh.plane.run), running(mesh.guard.run):
        mesh.connect()
        await mesh.switch()
        policy = await mesh.policy()
        await mesh.store.update(
            PEER_AUTHENTICATIONS, {**policy, "spec": {"mtls": {"mode": "DISABLE"}}}
        )
        mesh.refuse()
        await asyncio.sleep(AT_ONCE)

    assert await mesh.mode() == "DISABLE"
    assert [reason for reason, _ in mesh.events] == ["StrictAbandoned"]


async def test_a_deleted_policy_is_left_alone() -> None:
    mesh = Mesh()
    await mesh.fill(PERMISSIVE)
    async with running(mesh.plane.run), running(mesh.guard.run):
        mesh.connect()
        await mesh.switch()
        await mesh.store.delete(PEER_AUTHENTICATIONS, "shop", "default")
        await asyncio.sleep(2 * WATCH)

    assert await mesh.mode() == ""
    assert mesh.events == []


async def test_after_a_restart_the_watch_begins_anew() -> None:
    mesh = Mesh()
    await mesh.fill(PERMISSIVE)
    async with running(mesh.plane.run):
        mesh.connect()
        async with running(mesh.guard.run):
            await mesh.switch()
            await asyncio.sleep(WATCH - 1)
        mesh.guard = mesh.new_guard()
        async with running(mesh.guard.run):
            await asyncio.sleep(WATCH - 1)
            assert probation_of(await mesh.policy()) is not None
            mesh.refuse()
            await asyncio.sleep(AT_ONCE)

    assert await mesh.mode() == "PERMISSIVE"
