"""From the mesh's objects to a plan: each port of each workload, and whether STRICT would hurt.

STRICT      it is STRICT already
KEPT        the change leaves it as it is: a policy of its own makes an exception
NOT READY   somebody known would be refused
READY       nobody known would be
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum
from functools import cached_property
from typing import Final

from mutua.api.object import (
    DEPLOYMENTS,
    DESTINATION_RULES,
    ENDPOINT_SLICES,
    NAMESPACES,
    PEER_AUTHENTICATIONS,
    PLAINTEXT_CALLERS,
    PODS,
    REPLICA_SETS,
    SERVICE_ENTRIES,
    SERVICES,
    STATEFUL_SETS,
    Object,
    Resource,
)
from mutua.api.security import MutualTlsMode
from mutua.cli.strict.judge import Census, Judgement, State, census, judge
from mutua.controlplane.capture import capture_rules
from mutua.controlplane.ledger.cause import World
from mutua.controlplane.ledger.ledger import Entry
from mutua.controlplane.ledger.party import Party, has_sidecar
from mutua.controlplane.ledger.record import from_object
from mutua.controlplane.strict.change import Scope, strict_policy
from mutua.foundation.errors import Rejected
from mutua.model.build import build_snapshot
from mutua.model.settings import MeshSettings
from mutua.model.snapshot import MeshSnapshot
from mutua.model.workload import Workload
from mutua.policy.peer_authentication import Decision, Subject, effective_mode

OWNERS: Final = (DEPLOYMENTS, STATEFUL_SETS, REPLICA_SETS)

READ: Final = (
    PODS,
    SERVICES,
    ENDPOINT_SLICES,
    NAMESPACES,
    PEER_AUTHENTICATIONS,
    DESTINATION_RULES,
    SERVICE_ENTRIES,
    PLAINTEXT_CALLERS,
    *OWNERS,
)
"""What a plan is made from."""

Objects = Mapping[Resource, Sequence[Object]]

ANY_PORT: Final = 0
"""Stands for every port of a workload that nothing names."""


class Verdict(Enum):
    """What the table in the module's header says."""

    STRICT = "STRICT"
    KEPT = "KEPT"
    NOT_READY = "NOT READY"
    READY = "READY"


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """One port of a workload.

    Attributes:
        server: The workload.
        number: The pod's port, `ANY_PORT` for all that nothing names.
        mode: What is in force.
        becomes: What would be.
        policy: `namespace/name` of the policy that would decide, "" for none.
        callers: Who arrived without mutual TLS.
        calls: Requests and connections since its proxies started; None when they did not say.
    """

    server: Party
    number: int
    mode: MutualTlsMode
    becomes: MutualTlsMode
    policy: str = ""
    callers: tuple[Judgement, ...] = ()
    calls: int | None = None

    @property
    def verdict(self) -> Verdict:
        """Whether STRICT would hurt."""
        if self.mode is MutualTlsMode.STRICT:
            return Verdict.STRICT
        if self.becomes is not MutualTlsMode.STRICT:
            return Verdict.KEPT
        return Verdict.NOT_READY if self.blockers else Verdict.READY

    @property
    def blockers(self) -> tuple[Judgement, ...]:
        """Who would be refused that is not refused now."""
        is_change = self.becomes is MutualTlsMode.STRICT is not self.mode
        return tuple(one for one in self.callers if is_change and one.state is State.BLOCKS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What the way to STRICT looks like.

    Attributes:
        ports: By namespace, workload and number.
        outside: Workloads of the scopes without a sidecar: no policy reaches them.
        unprotected: Ports that an annotation keeps from their proxy: no policy reaches them.
        policies: The policies as they would be.
    """

    ports: tuple[Port, ...]
    outside: tuple[Party, ...] = ()
    unprotected: tuple[tuple[Party, int], ...] = ()
    policies: tuple[Object, ...] = ()

    @property
    def blockers(self) -> tuple[Judgement, ...]:
        """Everybody who would be refused."""
        return tuple(one for port in self.ports for one in port.blockers)

    @property
    def refused(self) -> tuple[Judgement, ...]:
        """Everybody who is refused already, and still there."""
        return tuple(
            one
            for port in self.ports
            if port.verdict is Verdict.STRICT
            for one in port.callers
            if one.entry.refused and one.state is State.BLOCKS
        )

    @property
    def is_ready(self) -> bool:
        """Whether nobody known would be refused."""
        return not self.blockers

    @property
    def changes(self) -> bool:
        """Whether anything would become STRICT that is not."""
        return any(one.verdict in {Verdict.READY, Verdict.NOT_READY} for one in self.ports)


@dataclass(frozen=True)
class Survey:
    """The mesh as the API describes it, read once for any number of plans.

    Attributes:
        objects: Everything in `READ`.
        now: The instant at which it was read.
        patience: Callers that were silent for longer do not count; None for all.
        settings: Of the mesh.
    """

    objects: Objects
    now: datetime
    patience: timedelta | None = None
    settings: MeshSettings = field(default_factory=MeshSettings)

    @property
    def policies(self) -> Sequence[Object]:
        """Every PeerAuthentication as stored."""
        return self.objects[PEER_AUTHENTICATIONS]

    @cached_property
    def people(self) -> Census:
        """Who there is."""
        owners = [one for kind in OWNERS for one in self.objects[kind]]
        return census(self.objects[PODS], owners)

    @cached_property
    def meshed(self) -> dict[Party, tuple[Object, ...]]:
        """The pods with a sidecar, by workload, in order."""
        found = {
            party: tuple(pod for pod in pods if has_sidecar(pod))
            for party, pods in self.people.pods.items()
        }
        return {party: found[party] for party in sorted(found, key=_order) if found[party]}

    def plan(self, scopes: Sequence[Scope]) -> Plan:
        """Return what making these scopes STRICT would do."""
        changed = list(self.policies)
        for scope in scopes:
            changed = _with(changed, strict_policy(changed, scope))
        now = self._world(self.policies)
        then = self._world(changed)
        ports, unprotected = [], []
        for party, pods in self.meshed.items():
            found = [*self._ports(party, pods, now, then)]
            is_meant = any(_is_in(party, scope) for scope in scopes)
            if is_meant or any(one.verdict in _CHANGING for one in found):
                ports += found
                unprotected += [(party, number) for number in _excluded(pods)]
        outside = [
            party
            for party, pods in self.people.pods.items()
            if not any(map(has_sidecar, pods)) and any(_is_in(party, scope) for scope in scopes)
        ]
        return Plan(
            ports=tuple(ports),
            outside=tuple(sorted(outside, key=_order)),
            unprotected=tuple(unprotected),
            policies=tuple(changed),
        )

    def _ports(
        self, party: Party, pods: tuple[Object, ...], now: World, then: World
    ) -> Iterator[Port]:
        uids = tuple(pod["metadata"]["uid"] for pod in pods)
        workloads = [now.mesh.workloads[uid] for uid in uids if uid in now.mesh.workloads]
        entries = [entry for entry in self.entries() if entry.key.server == party]
        numbers = {one.number for uid in uids for one in now.mesh.inbound_ports.get(uid, ())}
        numbers |= {entry.key.port for entry in entries}
        for number in sorted(numbers) or [ANY_PORT]:
            callers = [
                self._judged(entry, uids, now, then)
                for entry in entries
                if entry.key.port == number
            ]
            yield _port(party, number, workloads, now.mesh, then.mesh, callers)

    def entries(self) -> Iterator[Entry]:
        """Yield what the ledger knows."""
        for obj in self.objects[PLAINTEXT_CALLERS]:
            try:
                yield from_object(obj)
            except ValueError:
                continue  # not the ledger's

    def _judged(self, entry: Entry, servers: tuple[str, ...], now: World, then: World) -> Judgement:
        found = judge(entry, self.people, servers, now, then)
        if self.patience is not None and self.now - entry.latest > self.patience:
            return replace(found, state=State.QUIET, remedy="")
        return found

    def _world(self, policies: Sequence[Object]) -> World:
        objects = {**self.objects, PEER_AUTHENTICATIONS: policies}
        mesh = build_snapshot(objects, self.settings)
        return World(
            mesh=mesh,
            pods={pod["metadata"]["uid"]: pod for pod in self.objects[PODS]},
            namespaces={one["metadata"]["name"]: one for one in self.objects[NAMESPACES]},
        )


_CHANGING: Final = frozenset({Verdict.READY, Verdict.NOT_READY})


def _port(
    party: Party,
    number: int,
    workloads: Sequence[Workload],
    now: MeshSnapshot,
    then: MeshSnapshot,
    callers: Sequence[Judgement],
) -> Port:
    pairs = [(_decision(now, one, number), _decision(then, one, number)) for one in workloads]
    # Pods of one workload can differ in labels, and so in policies: one that changes counts.
    mode, becomes = next((pair for pair in pairs if pair[0].mode is not pair[1].mode), pairs[0])
    return Port(
        server=party,
        number=number,
        mode=mode.mode,
        becomes=becomes.mode,
        policy=becomes.policy,
        callers=tuple(sorted(callers, key=lambda one: (one.state.value, one.entry.key))),
    )


def _decision(mesh: MeshSnapshot, workload: Workload, port: int) -> Decision:
    subject = Subject(namespace=workload.namespace, labels=workload.labels, port=port)
    root = mesh.settings.root_namespace
    return effective_mode(mesh.peer_authentications, subject, root_namespace=root)


def _with(policies: Sequence[Object], policy: Object) -> list[Object]:
    """Return policies with one of them replaced, or one more."""
    key = _key(policy)
    return [*(one for one in policies if _key(one) != key), policy]


def _key(obj: Object) -> tuple[str, str]:
    return obj["metadata"]["namespace"], obj["metadata"]["name"]


def _is_in(party: Party, scope: Scope) -> bool:
    return party.namespace == scope.namespace and scope.workload in {"", party.name}


def _excluded(pods: Sequence[Object]) -> list[int]:
    found: set[int] = set()
    for pod in pods:
        try:
            found.update(capture_rules(pod).exclude_inbound_ports)
        except Rejected:
            continue
    return sorted(found)


def _order(party: Party) -> tuple[str, str, str]:
    return party.namespace, party.name, party.kind
