"""Everything a round of status needs to know, looked up once per round.

Pods by namespace, policies by namespace, rules by namespace: so that a round costs about as much as
what policies speak about, and not policies times pods.
"""

from collections import defaultdict
from collections.abc import Sequence

from mutua.api.destination import DestinationRule, parse_destination_rule
from mutua.api.object import DESTINATION_RULES, Key, Object
from mutua.api.security import PeerAuthentication, parse_peer_authentication
from mutua.controlplane.enforcement import Condition, invalid
from mutua.controlplane.policy_status import policy_conditions
from mutua.controlplane.receipts import Receipts
from mutua.controlplane.remarks import Remarks
from mutua.controlplane.rule_status import means, rule_conditions
from mutua.foundation.errors import Rejected
from mutua.model.service import Service
from mutua.model.snapshot import MeshSnapshot
from mutua.model.workload import Workload
from mutua.policy.destination_rule import followed_instead


class StatusView:
    """The mesh as it is during one round."""

    def __init__(self, snapshot: MeshSnapshot, receipts: Receipts, remarks: Remarks) -> None:
        self._snapshot = snapshot
        self._receipts = receipts
        self._remarks = remarks
        self._root = snapshot.settings.root_namespace
        self._domain = snapshot.settings.dns_domain
        self._pods: dict[str, list[Workload]] = defaultdict(list)
        self._policies: dict[str, list[PeerAuthentication]] = defaultdict(list)
        self._rules: dict[str, list[DestinationRule]] = defaultdict(list)
        self._services: dict[str, list[Service]] = defaultdict(list)
        for pod in snapshot.workloads.values():
            self._pods[pod.namespace].append(pod)
        for policy in snapshot.peer_authentications:
            self._policies[policy.namespace].append(policy)
        for rule in snapshot.destination_rules:
            self._rules[rule.namespace].append(rule)
        for service in snapshot.services:
            self._services[service.hostname].append(service)

    def conditions(self, key: Key, obj: Object) -> tuple[Condition, ...]:
        """Return the conditions of a policy or rule."""
        try:
            if key.resource == DESTINATION_RULES:
                return self._of_rule(key, obj, parse_destination_rule(obj))
            return self._of_policy(key, obj, parse_peer_authentication(obj))
        except Rejected as error:
            return invalid(str(error))

    def _of_policy(
        self, key: Key, obj: Object, policy: PeerAuthentication
    ) -> tuple[Condition, ...]:
        is_mesh_wide = policy.namespace == self._root
        return policy_conditions(
            policy,
            rivals=[one for name in {policy.namespace, self._root} for one in self._policies[name]],
            pods=(
                list(self._snapshot.workloads.values())
                if is_mesh_wide
                else self._pods[policy.namespace]
            ),
            answer=lambda pod: self._receipts.answer(key, pod),
            root_namespace=self._root,
            held=self._receipts.held(key),
            remarks=self._remarks.on_policy(obj, policy, self._snapshot),
        )

    def _of_rule(self, key: Key, obj: Object, rule: DestinationRule) -> tuple[Condition, ...]:
        host = rule.hostname(self._domain)
        services = self._meant(host)
        pods = self._snapshot.workloads.values()
        clients = [
            answer
            for pod in pods
            if self._receipts.follows(key, pod)
            and (answer := self._receipts.answer(key, pod)) is not None
        ]
        return rule_conditions(
            rule,
            hostname=host,
            services=services,
            beside=followed_instead(rule, self._rules[rule.namespace], self._snapshot.settings),
            clients=clients if self._receipts.is_given(key) else None,
            somebody=any(self._receipts.has_proxy(pod) for pod in pods),
            held=self._receipts.held(key),
            remarks=self._remarks.on_rule(obj, rule, services, self._snapshot),
        )

    def _meant(self, host: str) -> Sequence[Service]:
        if not host.startswith("*"):
            return self._services.get(host, [])
        return [one for one in self._snapshot.services if means(host, one.hostname)]
