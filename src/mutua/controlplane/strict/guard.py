"""Watches policies on probation, and reverts one by itself when somebody fails because of it.

    written with GUARD ─► in force everywhere ─► `watch` seconds without a refusal ─► passed
            │                     │
            │                     └─ a caller is refused that the policy before let in ─► reverted
            ├─ a proxy refuses it, or it is not in force within PATIENCE ──────────────► reverted
            └─ somebody changes it by hand ──────────────────────────► none of our business any more

It works in the control plane, so the command that wrote the policy may be killed at any time.
After a restart of the control plane the watch begins anew.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from mutua.api.object import PEER_AUTHENTICATIONS, Object
from mutua.api.security import (
    MutualTlsMode,
    PeerAuthentication,
    parse_peer_authentication,
)
from mutua.controlplane.ledger.keeper import Refusal
from mutua.controlplane.strict.change import (
    Probation,
    is_as_written,
    passed,
    probation_of,
    reverted,
)
from mutua.foundation.clock import Clock, rfc3339
from mutua.foundation.errors import Conflict, MutuaError, Rejected
from mutua.lifecycle.supervisor import Ready
from mutua.model.snapshot import MeshSnapshot
from mutua.policy.peer_authentication import Subject, effective_mode
from mutua.store.mirror import Address, Change, Mirror, address
from mutua.store.port import NotFound, ObjectStore

PATIENCE: Final = 60.0
"""Seconds until a policy on probation has to be in force on every proxy."""

RETRY: Final = 0.2
"""Seconds until a write that failed is tried again."""

log = logging.getLogger(__name__)

Severity = Literal["Normal", "Warning"]

Record = Callable[[Object, Severity, str, str], None]
"""(object, severity, reason, message): notes an event."""


@dataclass(slots=True)
class _Watched:
    """One policy on probation; times are the event loop's.

    Attributes:
        policy: As stored.
        probation: What its annotation says.
        began: When it was first seen.
        in_force: When it was first seen to be in force everywhere; None before.
        failure: Why it has to be reverted, "" when it has not.
        failed: When that became known.
    """

    policy: Object
    probation: Probation
    began: float
    in_force: float | None = None
    failure: str = ""
    failed: float = 0.0

    def fail(self, why: str, now: float) -> None:
        """Note why it has to be reverted; the first reason counts."""
        if not self.failure:
            self.failure, self.failed = why, now

    def deadline(self) -> float:
        """Return when something has to be done about it, if nothing else happens."""
        if self.failure:
            return self.failed
        if self.in_force is None:
            return self.began + PATIENCE
        return self.in_force + self.probation.watch


class Guard:
    """Watches all policies on probation of one mesh."""

    def __init__(
        self,
        store: ObjectStore,
        clock: Clock,
        mesh: Callable[[], MeshSnapshot | None],
        record: Record,
    ) -> None:
        """Prepare; nothing happens before `run`.

        Args:
            store: Where policies are.
            clock: For notes.
            mesh: The present state of the mesh.
            record: Notes what was done.
        """
        self._store = store
        self._clock = clock
        self._mesh = mesh
        self._record = record
        self._mirror = Mirror(store, PEER_AUTHENTICATIONS)
        self._watched: dict[Address, _Watched] = {}
        self._woken = asyncio.Event()

    async def run(self, ready: Ready) -> None:
        """Watch until cancelled."""
        self._mirror.subscribe(self._follow)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._mirror.run(), name="mirror of policies")
            await self._mirror.wait_synced()
            ready()
            while True:
                await self._wait()
                for key, watched in list(self._watched.items()):
                    await self._act(key, watched)

    def refused(self, refusal: Refusal) -> None:
        """Note that a proxy turned somebody away; see `Keeper.on_refusal`."""
        mesh = self._mesh()
        if mesh is None:
            return
        for watched in self._watched.values():
            if watched.failure or (watched.probation.known_only and not refusal.served_before):
                continue
            if _is_to_blame(watched, mesh, refusal):
                watched.fail(_told(refusal), asyncio.get_running_loop().time())
                self._woken.set()

    def _follow(self, change: Change) -> None:
        key = address(change.object)
        probation = probation_of(change.after) if change.after is not None else None
        if change.after is None or probation is None:
            self._watched.pop(key, None)
            return
        now = asyncio.get_running_loop().time()
        known = self._watched.get(key)
        if known is None or known.probation != probation:
            known = self._watched[key] = _Watched(change.after, probation, now)
        known.policy = change.after
        state, message = _in_force(change.after)
        if state == "True" and known.in_force is None:
            known.in_force = now
        elif state == "RejectedByProxy":
            known.fail(message, now)
        self._woken.set()

    async def _wait(self) -> None:
        """Return when something happened, or is due."""
        due = min((one.deadline() for one in self._watched.values()), default=None)
        timeout = None if due is None else max(0.0, due - asyncio.get_running_loop().time())
        try:
            async with asyncio.timeout(timeout):
                await self._woken.wait()
        except TimeoutError:
            pass
        self._woken.clear()

    async def _act(self, key: Address, watched: _Watched) -> None:
        now = asyncio.get_running_loop().time()
        policy, probation = watched.policy, watched.probation
        if not is_as_written(policy, probation):
            note = "changed by hand while it was on probation"
            await self._settle(key, watched, passed(policy, note), "StrictAbandoned", note)
            return
        if watched.in_force is None and now >= watched.began + PATIENCE:
            watched.fail(f"not in force within {PATIENCE:g} s: {_in_force(policy)[1]}", now)
        if watched.failure:
            restored = reverted(policy, probation, self._noted(watched.failure))
            await self._settle(key, watched, restored, "StrictReverted", watched.failure)
        elif watched.in_force is not None and now >= watched.in_force + probation.watch:
            note = f"nobody was refused for {probation.watch:g} s"
            await self._settle(key, watched, passed(policy, self._noted(note)), "StrictHeld", note)

    async def _settle(
        self, key: Address, watched: _Watched, result: Object | None, reason: str, note: str
    ) -> None:
        """Write how a probation ended; None deletes the policy."""
        metadata = watched.policy["metadata"]
        try:
            if result is None:
                await self._store.delete(PEER_AUTHENTICATIONS, *key, uid=metadata["uid"])
            else:
                await self._store.update(PEER_AUTHENTICATIONS, result)
        except NotFound:
            self._watched.pop(key, None)
            return
        except Conflict:
            await self._reread(key, watched)
            return
        except MutuaError as error:
            log.warning("policy not settled, trying again", extra={"reason": str(error)})
            await asyncio.sleep(RETRY)
            self._woken.set()
            return
        self._watched.pop(key, None)
        severity: Severity = "Warning" if reason == "StrictReverted" else "Normal"
        self._record(watched.policy, severity, reason, note)

    async def _reread(self, key: Address, watched: _Watched) -> None:
        """Take over what somebody else wrote meanwhile: their status, or their change."""
        try:
            watched.policy = await self._store.get(PEER_AUTHENTICATIONS, *key)
        except MutuaError:
            self._watched.pop(key, None)
        self._woken.set()

    def _noted(self, note: str) -> str:
        return f"{rfc3339(self._clock.now())}: {note}"


def _in_force(policy: Object) -> tuple[str, str]:
    """Return "True" or the reason why not, and the message; only of the policy's present state."""
    metadata = policy["metadata"]
    for condition in (policy.get("status") or {}).get("conditions") or ():
        if condition.get("type") != "InForce":
            continue
        if condition.get("observedGeneration") != metadata.get("generation"):
            break
        is_true = condition.get("status") == "True"
        return "True" if is_true else condition.get("reason", ""), condition.get("message", "")
    return "", "no status yet"


def _is_to_blame(watched: _Watched, mesh: MeshSnapshot, refusal: Refusal) -> bool:
    """Tell whether the port where somebody was refused is STRICT because of this policy."""
    server = mesh.workloads.get(refusal.server)
    if server is None:
        return False
    subject = Subject(namespace=server.namespace, labels=server.labels, port=refusal.entry.key.port)
    root = mesh.settings.root_namespace
    try:
        now = parse_peer_authentication(watched.policy)
    except Rejected:
        return False
    others = [
        one
        for one in mesh.peer_authentications
        if (one.namespace, one.name) != (now.namespace, now.name)
    ]
    before = [*others, *_before(watched)]
    after = effective_mode([*others, now], subject, root_namespace=root).mode
    return (
        after is MutualTlsMode.STRICT
        and effective_mode(before, subject, root_namespace=root).mode is not MutualTlsMode.STRICT
    )


def _before(watched: _Watched) -> list[PeerAuthentication]:
    spec = watched.probation.before
    if spec is None:
        return []
    try:
        return [parse_peer_authentication({**watched.policy, "spec": dict(spec)})]
    except Rejected:
        return []


def _told(refusal: Refusal) -> str:
    """Say who was refused where, and why."""
    key, finding = refusal.entry.key, refusal.entry.finding
    because = f" ({finding.message})" if finding else ""
    seen = "" if refusal.served_before else ", not seen there before,"
    return f"{key.caller.short}{seen} was refused by {key.server.short} on {key.port}{because}"
