"""Write what is true of each PeerAuthentication and DestinationRule into its status.

Woken by every push and every ACK, it writes only what differs from what is stored, and takes a
pause between rounds: a roll-out that moves a thousand proxies costs a few writes, not a thousand.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from mutua.api.object import Key, Object
from mutua.controlplane.enforcement import Condition
from mutua.controlplane.port_conflicts import PortConflicts
from mutua.controlplane.receipts import Receipts
from mutua.controlplane.remarks import Remarks
from mutua.controlplane.status_view import StatusView
from mutua.foundation.clock import Clock, rfc3339
from mutua.foundation.errors import Conflict, Unavailable
from mutua.model.snapshot import MeshSnapshot
from mutua.store.port import NotFound, ObjectStore

SETTLE: Final = 0.01
"""Seconds between a cause and the round it starts: a push is usually confirmed within 3 ms, so
that one write says "in force" instead of two saying "pending" and "in force"."""

PAUSE: Final = 0.1
"""Seconds between two rounds, at least."""

SHARE: Final = 0.1
"""Part of the time that rounds may take: in a large mesh they must not hold up what they report."""

log = logging.getLogger(__name__)


class Mesh(Protocol):
    """What the writer asks the control plane."""

    @property
    def snapshot(self) -> MeshSnapshot | None:
        """The last pushed state."""
        ...

    @property
    def policies(self) -> Mapping[Key, Object]:
        """Every PeerAuthentication and DestinationRule as stored."""
        ...

    @property
    def knows_proxies(self) -> bool:
        """Whether every proxy there is has been added: else what it has not would not count."""
        ...

    @property
    def receipts(self) -> Receipts:
        """What proxies have made of them."""
        ...

    @property
    def conflicts(self) -> PortConflicts:
        """Services that do not fit together."""
        ...

    @property
    def remarks(self) -> Remarks:
        """What of them has no effect."""
        ...


class StatusWriter:
    """Keeps the status of every PeerAuthentication and DestinationRule true."""

    def __init__(self, store: ObjectStore, mesh: Mesh, clock: Clock) -> None:
        """Prepare; nothing happens before `run`."""
        self._store = store
        self._mesh = mesh
        self._clock = clock
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Note that something may have changed."""
        self._woken.set()

    async def run(self) -> None:
        """Write until cancelled."""
        time = asyncio.get_running_loop().time
        while True:
            await self._woken.wait()
            await asyncio.sleep(SETTLE)
            self._woken.clear()
            began = time()
            await self._round()
            await asyncio.sleep(max(PAUSE, (time() - began) / SHARE))

    async def _round(self) -> None:
        snapshot = self._mesh.snapshot
        if snapshot is None or not self._mesh.knows_proxies:
            return
        self._mesh.conflicts.examine(snapshot)
        view = StatusView(snapshot, self._mesh.receipts, self._mesh.remarks)
        for key, policy in self._mesh.policies.items():
            if self._mesh.receipts.has(key, policy):  # else the next push will wake us
                await self._write(key, policy, view.conditions(key, policy))

    async def _write(self, key: Key, policy: Object, found: Sequence[Condition]) -> None:
        status = _status(policy, found, rfc3339(self._clock.now()))
        if status == policy.get("status"):
            return
        try:
            await self._store.update_status(key.resource, {**policy, "status": status})
            _log_changes(key, policy.get("status") or {}, status)
        except (Conflict, NotFound):
            # Somebody changed or deleted it: its event starts another round.
            self._woken.set()
        except Unavailable as error:
            log.warning("status not written", extra={"reason": str(error)})
            self._woken.set()


def _log_changes(key: Key, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """Log what of a policy has no effect, and why it is not used, whenever that changes."""
    what, old, new = f"{key.resource} {key.namespace}/{key.name}", _faults(before), _faults(after)
    for kind in sorted(old.keys() | new.keys()):
        if kind not in new:
            log.info("policy is whole again", extra={"object": what, "reason": old[kind]})
        elif new[kind] != old.get(kind):
            log.warning("policy without effect", extra={"object": what, "reason": new[kind]})


def _faults(status: Mapping[str, Any]) -> dict[str, str]:
    """Return what conditions say that is not as the author wants it, by type."""
    wanted = {"Accepted": "True", "Matched": "True", "Ignored": "False"}
    return {
        one["type"]: one["message"]
        for one in status.get("conditions") or []
        if one["status"] != wanted.get(one["type"], one["status"])
    }


def _status(policy: Object, found: Sequence[Condition], now: str) -> dict[str, Any]:
    """Return the status with these conditions; times change only when a condition flips."""
    old = policy.get("status") or {}
    generation = policy["metadata"].get("generation", 0)
    before = {one.get("type"): one for one in old.get("conditions") or []}
    written = []
    for one in found:
        status = "True" if one.holds else "False"
        known = before.pop(one.type, {})
        flipped = known.get("status") != status
        written.append({
            "type": one.type,
            "status": status,
            "reason": one.reason.value,
            "message": one.message,
            "observedGeneration": generation,
            "lastTransitionTime": now if flipped else known.get("lastTransitionTime", now),
        })  # fmt: skip
    return {**old, "observedGeneration": generation, "conditions": [*written, *before.values()]}
