"""Write what is true of each PeerAuthentication into its status.

Woken by every push and every ACK, it writes only what differs from what is stored, and takes a
pause between rounds: a roll-out that moves a thousand proxies costs a few writes, not a thousand.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from mutua.api.object import PEER_AUTHENTICATIONS, Object
from mutua.api.security import PeerAuthentication, parse_peer_authentication
from mutua.controlplane.enforcement import Condition, ProxyState, conditions, invalid
from mutua.controlplane.mesh_config import LiveSettings
from mutua.foundation.clock import Clock, rfc3339
from mutua.foundation.errors import Conflict, Rejected, Unavailable
from mutua.store.mirror import Address
from mutua.store.port import NotFound, ObjectStore

SETTLE: Final = 0.01
"""Seconds between a cause and the round it starts: a push is usually confirmed within 3 ms, so
that one write says "in force" instead of two saying "pending" and "in force"."""

PAUSE: Final = 0.1
"""Seconds between two rounds."""

log = logging.getLogger(__name__)


class Mesh(Protocol):
    """What the writer asks the control plane."""

    @property
    def policies(self) -> Mapping[Address, Object]:
        """Every PeerAuthentication as stored."""
        ...

    def since(self, policy: Object) -> int | None:
        """Return the first generation that contains this state of a policy."""
        ...

    def proxies(self) -> Sequence[ProxyState]:
        """Return every proxy."""
        ...


class StatusWriter:
    """Keeps the status of every PeerAuthentication true."""

    def __init__(
        self, store: ObjectStore, mesh: Mesh, clock: Clock, settings: LiveSettings
    ) -> None:
        """Prepare; nothing happens before `run`."""
        self._store = store
        self._mesh = mesh
        self._clock = clock
        self._settings = settings
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Note that something may have changed."""
        self._woken.set()

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await self._woken.wait()
            await asyncio.sleep(SETTLE)
            self._woken.clear()
            await self._round()
            await asyncio.sleep(PAUSE)

    async def _round(self) -> None:
        policies = dict(self._mesh.policies)
        parsed = {key: _parse(policy) for key, policy in policies.items()}
        by_namespace: dict[str, list[PeerAuthentication]] = defaultdict(list)
        for value in parsed.values():
            if isinstance(value, PeerAuthentication):
                by_namespace[value.namespace].append(value)
        proxies = self._mesh.proxies()
        for key, policy in policies.items():
            since = self._mesh.since(policy)
            if since is None:
                continue  # newer than the last push, which will wake us
            await self._write(policy, self._conditions(parsed[key], since, by_namespace, proxies))

    def _conditions(
        self,
        policy: PeerAuthentication | Rejected,
        since: int,
        by_namespace: Mapping[str, list[PeerAuthentication]],
        proxies: Sequence[ProxyState],
    ) -> tuple[Condition, ...]:
        if isinstance(policy, Rejected):
            return invalid(str(policy))
        root = self._settings.current.root_namespace
        rivals = [
            rival
            for namespace in {policy.namespace, root}
            for rival in by_namespace.get(namespace, ())
        ]
        return conditions(policy, since=since, rivals=rivals, proxies=proxies, root_namespace=root)

    async def _write(self, policy: Object, found: Sequence[Condition]) -> None:
        status = _status(policy, found, rfc3339(self._clock.now()))
        if status == policy.get("status"):
            return
        try:
            await self._store.update_status(PEER_AUTHENTICATIONS, {**policy, "status": status})
        except (Conflict, NotFound):
            # Somebody changed or deleted it: its event starts another round.
            self._woken.set()
        except Unavailable as error:
            log.warning("status not written", extra={"reason": str(error)})
            self._woken.set()


def _parse(policy: Object) -> PeerAuthentication | Rejected:
    try:
        return parse_peer_authentication(policy)
    except Rejected as error:
        return error


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
