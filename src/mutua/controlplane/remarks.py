"""Which parts of a policy or rule have no effect, and why?  For the condition `Ignored`.

What admission warned of when it was stored, and entries for ports that the workloads of a policy,
or the Services of a rule, do not have: that is analysis's finding, and changes with pods and
Services.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import is_
from typing import Final

from mutua.analysis import peer_authentication
from mutua.analysis.codes import SERVICE_PORT, UNKNOWN_PORT
from mutua.analysis.destination_rule import policies, unknown_ports
from mutua.analysis.mesh import Mesh
from mutua.api.destination import ClientTls, DestinationRule, TlsMode
from mutua.api.object import PEER_AUTHENTICATIONS, PODS, SERVICES, Object, Resource
from mutua.api.security import PeerAuthentication, check_peer_authentication
from mutua.api.validation.destination import check_destination_rule
from mutua.model.service import Service, ServicePort
from mutua.model.snapshot import MeshSnapshot

PORTS: Final = frozenset({SERVICE_PORT, UNKNOWN_PORT})
"""Findings about entries of portLevelMtls."""

KINDS: Final = (PODS, SERVICES, PEER_AUTHENTICATIONS)
"""What such a finding is made from, all of the policy's own namespace."""

Lister = Callable[[Resource, str], Iterable[Object]]
"""(kind, namespace) -> the objects as stored."""


class Remarks:
    """Makes remarks; those that cost something are made anew only when they may have changed.

    Attributes:
        credential_fault: Returns what is wrong with the Secret that a rule of a namespace names.
    """

    def __init__(self, listed: Lister) -> None:
        self.credential_fault: Callable[[str, ClientTls], str] = lambda _namespace, _tls: ""
        self._listed = listed
        self._known: dict[tuple[str, str], tuple[tuple[object, ...], list[str]]] = {}

    def on_rule(
        self,
        obj: Object,
        rule: DestinationRule,
        services: Sequence[Service],
        snapshot: MeshSnapshot,
    ) -> list[str]:
        """Return what of a DestinationRule has no effect: by itself, here, without a Secret.

        Args:
            obj: The rule as stored.
            rule: What it says.
            services: The Services that it speaks about.
            snapshot: The mesh.
        """

        def targets(service: Service, port: ServicePort) -> Iterator[int]:
            endpoints = snapshot.endpoints.get(service.id, {})
            return (one.port for one in endpoints.get(port.number, ()))

        found = list(check_destination_rule(obj).warnings)
        for path, policy in policies(rule):
            where = f"{path}.portLevelSettings"
            said = unknown_ports(rule, policy, services, targets)
            found += [f"{where}: {text}" for text in said]
        return found + list(self._on_credentials(rule))

    def _on_credentials(self, rule: DestinationRule) -> Iterator[str]:
        if rule.selector is None:
            return  # admission warns of that
        for path, tls in rule.tls_blocks():
            if not tls.credential_name or tls.mode not in {TlsMode.SIMPLE, TlsMode.MUTUAL}:
                continue
            if fault := self.credential_fault(rule.namespace, tls):
                yield f"{path}.credentialName: {fault}; connections fail until that is repaired"

    def on_policy(
        self, obj: Object, policy: PeerAuthentication, snapshot: MeshSnapshot
    ) -> list[str]:
        """Return what of a PeerAuthentication has no effect in this mesh."""
        found = list(check_peer_authentication(obj).warnings)
        return found + (self._on_ports(obj, policy, snapshot) if policy.port_modes else [])

    def _on_ports(
        self, obj: Object, policy: PeerAuthentication, snapshot: MeshSnapshot
    ) -> list[str]:
        address = policy.namespace, policy.name
        seen = (
            obj["spec"], snapshot.workloads, snapshot.services, snapshot.peer_authentications,
            snapshot.settings,
        )  # fmt: skip
        before, remarks = self._known.get(address, ((), []))
        if len(before) != len(seen) or not all(map(is_, before, seen)):
            remarks = list(self._analyze(policy, snapshot))
            self._known[address] = seen, remarks
        return remarks

    def _analyze(self, policy: PeerAuthentication, snapshot: MeshSnapshot) -> Iterable[str]:
        objects = {kind: tuple(self._listed(kind, policy.namespace)) for kind in KINDS}
        mesh = Mesh(objects, snapshot.settings)
        origin = peer_authentication.origin(policy)
        for message in peer_authentication.analyze(mesh):
            if message.origin == origin and message.code in PORTS:
                yield f"{message.path}: {message.text}"
