"""Why did this pod's call arrive without mutual TLS?  Pure: objects in, one finding out.

    it is no pod of this mesh                                    NotAPod
    it has no sidecar                                            NoSidecar, with the reason for that
    an annotation keeps the call from its sidecar                Excluded…
    its sidecar was told to: a DestinationRule, a policy …       what mutua.policy.outbound says
    none of these: every Service leads to mutual TLS             PodAddress

The last line is by elimination: what is dialled by a Service's name would have been encrypted, so
the pod's own address was dialled.  A Host header narrows down which Service was meant.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from ipaddress import AddressValueError, IPv4Address, IPv4Network
from typing import Final

from mutua.api.annotations import TRAFFIC, annotations
from mutua.api.object import Object
from mutua.api.verdict import Invalid
from mutua.controlplane.capture import capture_rules
from mutua.controlplane.ledger.party import has_sidecar
from mutua.model.parse import parse_workload
from mutua.model.service import Service, ServicePort
from mutua.model.snapshot import MeshSnapshot
from mutua.model.workload import Endpoint, Workload
from mutua.policy.injection import Reason as InjectionReason
from mutua.policy.injection import Verdict, decide
from mutua.policy.outbound import (
    Destination,
    Sends,
    Sent,
    Why,
    what_is_sent,
    what_is_sent_to_address,
)
from mutua.runtime.network.rules import CaptureRules


class Reason(Enum):
    """Why, for machines."""

    NOT_A_POD = "NotAPod"
    NO_SIDECAR = "NoSidecar"
    EXCLUDED_PORT = "ExcludedPort"
    EXCLUDED_ADDRESS = "ExcludedAddress"
    DESTINATION_RULE = "DestinationRule"
    MODE_DISABLED = "ModeDisabled"
    AUTO_MTLS_OFF = "AutoMtlsOff"
    NOT_ALL_SIDECARS = "NotAllSidecars"
    NOT_EXPORTED = "NotExported"
    POD_ADDRESS = "PodAddress"
    OTHER = "Other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Why a caller does not use mutual TLS.

    Attributes:
        reason: For machines.
        message: For people: what follows "because".
        object: `Kind namespace/name` of what decides, "" when no object does.
        detail: What the remedy needs besides: an annotation's name, a rule's level.
    """

    reason: Reason
    message: str
    object: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What is known at one instant.

    Attributes:
        mesh: The mesh.
        pods: All pods as stored, by uid.
        namespaces: All namespaces as stored, by name.
    """

    mesh: MeshSnapshot
    pods: Mapping[str, Object]
    namespaces: Mapping[str, Object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What was called.

    Attributes:
        servers: Uids of the pods that may have been reached.
        port: Their port.
        host: The Host header, "" without one.
    """

    servers: tuple[str, ...]
    port: int
    host: str = ""


NOT_A_POD: Final = Finding(
    reason=Reason.NOT_A_POD, message="it is no pod of this mesh, so nothing encrypts for it"
)

WILDCARD: Final = "WILDCARD"
"""Detail of a rule that speaks for hosts which may have no sidecar."""

BY_ADDRESS: Final = Finding(
    reason=Reason.POD_ADDRESS,
    message="it called the pod's own address; only Services are called with mutual TLS",
)


def cause(world: World, caller: Object | None, call: Call) -> Finding:
    """Return why a caller's traffic to a port is not mutual TLS.

    Args:
        world: What is known.
        caller: The calling pod, None for an address that is none.
        call: What it called.
    """
    if caller is None:
        return NOT_A_POD
    if not has_sidecar(caller):
        return _without_sidecar(world, caller)
    client = parse_workload({**caller, "status": {**caller["status"], "phase": "Running"}})
    assert client is not None  # noqa: S101 - only a finished pod is none
    try:
        rules = capture_rules(caller)
    except Invalid:
        rules = CaptureRules()  # such a pod is refused, so nothing of it runs
    ways = _meant(world.mesh, client, call.host, [*_ways(world.mesh, call)])
    for way in ways:
        found = _excluded(rules, caller, way) or _as_told(world.mesh, client, way)
        if found is not None:
            return found
    return BY_ADDRESS


@dataclass(frozen=True, slots=True)
class _Way:
    """One way to reach the port: what is dialled, and the Service that leads there."""

    address: str
    port: int
    endpoint: Endpoint
    via: tuple[Service, ServicePort] | None


def _ways(mesh: MeshSnapshot, call: Call) -> Iterator[_Way]:
    """Yield every way to reach a port: through Services first, then by address."""
    for service in mesh.services:
        for port in service.ports:
            for endpoint in mesh.endpoints.get(service.id, {}).get(port.number, ()):
                server = endpoint.workload
                if server is None or server.uid not in call.servers or endpoint.port != call.port:
                    continue
                for address in service.addresses or (endpoint.address,):
                    yield _Way(address, port.number, endpoint, (service, port))
    for uid in call.servers:
        server = mesh.workloads.get(uid)
        if server is not None:
            endpoint = Endpoint(server.address, call.port, ready=True, workload=server)
            yield _Way(server.address, call.port, endpoint, None)


def _meant(mesh: MeshSnapshot, client: Workload, host: str, ways: Sequence[_Way]) -> Sequence[_Way]:
    """Return the ways that a Host header means; all of them when it says nothing about it."""
    name, _, number = host.lower().partition(":")
    port = int(number) if number.isascii() and number.isdigit() else 80
    if not name:
        return ways

    def is_meant(way: _Way) -> bool:
        if way.port != port:
            return False
        if way.via is None or name == way.address:
            return name == way.address
        return name.rstrip(".") in _names(way.via[0], client.namespace)

    return [way for way in ways if is_meant(way)] or ways


def _names(service: Service, namespace: str) -> set[str]:
    """Return how a program in a namespace may write a Service's name."""
    own, of = service.id.name, service.id.namespace
    found = {service.hostname, f"{own}.{of}", f"{own}.{of}.svc"}
    return found | {own} if of == namespace else found


def _excluded(rules: CaptureRules, caller: Object, way: _Way) -> Finding | None:
    """Return the annotation that keeps a call from the caller's sidecar."""
    if way.port in rules.exclude_outbound_ports:
        return _exclusion(caller, Reason.EXCLUDED_PORT, "excludeOutboundPorts", str(way.port))
    try:
        address = IPv4Address(way.address)
    except AddressValueError:
        return None
    for cidr in rules.exclude_outbound_cidrs:
        if address in IPv4Network(cidr):
            return _exclusion(caller, Reason.EXCLUDED_ADDRESS, "excludeOutboundIPRanges", cidr)
    included = rules.include_outbound_cidrs
    if included is None or way.port in rules.include_outbound_ports:
        return None
    if any(address in IPv4Network(cidr) for cidr in included):
        return None
    return _exclusion(caller, Reason.EXCLUDED_ADDRESS, "includeOutboundIPRanges", way.address)


def _exclusion(caller: Object, reason: Reason, annotation: str, what: str) -> Finding:
    value = annotations(caller).get(TRAFFIC + annotation, "")
    return Finding(
        reason=reason,
        message=f"its annotation {annotation}={value!r} keeps {what} from its sidecar",
        detail=f"{annotation} {what}",
    )


_REASONS: Final = {
    Why.NOT_EXPORTED: Reason.NOT_EXPORTED,
    Why.RULE: Reason.DESTINATION_RULE,
    Why.RULE_INHERITED: Reason.DESTINATION_RULE,
    Why.AUTO_MTLS_OFF: Reason.AUTO_MTLS_OFF,
    Why.NOT_ALL_SIDECARS: Reason.NOT_ALL_SIDECARS,
    Why.NAMESPACE_DISABLED: Reason.MODE_DISABLED,
    Why.SERVER_DISABLED: Reason.MODE_DISABLED,
}


def _as_told(mesh: MeshSnapshot, client: Workload, way: _Way) -> Finding | None:
    """Return what told the caller's sidecar not to use mutual TLS; None when nothing did."""
    if way.via is None:
        sent = what_is_sent_to_address(mesh, client, way.address, way.port)
    else:
        service, port = way.via
        to = Destination(service=service, port=port, endpoint=way.endpoint)
        sent = what_is_sent(mesh, client, to)
    if sent.sends in {Sends.ISTIO_MUTUAL, Sends.NOTHING} or sent.why is Why.UNKNOWN_ADDRESS:
        return None
    service_name = way.via[0].hostname if way.via else way.address
    return Finding(
        reason=_REASONS.get(sent.why, Reason.OTHER),
        message=f"its sidecar sends {sent.sends.value} to {service_name}: {sent.explain()}",
        object=_object(sent),
        detail=_level(mesh, sent),
    )


def _level(mesh: MeshSnapshot, sent: Sent) -> str:
    """Return where in a DestinationRule the cause is, `WILDCARD` when it is for many hosts."""
    for rule in mesh.destination_rules:
        if f"{rule.namespace}/{rule.name}" == sent.setting.source and "*" in rule.host:
            return WILDCARD
    return sent.setting.level.name


def _object(sent: Sent) -> str:
    if sent.setting.source:
        return f"DestinationRule {sent.setting.source}"
    return f"PeerAuthentication {sent.policy}" if sent.policy else ""


def _without_sidecar(world: World, caller: Object) -> Finding:
    namespace = world.namespaces.get(caller["metadata"]["namespace"])
    if namespace is None:
        return Finding(reason=Reason.NO_SIDECAR, message="it has no sidecar")
    injection = decide(namespace, caller)
    if injection.verdict is Verdict.INJECT:
        return Finding(
            reason=Reason.NO_SIDECAR,
            message=f"it has no sidecar: it is older than that {injection.reason.value}",
            detail="OLDER",
        )
    return Finding(
        reason=Reason.NO_SIDECAR,
        message=f"it has no sidecar: {injection.reason.value}",
        detail=injection.reason.name,
    )


FINAL_INJECTION: Final = frozenset(
    {InjectionReason.HOST_NETWORK.name, InjectionReason.SYSTEM_NAMESPACE.name}
)
"""Details of pods that cannot have a sidecar."""
