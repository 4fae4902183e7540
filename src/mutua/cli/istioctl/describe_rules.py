"""What `x describe` says about the DestinationRules that clients of a Service follow.

Clients of different namespaces may follow different rules.  The rule for clients in the Service's
own namespace comes first; one that is only for clients elsewhere says so.  Of a Service with
several ports, each port has a block of its own, which begins with the port.
"""

from collections.abc import Iterator, Sequence

from mutua.analysis.clients import client_in
from mutua.analysis.rules import is_meant
from mutua.api.destination import TrafficPolicy
from mutua.model.service import Service
from mutua.model.snapshot import MeshSnapshot
from mutua.model.workload import Workload
from mutua.policy.destination_rule import MergedRule, find_rule


def followed(snapshot: MeshSnapshot, service: Service) -> dict[str, MergedRule]:
    """Return, by client namespace, the rules that clients of a Service follow.

    Only namespaces with rules of their own are told apart from the Service's.
    """
    domain, own = snapshot.settings.dns_domain, service.id.namespace
    rules = snapshot.destination_rules
    others = {rule.namespace for rule in rules if is_meant(rule.hostname(domain), service.hostname)}
    found: dict[str, MergedRule] = {}
    for namespace in (own, *sorted(others - {own, snapshot.settings.root_namespace})):
        merged = find_rule(rules, client_in(namespace), service, snapshot.settings)
        if merged is not None and merged.sources not in {one.sources for one in found.values()}:
            found[namespace] = merged
    return found


def rule_lines(
    snapshot: MeshSnapshot, service: Service, pods: Sequence[Workload], namespace: str
) -> Iterator[str]:
    """Yield what is to be said about the rules for a Service.

    Args:
        snapshot: The mesh.
        service: Which Service.
        pods: Its pods that are described.
        namespace: The namespace that needs no mention.
    """
    rules = followed(snapshot, service)
    numbers = [port.number for port in service.ports]
    for number in numbers if len(numbers) > 1 else (0,):
        prefix = f"{number}: " if number else ""
        for client, rule in rules.items():
            names = ", ".join(_name(source, namespace) for source in rule.sources)
            whose = "" if client == service.id.namespace else f" (for clients in {client})"
            yield f'{prefix}DestinationRule: {names} for "{rule.host}"{whose}'
            yield from _subsets(rule, pods)
            yield from _policy(rule.policy, number)


def _subsets(rule: MergedRule, pods: Sequence[Workload]) -> Iterator[str]:
    if not rule.subsets:
        return
    fitting = [
        name
        for name, owned in rule.subsets.items()
        if any(owned.subset.labels.items() <= pod.labels.items() for pod in pods)
    ]
    others = ",".join(name for name in rule.subsets if name not in fitting)
    if fitting:
        yield f"   Matching subsets: {','.join(fitting)}"
        if others:
            yield f"      (Non-matching subsets {others})"
    else:
        yield f"   WARNING: POD FITS NO SUBSET OF THE RULE ({others})"


def _policy(policy: TrafficPolicy | None, number: int) -> Iterator[str]:
    """Yield a policy's TLS settings, of its ports only that of a number if there is one."""
    if policy is None:
        yield "   No Traffic Policy"
        return
    if policy.tls is not None:
        yield f"   Traffic Policy TLS Mode: {policy.tls.mode.value}"
    ports = {key: entry for key, entry in policy.ports.items() if number in {0, key}}
    if ports:
        yield "   Port Level Settings:"
    for key, entry in sorted(ports.items()):
        yield f"      {key}:"
        yield f"         TLS Mode: {entry.tls.mode.value if entry.tls else 'none, sidecars choose'}"


def _name(source: str, known: str) -> str:
    namespace, _, name = source.partition("/")
    return name if namespace == known else f"{name}.{namespace}"
