"""DestinationRules, digested for lookup: which rule does this client follow for that host?

Prepared once per change of rules.  Clients that see the same rules form a *scope*: all of one
namespace, apart from rules that select clients by label.

    1. rules of the client's own namespace, whomever they are exported to (in the root namespace:
       only those kept private)
    2. rules of the Service's namespace that are exported to the client
    3. rules of the root namespace that are exported to the client

Of a namespace's rules the most specific host counts; the first of the three places with a rule
wins, and places are never merged.  Inside a place, rules for one host with the same exportTo (or a
wider one) and the same selector are one: the oldest gives the policy, subsets add up.
This is the compiler's own reading of istio-semantics 6.3 to 6.5, made without mutua.policy.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from mutua.api.destination import ClientTls, DestinationRule, Subset, TlsMode, TrafficPolicy
from mutua.api.object import DESTINATION_RULES, Key
from mutua.api.traffic import ConnectionPool, LoadBalancer, OutlierDetection
from mutua.model.service import Service
from mutua.model.settings import MeshSettings
from mutua.model.workload import Workload

EVERYBODY: Final = "*"
OWN: Final = "."


@dataclass(frozen=True, slots=True)
class Scope:
    """Clients that follow the same rules.

    Attributes:
        namespace: Where they live.
        selecting: The rules with a selector that apply to them.
    """

    namespace: str
    selecting: frozenset[Key] = frozenset()


@dataclass(frozen=True, slots=True)
class Effective:
    """What a rule says about one port, in one subset.

    Attributes:
        tls: How to dial, None for automatic mTLS.
        flag: The TLS mode by which endpoints are flagged, None for automatic mTLS.  It inherits
            where `tls` does not: a real inconsistency upstream (section 3.4).
        balancer: How to choose an endpoint, None for the default.
        pool: How to treat connections, None for the default.
        outliers: When to leave an endpoint out, None for never.
    """

    tls: ClientTls | None = None
    flag: TlsMode | None = None
    balancer: LoadBalancer | None = None
    pool: ConnectionPool | None = None
    outliers: OutlierDetection | None = None

    @property
    def passthrough(self) -> bool:
        """Whether to dial wherever the client was going."""
        return self.balancer is not None and self.balancer.simple == "PASSTHROUGH"


NO_RULE: Final = Effective()
"""What holds without a rule."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Rules for one host that count as one.

    Attributes:
        policy: From the oldest that has one.
        subsets: By name, the oldest's first.
        exported: Namespaces that see it, own name in place of "."; EVERYBODY for all.
        selector: Labels of the clients it applies to, None for all.
        origins: The objects it consists of.
    """

    policy: TrafficPolicy | None
    subsets: Mapping[str, Subset]
    exported: frozenset[str]
    selector: Mapping[str, str] | None
    origins: tuple[Key, ...]

    def effective(self, port: int, subset: str = "") -> Effective:
        """Return what holds for a Service port; `subset` must be one of `subsets`, or ""."""
        own = self.subsets[subset].policy if subset else None
        base = _at(self.policy, port)
        if own is None:
            merged = base
        elif port in own.ports:
            merged = own.ports[port]  # replaces wholesale: what it does not set becomes unset
        else:
            merged = replace(
                own,
                tls=base.tls if own.tls is None else own.tls,
                balancer=base.balancer if own.balancer is None else own.balancer,
                pool=base.pool if own.pool is None else own.pool,
                outliers=base.outliers if own.outliers is None else own.outliers,
            )
        flags = (_flag(policy, port) for policy in (own, self.policy))
        return Effective(
            tls=merged.tls if self.selector else _without_secret(merged.tls),
            flag=next((mode for mode in flags if mode is not None), None),
            balancer=merged.balancer,
            pool=merged.pool,
            outliers=merged.outliers,
        )

    def visible_in(self, namespace: str) -> bool:
        """Tell whether it is exported to clients of a namespace."""
        return EVERYBODY in self.exported or namespace in self.exported


@dataclass(slots=True)
class _Place:
    """The rules of one namespace, by host."""

    exact: dict[str, list[Rule]] = field(default_factory=lambda: defaultdict(list))
    wildcards: dict[str, list[Rule]] = field(default_factory=lambda: defaultdict(list))

    def add(self, host: str, rule: DestinationRule, exported: frozenset[str]) -> None:
        known = (self.wildcards if host.startswith("*") else self.exact)[host]
        rule_key = Key(DESTINATION_RULES, rule.namespace, rule.name)
        absorbed = False
        for number, older in enumerate(known):
            if older.selector != rule.selector or not _covers(exported, older.exported):
                continue
            known[number] = replace(
                older,
                policy=rule.policy if older.policy is None else older.policy,
                subsets={**{one.name: one for one in rule.subsets}, **older.subsets},
                origins=(*older.origins, rule_key),
            )
            absorbed = absorbed or exported == older.exported
        if not absorbed:
            subsets = {subset.name: subset for subset in rule.subsets}
            known.append(
                Rule(
                    policy=rule.policy,
                    subsets=subsets,
                    exported=exported,
                    selector=rule.selector,
                    origins=(rule_key,),
                )
            )

    def most_specific(self, hostname: str, client: str = "") -> Sequence[Rule]:
        """Return the rules for a host; only those that a namespace of clients sees, if given."""
        fitting = (host for host in self.wildcards if _matches(host, hostname))
        places = [self.exact.get(hostname, ())]
        places += [self.wildcards[host] for host in sorted(fitting, key=len, reverse=True)]
        for rules in places:
            if seen := [one for one in rules if not client or one.visible_in(client)]:
                return seen
        return ()


class RuleIndex:
    """Answers which rule a scope of clients follows for a Service."""

    def __init__(self, rules: Iterable[DestinationRule], settings: MeshSettings) -> None:
        self._root = settings.root_namespace
        self._own: dict[str, _Place] = defaultdict(_Place)
        self._private: dict[str, _Place] = defaultdict(_Place)
        self._exported: dict[str, _Place] = defaultdict(_Place)
        self._selecting: dict[str, list[tuple[Key, Mapping[str, str]]]] = defaultdict(list)
        self._hosts: set[str] = set()
        for rule in sorted(rules, key=lambda r: (r.created, r.name, r.namespace)):
            self._add(rule, settings)
        self._wildcards = [host for host in self._hosts if host.startswith("*")]

    def _add(self, rule: DestinationRule, settings: MeshSettings) -> None:
        host, own = rule.hostname(settings.dns_domain), rule.namespace
        default = settings.default_destination_rule_export_to
        exported = frozenset(own if to == OWN else to for to in rule.export_to or default)
        self._hosts.add(host)
        self._own[own].add(host, rule, exported)
        if rule.selector is None:
            self._exported[own].add(host, rule, exported)
        else:
            key = Key(DESTINATION_RULES, own, rule.name)
            self._selecting[own].append((key, rule.selector))
        if rule.selector is not None or exported == {own}:
            self._private[own].add(host, rule, exported)

    def touches(self, hostname: str) -> bool:
        """Tell whether any client may follow a rule for this host."""
        return hostname in self._hosts or any(_matches(one, hostname) for one in self._wildcards)

    def scope(self, client: Workload) -> Scope:
        """Return the scope that a client belongs to."""
        selecting = self._selecting.get(client.namespace, ())
        return Scope(
            client.namespace,
            frozenset(key for key, wanted in selecting if wanted.items() <= client.labels.items()),
        )

    def find(self, scope: Scope, service: Service) -> Rule | None:
        """Return the rule that clients of a scope follow for a Service, None without one."""
        name, client = service.hostname, scope.namespace
        nearest = self._private if client == self._root else self._own
        if found := self._in(nearest, client, name):
            return _applicable(found, scope)
        for namespace in (service.id.namespace, self._root):
            for rule in self._in(self._exported, namespace, name, client):
                return rule
        return None

    def _in(
        self, places: Mapping[str, _Place], namespace: str, host: str, client: str = ""
    ) -> Sequence[Rule]:
        place = places.get(namespace)
        return place.most_specific(host, client) if place is not None else ()


def _applicable(rules: Sequence[Rule], scope: Scope) -> Rule | None:
    """Return the rule that selects the client, else the one for everybody."""
    selecting = (rule for rule in rules if rule.selector and scope.selecting & {*rule.origins})
    everybody = (rule for rule in rules if not rule.selector)
    return next(selecting, None) or next(everybody, None)


def _covers(wider: frozenset[str], narrower: frozenset[str]) -> bool:
    return EVERYBODY in wider or narrower <= wider


def _matches(wildcard: str, hostname: str) -> bool:
    return hostname.endswith(wildcard[1:])


def _without_secret(tls: ClientTls | None) -> ClientTls | None:
    """Return what a rule for all clients says: not everybody is to be given a Secret (3.6)."""
    return replace(tls, credential_name="") if tls is not None and tls.credential_name else tls


NOTHING: Final = TrafficPolicy()


def _at(policy: TrafficPolicy | None, port: int) -> TrafficPolicy:
    return NOTHING if policy is None else policy.ports.get(port, policy)


def _flag(policy: TrafficPolicy | None, port: int) -> TlsMode | None:
    places: Iterator[TrafficPolicy | None] = iter(
        () if policy is None else (policy.ports.get(port), policy)
    )
    return next((one.tls.mode for one in places if one is not None and one.tls is not None), None)
