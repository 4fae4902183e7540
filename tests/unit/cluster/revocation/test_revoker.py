"""What is revoked stays revoked, whatever the clock does."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from mutua.agent.workload import Workload
from mutua.api.object import PODS, REVOCATIONS
from mutua.api.revocation import NAMESPACE, Revocation
from mutua.cluster.revocation.register import Leaf, Register
from mutua.cluster.revocation.revoker import KEPT, Revoker
from mutua.foundation.spiffe import SpiffeId
from mutua.identity.journal import Issuance
from mutua.identity.renewal import Validity
from mutua.runtime.network.capture import INBOUND_PORT
from mutua.runtime.network.connections import Connection, Meant
from mutua.store.memory import MemoryStore
from mutua.testing.clock import START, ManualClock
from mutua.testing.mesh import pod
from mutua.xds.sighting import Sighting, Speaks

BAD = SpiffeId("cluster.local", "shop", "bad")
ADDRESS = "10.244.0.2"
SERVER = "10.244.0.3"
REFUSED = Sighting(ADDRESS, 40000, 80, Speaks.TCP, refused=True)
HOUR = timedelta(hours=1)


class Surroundings:
    """One pod, that is told what to refuse and has no connections."""

    def __init__(self) -> None:
        self.uid = ""
        self.has_proxy = True
        self.ended: set[tuple[str, bool]] = set()  # where, and whether the pod's are meant
        self.refused: frozenset[int] = frozenset()

    def revoke(self, serials: Collection[int]) -> None:
        self.refused = frozenset(serials)

    def workloads(self) -> list[Workload]:
        return [Workload(uid=self.uid, identity=BAD)] if self.has_proxy else []

    def lagging(self) -> list[str]:
        return []

    def rename(self, uid: str, identity: SpiffeId) -> None:
        pass

    def renew(self, uid: str) -> None:
        pass

    async def connections(self, uid: str) -> list[Connection]:
        return []

    async def end_connections(self, uid: str, is_meant: Meant) -> int:
        if uid != self.uid:
            incoming = Connection(False, INBOUND_PORT, ADDRESS, 40000, 1, b"")
            self.ended.add(("server", is_meant(incoming)))
        return 0


@asynccontextmanager
async def revoking(
    clock: ManualClock,
    around: Surroundings,
    subject: str,
    issued: Callable[[Revocation], Iterable[Issuance]] = lambda _: (),
) -> AsyncIterator[Revoker]:
    """Have a pod revoked, or its identity, or its certificate 7, which lives for an hour."""
    store, register = MemoryStore(clock), Register()
    made = await store.create(PODS, pod("shop", "bad", ADDRESS, meshed=around.has_proxy))
    await store.create(PODS, pod("shop", "server", SERVER))
    done = pod("shop", "done", SERVER)  # it had this address before
    await store.create(PODS, {**done, "status": {**done["status"], "phase": "Succeeded"}})
    around.uid = made["metadata"]["uid"]
    register.note(Leaf(around.uid, BAD, 7, Validity(not_before=START, not_after=START + HOUR)))
    subjects: dict[str, Any] = {
        "pod": {"namespace": "shop", "name": "bad", "uid": around.uid},
        "spiffeID": str(BAD),
        "serialNumber": "7",
    }
    await store.create(
        REVOCATIONS,
        {
            "apiVersion": "mutua.io/v1alpha1",
            "kind": "Revocation",
            "metadata": {"namespace": NAMESPACE, "name": "r"},
            "spec": {subject: subjects[subject]},
        },
    )
    revoker = Revoker(
        store,
        clock,
        register=register,
        trust=around,
        holders=around,
        network=around,
        issued=issued,
    )
    running = asyncio.create_task(revoker.run(lambda: None))
    await asyncio.sleep(10)
    yield revoker
    running.cancel()


@pytest.mark.parametrize("subject", ["pod", "spiffeID", "serialNumber"])
async def test_a_clock_that_was_ahead_does_not_undo_it(subject: str) -> None:
    clock, around = ManualClock(), Surroundings()

    async with revoking(clock, around, subject) as revoker:
        before = around.refused
        clock.advance(KEPT)
        revoker.hear(REFUSED)  # so that the object is written
        await asyncio.sleep(10)
        clock.advance(-KEPT)
        await asyncio.sleep(10)

    assert (before, around.refused) == ({7}, {7})


async def test_what_a_pod_without_a_proxy_got_itself_is_listed_and_its_connections_end() -> None:
    clock, around = ManualClock(), Surroundings()
    fetched = Issuance(
        at=START,
        identity=BAD,
        authenticated="service account token",
        serial_number=f"{0x2A:032x}",
        not_before=START,
        not_after=START + HOUR,
        template="workload",
        signer="",
    )

    def issued(what: Revocation) -> list[Issuance]:
        return [replace(fetched, pod=what.pod)]

    around.has_proxy = False
    async with revoking(clock, around, "pod", issued) as revoker:
        assert around.refused == {7, 0x2A}
        assert [*revoker.addresses().values()] == [SERVER]
        assert around.ended == {("server", True)}

        revoker.hear(REFUSED)
        await asyncio.sleep(5)
        (kick,) = (await revoker._store.list(REVOCATIONS)).items
        assert kick["status"]["refused"] == 1


async def test_what_ended_long_ago_is_listed_no_more() -> None:
    clock, around = ManualClock(), Surroundings()

    async with revoking(clock, around, "pod"):
        clock.advance(KEPT + HOUR)
        await asyncio.sleep(10)

    assert around.refused == frozenset()
