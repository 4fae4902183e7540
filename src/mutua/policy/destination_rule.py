"""Which DestinationRule does this client follow towards this host, and which TLS does it ask for?

Lookup: the first of these that has a rule for the host; namespaces are never mixed.

    1. the client's namespace           every rule in it, whomever it is exported to
    2. the root namespace, for clients that live there: rules exported to nobody else
    3. the Service's namespace          rules exported to the client's namespace
    4. the root namespace               rules exported to the client's namespace

In it the most specific host counts: the exact name, else the longest wildcard.  So a rule for
`*.local` next to the client beats a rule for the very host next to the server; and a rule that
selects other clients, when there is none for everybody, leaves this one without any.

Merge, oldest first: rules for the same host, exported to the same namespaces, for the same clients
are one.  The oldest that has a `trafficPolicy` supplies it, the oldest that names a subset supplies
that.  A rule exported to more namespaces also adds to an older one, and stands on its own besides.
Of those that stand, one with a `workloadSelector` goes first, then the oldest.

TLS for a port of a subset: an entry of `portLevelSettings` replaces its policy wholesale, and a
subset's policy replaces what it sets.  Endpoints, unlike clusters, read the same rule so that an
entry without `tls` inherits, as in Istio.  Specification: istio-semantics 3.4, 6.3 to 6.5.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from mutua.api.destination import ClientTls, DestinationRule, Subset, TrafficPolicy
from mutua.model.service import Service
from mutua.model.settings import MeshSettings
from mutua.model.workload import Endpoint, Workload

PRIVATE: Final = "."
PUBLIC: Final = "*"


class Level(Enum):
    """Where in a rule a setting was found; the values are what its author looks for."""

    NOWHERE = "no tls"
    RULE = "trafficPolicy"
    PORT = "trafficPolicy.portLevelSettings"
    SUBSET = "subsets[].trafficPolicy"
    SUBSET_PORT = "subsets[].trafficPolicy.portLevelSettings"


@dataclass(frozen=True, slots=True)
class OwnedSubset:
    """A subset and who supplied it.

    Attributes:
        subset: As written.
        source: `namespace/name` of the rule it came from.
    """

    subset: Subset
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MergedRule:
    """What all rules that a client follows towards a host say together.

    Attributes:
        host: Their host in full, perhaps with a wildcard.
        policy: The `trafficPolicy` in force, None when none of them has one.
        source: `namespace/name` of the rule that supplied `policy`, else of the oldest.
        subsets: By name.
        sources: `namespace/name` of all of them, oldest first.
    """

    host: str
    policy: TrafficPolicy | None
    source: str
    subsets: Mapping[str, OwnedSubset]
    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Setting:
    """The TLS that a rule asks for, and who says so.

    Attributes:
        tls: None when no rule asks for any.
        level: Where it was found.
        source: `namespace/name` of the rule, "" when `tls` is None.
    """

    tls: ClientTls | None = None
    level: Level = Level.NOWHERE
    source: str = ""


NO_SETTING: Final = Setting()
"""Nobody asks for anything."""


def find_rule(
    rules: Iterable[DestinationRule], client: Workload, service: Service, settings: MeshSettings
) -> MergedRule | None:
    """Return what a client's proxy follows towards a Service, None when no rule speaks to it.

    Args:
        rules: Every DestinationRule of the mesh, in any order.
        client: Whose proxy it is.
        service: What it calls.
        settings: Mesh-wide settings.
    """
    for stage in _stages(_oldest_first(rules), client.namespace, service.id.namespace, settings):
        found = _most_specific(stage, service.hostname, settings)
        if found:
            speaking = [rule for rule in found if _speaks_to(rule, client.namespace, client.labels)]
            return _as_one(_chosen(_merged(speaking, settings)), settings) if speaking else None
    return None


def followed_instead(
    rule: DestinationRule, others: Iterable[DestinationRule], settings: MeshSettings
) -> dict[str, MergedRule]:
    """Return what clients that a rule speaks to make of it, next to others for its very host.

    Clients differ by what is exported to them: each namespace that a rule names is told apart, and
    PUBLIC stands for all the rest.  More specific hosts and other namespaces are left out.

    Args:
        rule: The rule.
        others: More rules, in any order; those of other namespaces and hosts do not count.
        settings: Mesh-wide settings.
    """
    host = rule.hostname(settings.dns_domain)
    rivals = (
        one
        for one in others
        if one.namespace == rule.namespace
        and one.name != rule.name
        and one.hostname(settings.dns_domain) == host
    )
    alike, own, found = _oldest_first([rule, *rivals]), rule.namespace, {}
    for client in {own}.union(*(_exports(one, settings) for one in alike)):
        stage = next(filter(None, _stages(alike, client, own, settings)), [])
        speaking = [one for one in stage if _speaks_to(one, client, rule.selector or {})]
        if rule in speaking:
            found[client] = _as_one(_chosen(_merged(speaking, settings)), settings)
    return found


def suppliers(rule: DestinationRule, beside: Mapping[str, MergedRule]) -> dict[str, dict[str, str]]:
    """Return whose `trafficPolicy`, and whose `subset NAME`, counts for which kind of client.

    Args:
        rule: The rule whose parts are meant.
        beside: What its clients make of it (`followed_instead`).
    """
    found: dict[str, dict[str, str]] = {}
    if rule.policy is not None:
        found["trafficPolicy"] = {client: one.source for client, one in beside.items()}
    for subset in rule.subsets:
        found[f"subset {subset.name}"] = {
            client: one.subsets[subset.name].source if subset.name in one.subsets else one.source
            for client, one in beside.items()
        }
    return found


def cluster_setting(rule: MergedRule | None, port: int, subset: str = "") -> Setting:
    """Return the TLS for a Service port of a subset ("" for none), as clusters read it."""
    found = [
        Setting(policy.tls, level, source)
        for policy, level, source in _cluster_policies(rule, port, subset)
        if policy.tls is not None
    ]
    return found[0] if found else NO_SETTING


def flag_setting(rule: MergedRule | None, port: int, subset: str = "") -> Setting:
    """Return the TLS for a Service port of a subset ("" for none), as endpoints read it."""
    for policy, levels, source in _own_policies(rule, subset):
        whole, port_level = levels
        entry = policy.ports.get(port)
        if entry is not None and entry.tls is not None:
            return Setting(entry.tls, port_level, source)
        if policy.tls is not None:
            return Setting(policy.tls, whole, source)
    return NO_SETTING


def chooses_endpoint_by_address(rule: MergedRule | None, port: int, subset: str = "") -> bool:
    """Tell whether a rule leaves the choice of the endpoint to the client (PASSTHROUGH)."""
    for policy, _, _ in _cluster_policies(rule, port, subset):
        if policy.passthrough is not None:
            return policy.passthrough
    return False


def is_in_subset(rule: MergedRule | None, subset: str, endpoint: Endpoint) -> bool:
    """Tell whether an endpoint belongs to a subset; every one does to "", none to an unknown."""
    if not subset:
        return True
    owned = rule.subsets.get(subset) if rule is not None else None
    labels = endpoint.workload.labels if endpoint.workload is not None else {}
    return owned is not None and owned.subset.labels.items() <= labels.items()


def _cluster_policies(
    rule: MergedRule | None, port: int, subset: str
) -> Iterator[tuple[TrafficPolicy, Level, str]]:
    """Yield where a cluster's settings come from: the first that sets one supplies it."""
    for policy, levels, source in _own_policies(rule, subset):
        whole, port_level = levels
        entry = policy.ports.get(port)
        if entry is None:
            yield policy, whole, source
            continue
        yield entry, port_level, source
        return  # wholesale: nothing is inherited


def _own_policies(
    rule: MergedRule | None, subset: str
) -> Iterator[tuple[TrafficPolicy, tuple[Level, Level], str]]:
    """Yield the subset's policy and then the rule's, those that exist."""
    if rule is None:
        return
    owned = rule.subsets.get(subset)
    if owned is not None and owned.subset.policy is not None:
        yield owned.subset.policy, (Level.SUBSET, Level.SUBSET_PORT), owned.source
    if rule.policy is not None:
        yield rule.policy, (Level.RULE, Level.PORT), rule.source


def _oldest_first(rules: Iterable[DestinationRule]) -> list[DestinationRule]:
    return sorted(rules, key=lambda rule: (rule.created, rule.name, rule.namespace))


def _speaks_to(rule: DestinationRule, namespace: str, labels: Mapping[str, str]) -> bool:
    """Tell whether a rule's selector, if it has one, means a client."""
    if rule.selector is None:
        return True
    return rule.namespace == namespace and rule.selector.items() <= labels.items()


def _stages(
    rules: Sequence[DestinationRule], client: str, server: str, settings: MeshSettings
) -> Iterator[list[DestinationRule]]:
    root = settings.root_namespace
    if client != root:
        yield [rule for rule in rules if rule.namespace == client]
    else:
        local = [rule for rule in rules if rule.namespace == root]
        yield [rule for rule in local if _exports(rule, settings) == {root}]
    for namespace in (server, root):
        local = [rule for rule in rules if rule.namespace == namespace]
        yield [rule for rule in local if _exports(rule, settings) & {PUBLIC, client}]


def _exports(rule: DestinationRule, settings: MeshSettings) -> frozenset[str]:
    """Return the namespaces that see a rule, or "*"."""
    if rule.selector is not None:
        return frozenset({rule.namespace})
    written = rule.export_to or settings.default_destination_rule_export_to
    return frozenset(rule.namespace if one == PRIVATE else one for one in written)


def _covers(wider: frozenset[str], narrower: frozenset[str]) -> bool:
    return PUBLIC in wider or wider >= narrower


def _most_specific(
    rules: Iterable[DestinationRule], hostname: str, settings: MeshSettings
) -> list[DestinationRule]:
    """Return the rules for the most specific host that means this one."""
    matching = [rule for rule in rules if _matches(rule.hostname(settings.dns_domain), hostname)]
    hosts = {rule.hostname(settings.dns_domain) for rule in matching}
    best = max(hosts, key=lambda host: (host == hostname, len(host)), default="")
    return [rule for rule in matching if rule.hostname(settings.dns_domain) == best]


def _matches(host: str, hostname: str) -> bool:
    """Tell whether a rule's host means a Service's, either of them perhaps with a wildcard."""
    if host == hostname:
        return True
    return host.startswith("*") and hostname.removeprefix("*").endswith(host[1:])


def _merged(
    rules: Iterable[DestinationRule], settings: MeshSettings
) -> list[list[DestinationRule]]:
    """Put together the rules for one host in one namespace, given oldest first."""
    standing: list[list[DestinationRule]] = []
    for rule in rules:
        alone, exports = True, _exports(rule, settings)
        for others in standing:
            first = _exports(others[0], settings)
            if rule.selector == others[0].selector and _covers(exports, first):
                others.append(rule)
                alone = alone and exports != first
        if alone:
            standing.append([rule])
    return standing


def _chosen(standing: Sequence[Sequence[DestinationRule]]) -> Sequence[DestinationRule]:
    special = [rules for rules in standing if rules[0].selector is not None]
    return (special or standing)[0]


def _as_one(rules: Sequence[DestinationRule], settings: MeshSettings) -> MergedRule:
    """Return what rules that are one say together, given oldest first."""
    supplier = next((rule for rule in rules if rule.policy is not None), rules[0])
    subsets: dict[str, OwnedSubset] = {}
    for rule in rules:
        for subset in rule.subsets:
            subsets.setdefault(subset.name, OwnedSubset(subset, _name(rule)))
    return MergedRule(
        host=supplier.hostname(settings.dns_domain),
        policy=supplier.policy,
        source=_name(supplier),
        subsets=subsets,
        sources=tuple(map(_name, rules)),
    )


def _name(rule: DestinationRule) -> str:
    return f"{rule.namespace}/{rule.name}"
