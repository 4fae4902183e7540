"""Puts Revocation objects into force, and keeps them there.

    Revocation ─► nobody certifies it any more                      at once (`Register`)
               ─► its certificates on the CA's revocation list      every proxy confirms
               ─► its live connections closed                       and once more, for handshakes
                                                                    that were under way
               ─► status: how many proxies, how many connections

In this order: a connection that is closed comes back at once, and has to be refused then.  The
truth is the object: what it was found to concern is in its status, so a daemon that starts anew
refuses from the first moment, and goes on where the last one stopped.  Deleting it takes it back:
the certificates leave the list, and who has none asks again.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from datetime import datetime, timedelta
from itertools import chain
from typing import Any, Final, Protocol

from mutua.agent.workload import Workload
from mutua.api.condition import carried_over, find_condition, is_true
from mutua.api.object import PODS, REVOCATIONS, Object
from mutua.api.revocation import NAMESPACE, Revocation, parse_revocation, serial_text
from mutua.api.verdict import Invalid
from mutua.cluster.revocation.closing import Connections, close_connections
from mutua.cluster.revocation.register import Register
from mutua.controlplane.ledger.party import has_ended, has_sidecar
from mutua.foundation.clock import Clock, rfc3339
from mutua.foundation.errors import MutuaError
from mutua.foundation.spiffe import SpiffeId
from mutua.identity.journal import Issuance
from mutua.lifecycle.supervisor import Ready
from mutua.store.mirror import Change, Mirror
from mutua.store.port import ObjectStore
from mutua.xds.sighting import Sighting

TICK: Final = 1.0
"""Seconds between two looks at what is revoked when nothing seems to happen."""

CONFIRMATION: Final = 3.0
"""Seconds that proxies get to confirm a list before connections are closed all the same."""

LOOK: Final = 0.01
"""Seconds between two looks at who has confirmed."""

SETTLE: Final = 0.1
"""Seconds from a proxy's confirmation until its workers follow it; see `rollout.SETTLE`."""

AFTERWARDS: Final = 1.0
"""Seconds after which connections are closed once more: handshakes that were under way."""

KEPT: Final = timedelta(days=1)
"""How long after its end a certificate stays revoked: the clock may have been ahead and be set
right again, and then it has not ended."""

IN_FORCE: Final = "InForce"

MOST_CERTIFICATES: Final = 256
"""Serial numbers in one object's status."""

log = logging.getLogger(__name__)


class Trust(Protocol):
    """What proxies trust, as far as it can be revoked."""

    def revoke(self, serials: Collection[int]) -> None:
        """Have every proxy refuse these certificates, and no others."""
        ...


class Holders(Protocol):
    """The part of the agent that this needs."""

    def workloads(self) -> list[Workload]:
        """Return who holds, or shall hold, a certificate."""
        ...

    def lagging(self) -> list[str]:
        """Return the uids of pods whose proxy has not confirmed what it should trust."""
        ...

    def rename(self, uid: str, identity: SpiffeId) -> None:
        """Ask again at once for a workload that was refused."""
        ...

    def renew(self, uid: str) -> None:
        """Have a workload certified anew."""
        ...


class Revoker:
    """Revocations of one mesh."""

    def __init__(
        self,
        store: ObjectStore,
        clock: Clock,
        *,
        register: Register,
        trust: Trust,
        holders: Holders,
        network: Connections,
        issued: Callable[[Revocation], Iterable[Issuance]] = lambda _revocation: (),
    ) -> None:
        """Prepare; nobody gets a certificate before `run` knows what is revoked.

        Args:
            store: Where revocations are.
            clock: Wall time.
            register: Who is refused, and what local pods hold.
            trust: What proxies trust.
            holders: Who holds certificates.
            network: Where connections are.
            issued: Returns all unexpired certificates that a revocation is about, whoever asked
                for them.
        """
        self._store = store
        self._clock = clock
        self._register = register
        self._trust = trust
        self._holders = holders
        self._network = network
        self._issued = issued
        self._mirror = Mirror(store, REVOCATIONS, NAMESPACE)
        self._pods = Mirror(store, PODS)
        self._woken = asyncio.Event()
        self._current: dict[str, Revocation] = {}
        self._enforcing: dict[str, asyncio.Task[None]] = {}
        self._refused: Counter[str] = Counter()
        self._unwritten: set[str] = set()

    async def run(self, ready: Ready) -> None:
        """Serve until cancelled; ready once what is revoked is refused."""
        async with asyncio.TaskGroup() as group:
            for mirror in (self._mirror, self._pods):
                group.create_task(mirror.run(), name=f"mirror {mirror.resource}")
                await mirror.wait_synced()
            self._mirror.subscribe(self._note)
            self._revise()
            ready()
            while True:
                self._woken.clear()
                self._revise()
                self._enforce(group)
                await self._write_refusals()
                try:
                    async with asyncio.timeout(TICK):
                        await self._woken.wait()
                except TimeoutError:
                    continue

    def hear(self, sighting: Sighting) -> None:
        """Count a refusal if it concerns somebody revoked."""
        if not sighting.refused or not self._current:
            return
        concerned = {one.uid: self._concerned(one) for one in self._current.values()}
        addresses = self.addresses(chain.from_iterable(concerned.values()))
        for revocation, uids in concerned.items():
            if any(addresses.get(uid) == sighting.source for uid in uids):
                self._refused[revocation] += 1
                self._unwritten.add(revocation)

    def _note(self, _change: Change) -> None:
        self._woken.set()

    def _revise(self) -> None:
        """Refuse what is revoked now, and let everybody know."""
        before, now = self._current, self._clock.now()
        found = (_parsed(obj) for obj in self._mirror.list(NAMESPACE))
        self._current = {one.uid: one for one in found if one is not None}
        self._register.forget(now - KEPT)
        self._register.revise(self._current.values())
        self._list(now)
        if before.keys() - self._current.keys():
            self._readmit()

    def _list(self, now: datetime) -> None:
        serials = {
            serial for one in self._current.values() for serial in self._certificates(one, now)
        }
        try:
            self._trust.revoke(serials)
        except (MutuaError, ValueError) as error:
            log.error("revocation list not signed", extra={"reason": str(error)})  # noqa: TRY400

    def _certificates(self, one: Revocation, now: datetime) -> dict[int, datetime]:
        """Return the certificates that a revocation is about, without those that ended long ago."""
        known = dict(one.certificates)
        known.update((leaf.serial, leaf.not_after) for leaf in self._register.concerned(one))
        known.update((int(each.serial_number, 16), each.not_after) for each in self._issued(one))
        found = {serial: end for serial, end in known.items() if end > now - KEPT}
        if one.serial and one.serial not in known:
            found[one.serial] = now + timedelta(days=1)  # not ours, or older than this daemon
        return found

    def _readmit(self) -> None:
        """Have everybody ask again who was refused and is not any longer."""
        for workload in self._holders.workloads():
            self._holders.rename(workload.uid, workload.identity)

    def _enforce(self, group: asyncio.TaskGroup) -> None:
        for uid in self._enforcing.keys() - self._current.keys():
            self._enforcing.pop(uid).cancel()
        for uid, one in self._current.items():
            obj = self._mirror.get(NAMESPACE, one.name)
            running = self._enforcing.get(uid)
            if obj is None or is_true(obj, IN_FORCE) or (running and not running.done()):
                continue
            self._enforcing[uid] = group.create_task(self._put_into_force(one), name=one.name)

    async def _put_into_force(self, one: Revocation) -> None:
        """Wait for the proxies, close connections, say so; the next tick goes on if some lack."""
        began = asyncio.get_running_loop().time()
        concerned = self._concerned(one)
        if one.serial:
            for uid in concerned:
                self._holders.renew(uid)
        await self._write(one, closed=0)  # first of all: whom it concerns, for whoever comes next
        lacking = await self._lacking()
        await asyncio.sleep(SETTLE)
        fault = await self._close(one, concerned, lacking)
        took = round(asyncio.get_running_loop().time() - began, 3)
        log.info("connections of the revoked closed", extra={"revocation": one.name, "took": took})
        await asyncio.sleep(AFTERWARDS)
        if not fault:
            await self._close(one, concerned, lacking)

    async def _lacking(self) -> list[str]:
        """Wait until every proxy has the lists; return those that do not."""
        deadline = asyncio.get_running_loop().time() + CONFIRMATION
        while True:
            lacking = self._holders.lagging()
            if not lacking or asyncio.get_running_loop().time() > deadline:
                return lacking
            await asyncio.sleep(LOOK)

    async def _close(
        self, one: Revocation, concerned: Collection[str], lacking: Collection[str]
    ) -> str:
        """Close connections and write what came of it; return why it is not in force."""
        closed, fault, proxies = 0, "", len(self._holders.workloads())
        try:
            closed = await close_connections(self._network, self.addresses(concerned), concerned)
        except MutuaError as error:
            fault = f"new connections are refused, open ones stay: {error}"
        if lacking:
            fault = fault or f"{proxies - len(lacking)} of {proxies} proxies have confirmed"
        message = fault or f"refused by {proxies} of {proxies} proxies"
        await self._write(one, closed, message, in_force=not fault)
        return fault

    def _concerned(self, one: Revocation) -> frozenset[str]:
        """Return the uids of the pods that a revocation is about."""
        owners = {leaf.pod for leaf in self._register.concerned(one)}
        owners.update(each.pod for each in self._issued(one) if each.pod)
        for workload in self._holders.workloads():
            if one.forbids(workload.identity, workload.uid):
                owners.add(workload.uid)
        return frozenset(owners)

    def addresses(self, others: Iterable[str] = ()) -> dict[str, str]:
        """Return the address of every pod with a proxy, by uid, and those of some others.

        A pod without a proxy has an identity too, if it asked for a certificate itself.  The
        pods' objects tell, because after a start the agent has yet to find its workloads.
        """
        uids = {*others, *(workload.uid for workload in self._holders.workloads())}
        return {
            pod["metadata"]["uid"]: pod["status"]["podIP"]
            for pod in self._pods.list()
            if (pod["metadata"]["uid"] in uids or has_sidecar(pod))
            and (pod.get("status") or {}).get("podIP")
            and not has_ended(pod)  # its address may be another's by now
        }

    async def _write_refusals(self) -> None:
        for uid in [*self._unwritten]:
            self._unwritten.discard(uid)
            if (one := self._current.get(uid)) is not None:
                await self._write(one, closed=0)

    async def _write(
        self, one: Revocation, closed: int, message: str = "", *, in_force: bool = False
    ) -> None:
        obj = self._mirror.get(NAMESPACE, one.name)
        if obj is None or obj["metadata"]["uid"] != one.uid:
            return
        status = self._status(one, obj, closed)
        if message:
            status["summary"] = message
            status["conditions"] = [self._condition(obj, message, in_force=in_force)]
        try:
            self._mirror.put(
                await self._store.update_status(REVOCATIONS, {**obj, "status": status})
            )
        except MutuaError as error:  # deleted, or changed: the next tick looks again
            log.debug("revocation's status not written", extra={"reason": str(error)})

    def _status(self, one: Revocation, obj: Object, closed: int) -> dict[str, Any]:
        before = obj.get("status") or {}
        now = self._clock.now()
        certificates = [*self._certificates(one, now).items()][:MOST_CERTIFICATES]
        refused = self._refused.pop(one.uid, 0)
        return {
            **before,
            "certificates": [
                {"serialNumber": serial_text(serial), "notAfter": rfc3339(end)}
                for serial, end in certificates
            ],
            "connectionsClosed": before.get("connectionsClosed", 0) + closed,
            "refused": before.get("refused", 0) + refused,
        }

    def _condition(self, obj: Object, message: str, *, in_force: bool) -> dict[str, Any]:
        new = {
            "type": IN_FORCE,
            "status": "True" if in_force else "False",
            "reason": "Refused" if in_force else "Incomplete",
            "message": message,
        }
        return carried_over(find_condition(obj, IN_FORCE), new, rfc3339(self._clock.now()))


def _parsed(obj: Object) -> Revocation | None:
    try:
        return parse_revocation(obj)
    except Invalid as error:  # somebody wrote past the API
        log.warning("revocation not read", extra={"reason": str(error)})
        return None
