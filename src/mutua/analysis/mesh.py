"""The mesh as analyzers see it: objects as written, and the model of what they mean.

Analysis asks what the mesh will be, not what it happens to be this second.  So a Deployment whose
pods do not exist yet stands for them, and the endpoints of a Service are the pods it selects,
whether they are ready or not.  That makes a folder of manifests and a running mesh the same thing.

Pods that are alike, the replicas of a workload, are judged once.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from mutua.analysis.message import Origin, origin_of
from mutua.analysis.pods import TEMPLATED, PodGroup, grouped, pods_of
from mutua.api.destination import DestinationRule
from mutua.api.object import (
    AUTHORIZATION_POLICIES,
    NAMESPACES,
    PODS,
    SECRETS,
    SERVICE_ENTRIES,
    Object,
    Resource,
)
from mutua.api.security import PeerAuthentication
from mutua.model.build import INPUTS, BuildMemo, build_snapshot
from mutua.model.inbound import target_port
from mutua.model.service import Service, ServiceName, ServicePort
from mutua.model.settings import MeshSettings
from mutua.model.snapshot import MeshSnapshot
from mutua.model.workload import Endpoint, Workload
from mutua.policy.injection import SYSTEM_NAMESPACES
from mutua.policy.peer_authentication import Decision, Subject, effective_mode

READS: Final = (*INPUTS, AUTHORIZATION_POLICIES, NAMESPACES, SECRETS, *TEMPLATED)
"""The kinds that analysis looks at."""


class Mesh:
    """Objects and their model.

    Attributes:
        objects: By resource.
        settings: Mesh-wide settings.
        snapshot: The model.
        namespaces: By name.
    """

    def __init__(
        self,
        objects: Mapping[Resource, Iterable[Object]],
        settings: MeshSettings | None = None,
        *,
        memo: BuildMemo | None = None,
    ) -> None:
        """Model the objects.

        Args:
            objects: All objects of the kinds in `READS`; they must have the right shape.
            settings: Mesh-wide settings; None for the defaults.
            memo: The caller's memory of the previous call.
        """
        self.objects = {kind: tuple(found) for kind, found in objects.items()}
        self.settings = settings or MeshSettings()
        self.namespaces = {one["metadata"]["name"]: one for one in self.of_kind(NAMESPACES)}
        pods = list(pods_of(self.objects, self.namespaces))
        self.snapshot = build_snapshot({**self.objects, PODS: pods}, self.settings, memo=memo)
        self._groups = grouped(pods, self.snapshot)
        self._services: dict[str, list[Service]] = defaultdict(list)
        self._entries = {
            ServiceName(one["metadata"].get("namespace") or "", host.lower()): origin_of(one)
            for one in sorted(self.of_kind(SERVICE_ENTRIES), key=_age, reverse=True)
            for host in (one.get("spec") or {}).get("hosts") or ()
        }
        self._hosts: dict[str, list[Service]] = defaultdict(list)
        for service in self.snapshot.services:
            self._services[service.id.namespace].append(service)
            self._hosts[service.hostname].append(service)
        self._policies: dict[str, list[PeerAuthentication]] = defaultdict(list)
        for policy in self.snapshot.peer_authentications:
            self._policies[policy.namespace].append(policy)
        self._rules: dict[str, list[DestinationRule]] = defaultdict(list)
        for rule in self.snapshot.destination_rules:
            self._rules[rule.namespace].append(rule)
        self._decisions: dict[tuple[str, int], Decision] = {}

    @property
    def root(self) -> str:
        """The namespace of mesh-wide policies."""
        return self.settings.root_namespace

    def of_kind(self, resource: Resource) -> tuple[Object, ...]:
        """Return the objects of one kind."""
        return self.objects.get(resource, ())

    def groups(self) -> Iterator[PodGroup]:
        """Yield all pods, Kubernetes' own excepted."""
        for namespace, groups in self._groups.items():
            if namespace not in SYSTEM_NAMESPACES:
                yield from groups

    @property
    def inhabited(self) -> list[str]:
        """The namespaces with pods that have a sidecar, sorted."""
        return sorted(
            namespace
            for namespace, groups in self._groups.items()
            if any(one.is_meshed for one in groups)
        )

    def groups_in(self, namespace: str) -> Sequence[PodGroup]:
        """Return the pods of one namespace."""
        return self._groups.get(namespace, ())

    def policies_in(self, namespace: str) -> Sequence[PeerAuthentication]:
        """Return the PeerAuthentications of one namespace."""
        return self._policies.get(namespace, ())

    def rules_in(self, namespace: str) -> Sequence[DestinationRule]:
        """Return the DestinationRules of one namespace."""
        return self._rules.get(namespace, ())

    def policies_for(self, namespace: str) -> Sequence[PeerAuthentication]:
        """Return the policies that may speak about pods of a namespace."""
        return [p for one in {namespace, self.root} for p in self.policies_in(one)]

    def demanded(self, group: PodGroup, port: int) -> Decision:
        """Return what a pod's proxy demands on a container port, sidecar or not."""
        key = (group.workload.uid, port)
        if key not in self._decisions:
            pod = group.workload
            subject = Subject(namespace=pod.namespace, labels=pod.labels, port=port)
            known = self.policies_for(pod.namespace)
            self._decisions[key] = effective_mode(known, subject, root_namespace=self.root)
        return self._decisions[key]

    def behind(self, service: Service) -> list[PodGroup]:
        """Return the pods that a Service selects."""
        if not service.selector:
            return []
        wanted = service.selector.items()
        groups = self.groups_in(service.id.namespace)
        return [one for one in groups if wanted <= one.workload.labels.items()]

    def origin(self, service: Service) -> Origin:
        """Return the address of the object that describes a Service or host."""
        if not service.is_entry:
            return Origin("Service", service.id.namespace, service.id.name)
        return self._entries.get(service.id, Origin("ServiceEntry", service.id.namespace, ""))

    def called(self, hostname: str) -> Sequence[Service]:
        """Return the Services, and hosts of ServiceEntries, of a full name."""
        return self._hosts.get(hostname, ())

    def exposing(self, group: PodGroup) -> Iterator[tuple[Service, ServicePort, int]]:
        """Yield how pods are reached: the Service, its port, the container port it leads to."""
        pod = group.workload
        for service in self._services.get(pod.namespace, ()):
            if service.selector and service.selector.items() <= pod.labels.items():
                for port in service.ports:
                    if (target := target_port(service, port, pod)) is not None:
                        yield service, port, target

    def around(self, service: Service, client_namespace: str = "") -> MeshSnapshot:
        """Return the part of the model that decides about calls to one Service.

        Its endpoints are the pods it selects, one for each group; rules and policies of other
        namespaces, which have no say, are left out.
        """
        namespaces = {service.id.namespace, client_namespace, self.root}
        endpoints = self.snapshot.endpoints.get(service.id, {})
        if service.selector:
            pods = [one.workload for one in self.behind(service)]
            endpoints = {
                port.number: tuple(_endpoints(service, port, pods)) for port in service.ports
            }
        return replace(
            self.snapshot,
            services=(service,),
            endpoints={service.id: endpoints},
            peer_authentications=tuple(self.policies_for(service.id.namespace)),
            destination_rules=tuple(rule for one in namespaces for rule in self.rules_in(one)),
        )


def _age(obj: Object) -> str:
    return obj["metadata"].get("creationTimestamp") or ""


def _endpoints(service: Service, port: ServicePort, pods: Iterable[Workload]) -> Iterator[Endpoint]:
    for pod in pods:
        if (target := target_port(service, port, pod)) is not None:
            yield Endpoint(pod.address, target, ready=True, workload=pod)
