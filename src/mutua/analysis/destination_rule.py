"""DestinationRules that do not do what their author may think (istio-semantics 6)."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from mutua.analysis.codes import (
    EMPTY_SUBSET,
    EMPTY_TLS,
    INCOMPLETE_SECRET,
    MERGED,
    NOT_FOUND,
    OVERSHADOWED,
    REPLACED,
    RULE_PORT,
    UNKNOWN_HOST,
    UNVERIFIED,
    UNVERIFIED_PORT,
)
from mutua.analysis.mesh import Mesh
from mutua.analysis.message import Message, Origin, origin_of
from mutua.analysis.rules import is_meant, origin, services_for
from mutua.analysis.wording import listed
from mutua.api.credential import credential_fault
from mutua.api.destination import ClientTls, DestinationRule, TlsMode, TrafficPolicy
from mutua.api.object import DESTINATION_RULES, SECRETS
from mutua.model.inbound import target_port
from mutua.model.service import Service, ServicePort
from mutua.policy.destination_rule import followed_instead, suppliers

POLICY: Final = "spec.trafficPolicy"

VERIFYING: Final = frozenset({TlsMode.SIMPLE, TlsMode.MUTUAL})


def analyze(mesh: Mesh) -> Iterator[Message]:
    """Yield what is to be said about DestinationRules."""
    for obj in mesh.of_kind(DESTINATION_RULES):
        yield from _empty_blocks(origin_of(obj), obj.get("spec") or {})
    for rule in mesh.snapshot.destination_rules:
        services = services_for(mesh, rule)
        if not services:
            yield from _unknown_host(mesh, rule)
        yield from _subsets(mesh, rule, services)
        for path, policy in policies(rule):
            yield from _verification(rule, path, policy)
            yield from _replaced(rule, path, policy)
            yield from _ports(mesh, rule, path, policy, services)
        yield from _credentials(mesh, rule)
        if services:
            yield from _merged(mesh, rule)
        yield from _overshadowing(mesh, rule)


def policies(rule: DestinationRule) -> Iterator[tuple[str, TrafficPolicy]]:
    """Yield the traffic policies of a rule, each with its path."""
    if rule.policy is not None:
        yield POLICY, rule.policy
    for index, subset in enumerate(rule.subsets):
        if subset.policy is not None:
            yield f"spec.subsets[{index}].trafficPolicy", subset.policy


def _empty_blocks(origin_: Origin, spec: Mapping[str, Any]) -> Iterator[Message]:
    """Yield `tls` blocks that do not say their mode."""
    blocks_of = [(POLICY, spec.get("trafficPolicy") or {})]
    for index, subset in enumerate(spec.get("subsets") or ()):
        blocks_of.append(
            (f"spec.subsets[{index}].trafficPolicy", subset.get("trafficPolicy") or {})
        )
    for path, policy in blocks_of:
        entries = enumerate(policy.get("portLevelSettings") or ())
        blocks = [
            (path, policy),
            *((f"{path}.portLevelSettings[{index}]", entry) for index, entry in entries),
        ]
        for where, block in blocks:
            tls = block.get("tls")
            if tls is not None and not tls.get("mode"):
                text = (
                    "a tls block without a mode means DISABLE: clients send plaintext; leave the "
                    "block away, or write mode: ISTIO_MUTUAL"
                )
                yield Message(code=EMPTY_TLS, origin=origin_, text=text, path=f"{where}.tls")


def _unknown_host(mesh: Mesh, rule: DestinationRule) -> Iterator[Message]:
    host, domain = rule.hostname(mesh.settings.dns_domain), mesh.settings.dns_domain
    if "*" in host:
        return
    text = f"no Service and no ServiceEntry is called {host}"
    full = f"{rule.host.rstrip('.')}.svc.{domain}"
    others = [
        one.hostname for one in mesh.snapshot.services if one.id.name == rule.host.partition(".")[0]
    ]
    if mesh.called(full):
        text += f"; a host with a dot is taken for a full name: write {full}"
    elif others:
        text += f"; a short name means the rule's own namespace, but there is {listed(others)}"
    yield Message(code=UNKNOWN_HOST, origin=origin(rule), text=text, path="spec.host")


def _subsets(mesh: Mesh, rule: DestinationRule, services: Sequence[Service]) -> Iterator[Message]:
    groups = [one for service in services for one in mesh.behind(service)]
    if not groups:
        return
    for index, subset in enumerate(rule.subsets):
        if any(subset.labels.items() <= one.workload.labels.items() for one in groups):
            continue
        wanted = ", ".join(f"{key}={value}" for key, value in sorted(subset.labels.items()))
        text = f"subset {subset.name} has no pods: none of {rule.host} is labelled {wanted}"
        seen = sorted({
            f"{key}={one.workload.labels[key]}"
            for one in groups
            for key in subset.labels
            if key in one.workload.labels
        })  # fmt: skip
        if seen:
            text += f"; there are {listed(seen)}"
        yield Message(
            code=EMPTY_SUBSET, origin=origin(rule), text=text, path=f"spec.subsets[{index}].labels"
        )


def _verification(rule: DestinationRule, path: str, policy: TrafficPolicy) -> Iterator[Message]:
    places = [(UNVERIFIED, f"{path}.tls", policy.tls)]
    places += [
        (UNVERIFIED_PORT, f"{path}.portLevelSettings", entry.tls) for entry in policy.ports.values()
    ]
    for code, where, tls in places:
        if tls is not None and _is_unverified(tls, rule):
            what = (
                "the server is not verified at all (insecureSkipVerify)"
                if tls.insecure_skip_verify
                else "the server is verified against the system's roots, not against the mesh's"
            )
            text = f"{tls.mode.value} without caCertificates: {what}"
            yield Message(code=code, origin=origin(rule), text=text, path=where)


def _is_unverified(tls: ClientTls, rule: DestinationRule) -> bool:
    is_exempt = bool(tls.credential_name) and rule.selector is not None
    return tls.mode in VERIFYING and not tls.ca_certificates and not is_exempt


def _credentials(mesh: Mesh, rule: DestinationRule) -> Iterator[Message]:
    """Yield Secrets that a rule names and that there are not, or that lack what it needs."""
    if rule.selector is None or not mesh.namespaces:
        return  # it is not read; or there are manifests only, and the Secret may be elsewhere
    secrets = {
        one["metadata"]["name"]: one
        for one in mesh.of_kind(SECRETS)
        if one["metadata"]["namespace"] == rule.namespace
    }
    for path, tls in rule.tls_blocks():
        if tls.mode not in VERIFYING or not tls.credential_name:
            continue
        fault, exists = credential_fault(tls, rule.namespace, secrets.get)
        if fault:
            code = INCOMPLETE_SECRET if exists else NOT_FOUND
            text = f"{fault}, so connections fail"
            where = f"{path}.credentialName"
            yield Message(code=code, origin=origin(rule), text=text, path=where)


def _replaced(rule: DestinationRule, path: str, policy: TrafficPolicy) -> Iterator[Message]:
    if policy.tls is None:
        return
    bare = [str(number) for number, entry in sorted(policy.ports.items()) if entry.tls is None]
    if bare:
        text = (
            f"the entry for port {listed(bare)} replaces the whole policy and has no tls: "
            f"{policy.tls.mode.value} does not hold there; repeat the tls block in the entry"
        )
        yield Message(
            code=REPLACED, origin=origin(rule), text=text, path=f"{path}.portLevelSettings"
        )


def _ports(
    mesh: Mesh, rule: DestinationRule, path: str, policy: TrafficPolicy, services: Sequence[Service]
) -> Iterator[Message]:
    def targets(service: Service, port: ServicePort) -> Iterator[int]:
        for group in mesh.behind(service):
            if (number := target_port(service, port, group.workload)) is not None:
                yield number

    for text in unknown_ports(rule, policy, services, targets):
        where = f"{path}.portLevelSettings"
        yield Message(code=RULE_PORT, origin=origin(rule), text=text, path=where)


def unknown_ports(
    rule: DestinationRule,
    policy: TrafficPolicy,
    services: Sequence[Service],
    targets: Callable[[Service, ServicePort], Iterable[int]],
) -> Iterator[str]:
    """Yield what is to be said of entries for ports that the Service does not have.

    Args:
        rule: The rule.
        policy: One of its policies.
        services: The Services that it speaks about.
        targets: Returns the container ports that a Service's port leads to.
    """
    known = {port.number for service in services for port in service.ports}
    for number in sorted(policy.ports):
        if not services or number in known or "*" in rule.host:
            continue
        meant = sorted({
            port.number
            for service in services
            for port in service.ports
            if number in targets(service, port)
        })  # fmt: skip
        if meant:
            ports = listed([str(one) for one in meant])
            yield (
                f"{number} is the workload's port; rules name the Service's, {ports}: this entry "
                "changes nothing"
            )
        else:
            yield f"{rule.host} has no port {number}: this entry changes nothing"


def _merged(mesh: Mesh, rule: DestinationRule) -> Iterator[Message]:
    """Yield what of a rule older rules for the same host make idle, whoever the client is."""
    own = f"{rule.namespace}/{rule.name}"
    beside = followed_instead(rule, mesh.rules_in(rule.namespace), mesh.settings)
    idle: dict[str, list[str]] = defaultdict(list)
    for part, by_client in suppliers(rule, beside).items():
        if own not in by_client.values():
            idle[by_client[min(by_client)]].append(f"its {part}")
    for older, parts in sorted(idle.items()):
        changes = f"{listed(parts)} changes nothing"
        text = f"DestinationRule {older} is for the same host and older: {changes}"
        namespace, _, name = older.partition("/")
        related = (Origin("DestinationRule", namespace, name),)
        yield Message(code=MERGED, origin=origin(rule), text=text, related=related)


def _overshadowing(mesh: Mesh, rule: DestinationRule) -> Iterator[Message]:
    """Yield the rules for very hosts that a wildcard next to the client beats."""
    host = rule.hostname(mesh.settings.dns_domain)
    if not host.startswith("*") or rule.namespace == mesh.root:
        return
    for other in mesh.snapshot.destination_rules:
        exact = other.hostname(mesh.settings.dns_domain)
        if "*" in exact or other.namespace == rule.namespace or not is_meant(host, exact):
            continue
        for service in mesh.called(exact):
            if other.namespace not in {service.id.namespace, mesh.root}:
                continue
            text = (
                f"clients in {rule.namespace} follow this rule to {exact}, and not DestinationRule "
                f"{other.namespace}/{other.name} for that very host: a rule next to the client "
                "comes first, however wide it is"
            )
            yield Message(
                code=OVERSHADOWED, origin=origin(rule), text=text, related=(origin(other),)
            )
