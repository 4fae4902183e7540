"""`x describe`: what applies to a pod or a Service, told in lines.

The modes are the evaluator's, the warnings are those of analysis that concern what is described.
AuthorizationPolicies are stored and not enforced yet, so nothing is said about them.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import Final

from mutua.analysis import codes
from mutua.analysis.message import Level, Message, Origin, origin_of
from mutua.analysis.pods import maker_of
from mutua.api.object import Object
from mutua.api.security import MutualTlsMode, PeerAuthentication
from mutua.cli.istioctl.describe_rules import followed, rule_lines
from mutua.cli.istioctl.exposure import services_of
from mutua.cli.istioctl.sidecar import PROXY
from mutua.cli.istioctl.target import has_proxy
from mutua.model.service import Protocol, Service, ServicePort
from mutua.model.snapshot import MeshSnapshot
from mutua.model.workload import Workload
from mutua.policy.peer_authentication import Decision, Reason, Subject, effective_mode

LINE: Final = "-" * 20
REVISION: Final = "istio.io/rev"
PROXY_USER: Final = 1337
"""Istio's proxies run as this user; what else does is taken for a proxy and not captured."""

CONTAINERS: Final = {
    "initContainerStatuses": "Init Container",
    "containerStatuses": "Container",
}
"""Fields of a pod's status that tell who is ready; an init container is when it has succeeded."""

SAID: Final = frozenset({codes.NO_PROXY, codes.PROXY_USER})
"""What lines above the warnings say already."""

SUGGESTED: Final = ("app", "version")
"""Labels that telemetry is grouped by."""


def describe_pod(
    pod: Object, snapshot: MeshSnapshot, namespace: str, messages: Sequence[Message] = ()
) -> list[str]:
    """Return what is known about a pod.

    Args:
        pod: The object.
        snapshot: The mesh it is in.
        namespace: The namespace that needs no mention.
        messages: What analysis says about the mesh.
    """
    metadata = pod["metadata"]
    name = _name(metadata["name"], metadata["namespace"], namespace)
    lines = [f"Pod: {name}", *_indented(_facts(pod)), *_warnings(pod, name)]
    labels = metadata.get("labels") or {}
    lines += [
        f"Suggestion: add '{label}' label to pod for Istio telemetry."
        for label in SUGGESTED
        if label not in labels
    ]
    workload = snapshot.workloads.get(metadata["uid"])
    if workload is None:
        return lines
    lines.append(LINE)
    for service in services_of(snapshot, workload):
        lines += _service(snapshot, service, [workload], namespace)
    if has_proxy(pod):
        lines += [LINE, *effective(snapshot, workload)]
    concerned = {origin_of(pod), maker_of(pod), *_origins(snapshot, [workload])}
    return [*lines, *_findings(messages, concerned, namespace)]


def describe_service(
    service: Service, snapshot: MeshSnapshot, namespace: str, messages: Sequence[Message] = ()
) -> list[str]:
    """Return what is known about a Service and the pods behind it; see `describe_pod`."""
    pods = [one for one in snapshot.workloads.values() if service in services_of(snapshot, one)]
    meshed = [one for one in pods if one.accepts_mutual_tls]
    lines = _service(snapshot, service, pods, namespace)
    if not pods:
        lines.append("WARNING: no pods match this Service")
    elif not meshed:
        lines.append(f"WARNING: none of the {len(pods)} pods of this Service has a sidecar")
        lines.append(
            f"Suggestion: kubectl label namespace {service.id.namespace} istio-injection=enabled, "
            "then restart its pods"
        )
    answers: dict[tuple[str, ...], list[str]] = {}
    for one in sorted(meshed, key=lambda pod: pod.name):
        answers.setdefault(tuple(effective(snapshot, one)), []).append(one.name)
    for answer, names in answers.items():
        lines.append(LINE)
        if len(answers) > 1:
            lines.append(f"Pods: {', '.join(names)}")
        lines += answer
    concerned = {Origin("Service", service.id.namespace, service.id.name)}
    concerned |= _origins(snapshot, pods, [service])
    return [*lines, *_findings(messages, concerned, namespace)]


def effective(snapshot: MeshSnapshot, workload: Workload) -> list[str]:
    """Return the mode in force, by port where a policy names ports, and what led to it."""
    applied = applied_policies(snapshot, workload)
    ports = sorted({port for policy in applied for port in policy.port_modes})
    lines = [
        "Effective PeerAuthentication:",
        f"   Workload mTLS mode: {_decide(snapshot, workload, 0).mode.value}",
    ]
    if ports:
        lines.append("   Port Level mTLS mode:")
        lines += [f"      {port}: {_decide(snapshot, workload, port).mode.value}" for port in ports]
    if applied:
        names = ", ".join(f"{policy.name}.{policy.namespace}" for policy in applied)
        lines += ["Applied PeerAuthentication:", f"   {names}"]
    return lines


def applied_policies(snapshot: MeshSnapshot, workload: Workload) -> list[PeerAuthentication]:
    """Return the policies that count for a pod, widest first.

    A policy speaks about a pod if, alone and with a mode of its own, it would decide.
    """
    unused = _decide(snapshot, workload, 0).unused
    order = list(Reason)
    found = []
    for policy in snapshot.peer_authentications:
        alone = replace(policy, mode=MutualTlsMode.STRICT)
        reason = _decide(snapshot, workload, 0, [alone]).reason
        if reason is not Reason.DEFAULT and f"{policy.namespace}/{policy.name}" not in unused:
            found.append((order.index(reason), policy.name, policy))
    return [policy for _, _, policy in sorted(found, key=lambda one: one[:2])]


def _origins(
    snapshot: MeshSnapshot, pods: Sequence[Workload], services: Sequence[Service] = ()
) -> set[Origin]:
    """Return the Services, rules and policies that have a say about pods, or about one Service."""
    found = set()
    for pod in pods:
        for policy in applied_policies(snapshot, pod):
            found.add(Origin("PeerAuthentication", policy.namespace, policy.name))
        if not services:
            for service in services_of(snapshot, pod):
                found |= {Origin("Service", service.id.namespace, service.id.name)}
                found |= _origins(snapshot, (), [service])
    for service in services:
        for rule in followed(snapshot, service).values():
            for source in rule.sources:
                namespace, _, name = source.partition("/")
                found.add(Origin("DestinationRule", namespace, name))
    return found


def _findings(
    messages: Sequence[Message], concerned: Collection[Origin | None], known: str
) -> Iterator[str]:
    """Yield a line per warning or error about one of the objects concerned."""
    found = [
        one
        for one in messages
        if one.code.level > Level.INFO
        and one.code not in SAID
        and any(other in concerned for other in (one.origin, *one.related))
    ]
    if found:
        yield LINE
    for one in found:
        name = _name(one.origin.name, one.origin.namespace, known)
        level = str(one.code.level).upper()
        yield f"{level} [{one.code.code}] {one.origin.kind} {name}: {one.text}"


def _decide(
    snapshot: MeshSnapshot,
    workload: Workload,
    port: int,
    policies: Sequence[PeerAuthentication] | None = None,
) -> Decision:
    return effective_mode(
        snapshot.peer_authentications if policies is None else policies,
        Subject(namespace=workload.namespace, labels=workload.labels, port=port),
        root_namespace=snapshot.settings.root_namespace,
    )


def _facts(pod: Object) -> Iterator[str]:
    annotations = pod["metadata"].get("annotations") or {}
    if revision := annotations.get(REVISION):
        yield f"Pod Revision: {revision}"
    ports = [
        f"{port['containerPort']} ({container['name']})"
        for container in pod["spec"]["containers"]
        for port in container.get("ports") or ()
    ]
    if ports:
        yield f"Pod Ports: {', '.join(ports)}"


def _warnings(pod: Object, name: str) -> Iterator[str]:
    if not has_proxy(pod):
        yield f"WARNING: {name} is not part of mesh; no Istio sidecar"
    spec = pod["spec"]
    for container in spec["containers"]:
        context = {
            **(spec.get("securityContext") or {}),
            **(container.get("securityContext") or {}),
        }
        if container["name"] != PROXY and context.get("runAsUser") == PROXY_USER:
            yield (
                f"WARNING: container {container['name']} runs as user {PROXY_USER}, "
                "which is reserved for the sidecar"
            )
    status = pod.get("status") or {}
    for field, kind in CONTAINERS.items():
        for one in status.get(field) or ():
            if not one.get("ready"):
                yield f"WARNING: Pod {name} {kind} {one['name']} NOT READY"


def _service(
    snapshot: MeshSnapshot, service: Service, pods: Sequence[Workload], namespace: str
) -> list[str]:
    lines = [f"Service: {_name(service.id.name, service.id.namespace, namespace)}"]
    for port in service.ports:
        protocol = "auto-detect" if port.protocol is Protocol.AUTO else port.protocol.value
        label = f"{port.name} " if port.name else ""
        lines.append(
            f"   Port: {label}{port.number}/{protocol} targets pod port {_target(port, pods)}"
        )
    return [*lines, *rule_lines(snapshot, service, pods, namespace)]


def _target(port: ServicePort, pods: Sequence[Workload]) -> str:
    if isinstance(port.target, int):
        return str(port.target)
    numbers = {
        pod.container_ports[port.target] for pod in pods if port.target in pod.container_ports
    }
    return ", ".join(map(str, sorted(numbers))) or port.target


def _name(name: str, namespace: str, known: str) -> str:
    return name if namespace == known else f"{name}.{namespace}"


def _indented(lines: Iterator[str]) -> list[str]:
    return [f"   {line}" for line in lines]
