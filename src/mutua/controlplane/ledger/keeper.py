"""Keeps the ledger: hears what proxies report, finds out who it was and why, writes it down.

    proxy ── access log ──> Keeper.witness(pod) ──> Ledger ──> PlaintextCaller objects
                                    │
                                    └── refusals ──> whoever asked (`on_refusal`)

New callers and first refusals are written at once, numbers every few seconds.  What was seen
survives a restart, because it is objects; since when somebody has been watching, and when nobody
was, is in the ConfigMap `NAME` next to the mesh's other settings.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import AddressValueError, IPv4Address
from typing import Final

from mutua.api.object import NAMESPACES, PLAINTEXT_CALLERS, PODS, Object
from mutua.controlplane.ledger import cause as why
from mutua.controlplane.ledger.cause import Call, Reason, World
from mutua.controlplane.ledger.ledger import MOST_PODS, Entry, Key, Ledger
from mutua.controlplane.ledger.party import ADDRESS, AddressBook, Party, owner_of
from mutua.controlplane.ledger.record import from_object, object_name, to_object
from mutua.controlplane.ledger.watch import Watch
from mutua.foundation.clock import Clock
from mutua.foundation.errors import Conflict, Denied, MutuaError, Rejected
from mutua.lifecycle.supervisor import Ready
from mutua.model.snapshot import MeshSnapshot
from mutua.store.mirror import Change, Mirror
from mutua.store.port import NotFound, ObjectStore
from mutua.xds.sighting import Sighting

REST: Final = 5.0
"""Seconds between two rounds in which changed numbers are written."""

BATCH: Final = 100
"""Entries written in one such round; each is a synchronous write of the store."""

MOST_ASKED: Final = 16
"""Programs waiting to be looked up; what comes on top is asked for by its next call."""

ATTEMPTS: Final = 5
"""Times a caller's program is looked up."""

Program = Callable[[str, str, int], Awaitable[str]]
"""(uid of the calling pod, "" for none; address; port) -> the program's name, "" for unknown."""

NEWS: Final = 20
"""New callers written at a time."""

BREATH: Final = 0.1
"""Seconds between two times: a flood of callers must not become a flood of writes."""

SETTLE: Final = timedelta(seconds=10)
"""How long after a change of the mesh a caller may still act by what was before: its proxy has
to get the change, and to leave connections it has."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Somebody was turned away.

    Attributes:
        server: Uid of the pod whose proxy refused.
        entry: What is known about the caller on that port.
        served_before: Whether the ledger has seen it served there.
    """

    server: str
    entry: Entry
    served_before: bool


class Keeper:
    """Keeps the ledger of one mesh.

    Attributes:
        on_refusal: Called for every refusal, while it is being recorded; must not raise.
    """

    def __init__(
        self,
        store: ObjectStore,
        clock: Clock,
        mesh: Callable[[], MeshSnapshot | None],
        *,
        namespace: str = "istio-system",
        program: Program | None = None,
    ) -> None:
        """Prepare; nothing is recorded before `run`.

        Args:
            store: Where entries are written.
            clock: When things were seen.
            mesh: The present state of the mesh.
            namespace: Where the ConfigMap is.
            program: Finds out which program called; None when nobody can.
        """
        self.on_refusal: Callable[[Refusal], None] = lambda _refusal: None
        self._store = store
        self._clock = clock
        self._mesh = mesh
        self._ledger = Ledger()
        self._book = AddressBook()
        self._pods: dict[str, Object] = {}
        self._mirrors = {
            kind: Mirror(store, kind) for kind in (PODS, NAMESPACES, PLAINTEXT_CALLERS)
        }
        self._watch = Watch(store, clock, namespace)
        self._woken = asyncio.Event()
        self._program = program
        self._unnamed: asyncio.Queue[tuple[Entry, str, int]] = asyncio.Queue(MOST_ASKED)
        self._asked: Counter[Key] = Counter()
        self._stored: set[Key] = set()
        self._judged: dict[Key, tuple[MeshSnapshot, str]] = {}
        self._seen_mesh: MeshSnapshot | None = None
        self._mesh_changed = clock.now()

    async def run(self, ready: Ready) -> None:
        """Keep it until cancelled; ready once what was written earlier is read."""
        self._mirrors[PODS].subscribe(self._follow_pod)
        async with asyncio.TaskGroup() as group:
            for mirror in self._mirrors.values():
                group.create_task(mirror.run(), name=f"mirror {mirror.resource}")
            for mirror in self._mirrors.values():
                await mirror.wait_synced()
            self._restore()
            self._mirrors[PLAINTEXT_CALLERS].subscribe(self._follow_entry)
            await self._watch.begin()
            try:
                group.create_task(self._write_news(), name="news")
                group.create_task(self._write_numbers(), name="numbers")
                group.create_task(self._name_programs(), name="programs")
                ready()
                await asyncio.Event().wait()
            finally:
                await self._write(self._ledger.take_changed(len(self._ledger)))
                await self._watch.note(self._ledger.displaced, ending=True)

    def witness(self, pod_uid: str) -> Callable[[Sighting], None]:
        """Return what a pod's proxy tells its sightings to."""
        return lambda sighting: self._hear(pod_uid, sighting)

    def _hear(self, server_uid: str, sighting: Sighting) -> None:
        server = self._pods.get(server_uid)
        if server is None or not _is_a_caller(sighting):
            return
        pod = self._book.find(sighting.source)
        caller = Party(ADDRESS, "", sighting.source) if pod is None else owner_of(pod)
        key = Key(owner_of(server), sighting.port, caller)
        known = self._ledger.find(key)
        served_before = known is not None and known.last_seen is not None
        entry = self._ledger.note(key, sighting, self._clock.now())
        if pod is not None:
            self._name(entry, pod)
        if not sighting.ongoing:
            self._judge(entry, pod, server_uid, sighting)
        self._ask_for_program(entry, pod, sighting)
        if sighting.refused:
            self.on_refusal(Refusal(server_uid, entry, served_before))
        self._woken.set()

    def _name(self, entry: Entry, pod: Object) -> None:
        uid = pod["metadata"]["uid"]
        if entry.pods[:1] != (uid,):
            others = tuple(one for one in entry.pods if one != uid)
            entry.pods = (uid, *others)[:MOST_PODS]
            entry.account = pod["spec"].get("serviceAccountName") or "default"

    def _ask_for_program(self, entry: Entry, pod: Object | None, sighting: Sighting) -> None:
        """Have the program looked up, a few times: its connection has to be open still."""
        if entry.process or self._program is None or self._unnamed.full():
            return
        if sighting.refused or self._asked[entry.key] >= ATTEMPTS:
            return
        self._asked[entry.key] += 1
        uid = "" if pod is None else pod["metadata"]["uid"]
        self._unnamed.put_nowait((entry, uid, sighting.source_port))

    async def _name_programs(self) -> None:
        while True:
            entry, uid, port = await self._unnamed.get()
            assert self._program is not None  # noqa: S101 - or nothing is in the queue
            if found := await self._program(uid, entry.address, port):
                entry.process = found
                self._ledger.touch(entry)
                self._woken.set()

    def _judge(self, entry: Entry, pod: Object | None, server: str, sighting: Sighting) -> None:
        """Find out why, unless nothing is new since the last time."""
        mesh = self._mesh()
        if mesh is None:
            return
        if mesh is not self._seen_mesh:
            self._seen_mesh, self._mesh_changed = mesh, self._clock.now()
        if self._judged.get(entry.key) == (mesh, sighting.host):
            return
        world = World(mesh=mesh, pods=self._pods, namespaces=self._namespaces())
        call = Call(servers=(server,), port=sighting.port, host=sighting.host)
        found = why.cause(world, pod, call)
        if self._is_late(entry, found.reason):
            return
        self._judged[entry.key] = (mesh, sighting.host)
        if found != entry.finding:
            entry.finding = found
            self._ledger.touch(entry)

    def _is_late(self, entry: Entry, found: Reason) -> bool:
        """Tell whether a caller may still act by what was true a moment ago."""
        before = entry.finding
        if before is None or before.reason is found or found is not Reason.POD_ADDRESS:
            return False
        since = self._clock.now() - self._mesh_changed
        return timedelta() <= since < SETTLE  # less than nothing: the clock was set back

    def _namespaces(self) -> dict[str, Object]:
        return {one["metadata"]["name"]: one for one in self._mirrors[NAMESPACES].list()}

    def _follow_pod(self, change: Change) -> None:
        pod = change.object
        if change.after is None:
            self._pods.pop(pod["metadata"]["uid"], None)
            self._book.leave(pod)
        else:
            self._pods[pod["metadata"]["uid"]] = pod
            self._book.put(pod)

    def _follow_entry(self, change: Change) -> None:
        """Forget what somebody deleted."""
        if change.after is None:
            try:
                key = from_object(change.object).key
            except ValueError:
                return
            self._drop(key)

    def _drop(self, key: Key) -> None:
        self._ledger.forget(key)
        self._judged.pop(key, None)
        self._asked.pop(key, None)
        self._stored.discard(key)

    def _restore(self) -> None:
        found = []
        for obj in self._mirrors[PLAINTEXT_CALLERS].list():
            try:
                found.append(from_object(obj))
            except ValueError as error:
                log.warning("entry of the ledger not read", extra={"reason": str(error)})
        self._ledger.restore(found)
        self._stored.update(entry.key for entry in found)

    async def _write_news(self) -> None:
        while True:
            await self._woken.wait()
            self._woken.clear()
            while entries := self._ledger.take_urgent(NEWS):
                await self._write(entries)
                await asyncio.sleep(BREATH)

    async def _write_numbers(self) -> None:
        while True:
            await asyncio.sleep(REST)
            await self._write(self._ledger.take_changed(BATCH))
            await self._watch.note(self._ledger.displaced)

    async def _write(self, entries: list[Entry]) -> None:
        for entry in entries:
            await self._write_one(entry.key, to_object(entry))
        for key in self._ledger.take_displaced():
            self._drop(key)
            try:
                await self._store.delete(PLAINTEXT_CALLERS, key.server.namespace, object_name(key))
            except MutuaError as error:
                log.debug("entry not deleted", extra={"reason": str(error)})

    async def _write_one(self, key: Key, obj: Object) -> None:
        metadata = obj["metadata"]
        try:
            if key in self._stored:
                await self._store.update_status(PLAINTEXT_CALLERS, obj)
            else:
                await self._store.create(PLAINTEXT_CALLERS, obj)
                self._stored.add(key)
        except NotFound:
            self._drop(key)  # deleted: its event is on the way
        except (Conflict, Denied, Rejected) as error:
            # Its namespace is going: the next change tries again.
            log.debug("entry not written", extra={"entry": metadata["name"], "reason": str(error)})
        except MutuaError as error:
            log.warning("entry not written", extra={"reason": str(error)})


def _is_a_caller(sighting: Sighting) -> bool:
    """Tell whether somebody else called: not the pod's own programs, not its probes."""
    try:
        return bool(sighting.port) and not IPv4Address(sighting.source).is_loopback
    except AddressValueError:
        return False  # pods have no other addresses, so a proxy made this up
