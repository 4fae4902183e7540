"""The pods of a mesh, put together where nothing can tell them apart; also those yet to be created.

A Deployment whose pods do not exist yet stands for one of them, as injection will label it.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from mutua.analysis.message import Origin, origin_of
from mutua.api.object import DEPLOYMENTS, PODS, REPLICA_SETS, STATEFUL_SETS, Object, Resource
from mutua.model.snapshot import MeshSnapshot
from mutua.model.workload import TLS_MODE_ISTIO, TLS_MODE_LABEL, Workload
from mutua.policy.injection import Verdict, decide

PROXY: Final = "istio-proxy"
TEMPLATE_HASH: Final = "pod-template-hash"

TEMPLATED: Final = (DEPLOYMENTS, STATEFUL_SETS, REPLICA_SETS)
"""Kinds that make pods from a template."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PodGroup:
    """Pods that nothing here can tell apart.

    Attributes:
        origin: What makes them: a Deployment …, or the pod itself.
        pods: They, or one made from a template; at least one.
        workload: The first of them, as the model sees it.
        ports: TCP ports that its containers declare, the proxy's excepted.
    """

    origin: Origin
    pods: tuple[Object, ...]
    workload: Workload
    ports: frozenset[int]

    @property
    def is_meshed(self) -> bool:
        """Whether they have a sidecar."""
        return self.workload.accepts_mutual_tls

    @property
    def is_planned(self) -> bool:
        """Whether they are yet to be created."""
        return "status" not in self.pods[0]

    @property
    def name(self) -> str:
        """`deploy/web`, for messages."""
        return self.origin.short


def pods_of(
    objects: Mapping[Resource, Sequence[Object]], namespaces: Mapping[str, Object]
) -> Iterator[Object]:
    """Yield the pods that stay, and one for each template that has none yet.

    Args:
        objects: Pods, and the kinds that make them.
        namespaces: By name; of one that is not there, assume that it is part of the mesh.
    """
    makers = set()
    for pod in objects.get(PODS, ()):
        makers.add(maker_of(pod))
        if "deletionTimestamp" not in pod["metadata"]:
            yield pod if "status" in pod else _labelled(pod, namespaces)
    for resource in TEMPLATED:
        for one in objects.get(resource, ()):
            origin = origin_of(one)
            if origin not in makers and not _is_owned(one) and not _wants_none(one):
                yield _labelled(_pod_of(one, origin), namespaces)


def grouped(pods: Iterable[Object], snapshot: MeshSnapshot) -> dict[str, list[PodGroup]]:
    """Return, by namespace, the pods that the model knows."""
    alike: dict[Any, list[Object]] = defaultdict(list)
    for pod in pods:
        workload = snapshot.workloads.get(pod["metadata"]["uid"])
        if workload is not None:
            maker = maker_of(pod) or origin_of(pod)
            alike[maker, frozenset(workload.labels.items()), has_proxy(pod)].append(pod)
    groups: dict[str, list[PodGroup]] = defaultdict(list)
    for (maker, _, _), members in alike.items():
        groups[maker.namespace].append(
            PodGroup(
                origin=maker,
                pods=tuple(members),
                workload=snapshot.workloads[members[0]["metadata"]["uid"]],
                ports=frozenset(_declared(members[0])),
            )
        )
    return groups


def maker_of(pod: Object) -> Origin | None:
    """Return the Deployment, StatefulSet or ReplicaSet that made a pod."""
    metadata = pod["metadata"]
    for reference in metadata.get("ownerReferences") or ():
        if not reference.get("controller"):
            continue
        kind, name = reference["kind"], reference["name"]
        template = (metadata.get("labels") or {}).get(TEMPLATE_HASH, "")
        if kind == "ReplicaSet" and template and name.endswith(f"-{template}"):
            kind, name = "Deployment", name.removesuffix(f"-{template}")
        return Origin(kind, metadata["namespace"], name)
    return None


def has_proxy(pod: Object) -> bool:
    """Tell whether a pod has a sidecar's container."""
    return any(one["name"] == PROXY for one in pod["spec"].get("containers") or ())


def _labelled(pod: Object, namespaces: Mapping[str, Object]) -> Object:
    """Return a pod that is yet to be created with the label that injection will give it."""
    metadata = pod["metadata"]
    namespace = namespaces.get(metadata["namespace"])
    if namespace is not None and decide(namespace, pod).verdict is Verdict.SKIP:
        return pod
    labels = {TLS_MODE_LABEL: TLS_MODE_ISTIO, **(metadata.get("labels") or {})}
    return {**pod, "metadata": {**metadata, "labels": labels}}


def _declared(pod: Object) -> Iterator[int]:
    for container in pod["spec"].get("containers") or ():
        if container["name"] != PROXY:
            for port in container.get("ports") or ():
                if port.get("protocol", "TCP") == "TCP":
                    yield port["containerPort"]


def _is_owned(obj: Object) -> bool:
    references = obj["metadata"].get("ownerReferences") or ()
    return any(reference.get("controller") for reference in references)


def _wants_none(obj: Object) -> bool:
    return (obj.get("spec") or {}).get("replicas") == 0


def _pod_of(maker: Object, origin: Origin) -> Object:
    """Return the pod that a template promises."""
    template = maker["spec"]["template"]
    metadata = template.get("metadata") or {}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "namespace": origin.namespace,
            "name": origin.name,
            "uid": str(origin),
            "labels": metadata.get("labels") or {},
            "annotations": metadata.get("annotations") or {},
            "ownerReferences": [{"controller": True, "kind": origin.kind, "name": origin.name}],
        },
        "spec": template.get("spec") or {},
    }
