"""Pods and namespaces that are in the mesh, or out of it, against somebody's wish."""

from collections.abc import Iterator
from typing import Final

from mutua import __version__
from mutua.analysis.codes import (
    AUTO_POD,
    AUTO_TEMPLATE,
    NO_PROXY,
    NOT_ASKED,
    NOT_INJECTED,
    OLD_PROXY,
    PROXY_USER,
    TWO_LABELS,
)
from mutua.analysis.mesh import Mesh
from mutua.analysis.message import Code, Message, Origin, origin_of
from mutua.analysis.pods import PROXY, PodGroup, has_proxy
from mutua.api.annotations import annotations
from mutua.api.object import Object
from mutua.policy.injection import (
    INJECT,
    INJECTION_LABEL,
    REVISION_LABEL,
    SYSTEM_NAMESPACES,
    Injection,
    Reason,
    Revisions,
    Verdict,
    decide,
)

AMBIENT_LABEL: Final = "istio.io/dataplane-mode"

AUTO: Final = "auto"
"""Image of an author's own istio-proxy container, for injection to fill in."""

PROXY_UID: Final = 1337
"""The user that Istio's proxies run as, whose traffic Istio does not capture."""


def analyze(mesh: Mesh) -> Iterator[Message]:
    """Yield what is to be said about injection."""
    for name, namespace in mesh.namespaces.items():
        if name not in SYSTEM_NAMESPACES and name != mesh.root:
            yield from _labels(name, namespace)
    for group in mesh.groups():
        yield from _membership(mesh, group)
        yield from _users(group)
        yield from _versions(group)


def _labels(name: str, namespace: Object) -> Iterator[Message]:
    labels = namespace["metadata"].get("labels") or {}
    given = [one for one in (INJECTION_LABEL, REVISION_LABEL, AMBIENT_LABEL) if one in labels]
    origin = origin_of(namespace)
    if not given:
        text = (
            f"pods of this namespace get no sidecar; say so with kubectl label namespace {name} "
            f"istio-injection=disabled, or change it with istio-injection=enabled"
        )
        yield Message(code=NOT_INJECTED, origin=origin, text=text)
    if len(given) > 1:
        text = f"labels {', '.join(given)} are about one question; {given[0]} decides"
        yield Message(code=TWO_LABELS, origin=origin, text=text, path="metadata.labels")
    value = labels.get(INJECTION_LABEL)
    if value not in {None, "enabled", "disabled"}:
        text = f"istio-injection={value} means disabled; only enabled asks for sidecars"
        yield _ignored(origin, text, INJECTION_LABEL)
    revisions = Revisions()
    revision = labels.get(REVISION_LABEL)
    if value is None and revision not in {None, revisions.revision, *revisions.tags}:
        text = (
            f"no control plane has revision {revision!r}, so pods of this namespace get no "
            f"sidecar; this one is {revisions.revision!r}"
        )
        yield _ignored(origin, text, REVISION_LABEL)


def _ignored(origin: Origin, text: str, label: str) -> Message:
    return Message(code=NOT_ASKED, origin=origin, text=text, path=f"metadata.labels[{label}]")


def _membership(mesh: Mesh, group: PodGroup) -> Iterator[Message]:
    namespace = mesh.namespaces.get(group.workload.namespace)
    if namespace is None:
        return
    decision = decide(namespace, group.pods[0])
    yield from _images(group, decision)
    if decision.verdict is Verdict.INJECT:
        if not group.is_planned and not has_proxy(group.pods[0]):
            for pod in group.pods:
                text = (
                    f"has no sidecar although {decision.reason.value}: it was created before; "
                    f"kubectl rollout restart {group.name} -n {group.workload.namespace}"
                )
                if group.origin.kind == "Pod":
                    text = text.partition(";")[0] + "; delete it and create it again"
                yield Message(code=NO_PROXY, origin=origin_of(pod), text=text)
        return
    labels, name = group.workload.labels, group.workload.namespace
    if decision.reason is Reason.NAMESPACE_NOT_ENABLED and labels.get(INJECT) == "true":
        text = (
            f"label {INJECT}=true asks for a sidecar in vain: namespace {name} has "
            f"istio-injection={_value(namespace)}, which decides"
        )
        yield Message(code=NOT_ASKED, origin=group.origin, text=text)
    asks = annotations(group.pods[0]).get(INJECT) == "true"
    if decision.reason is Reason.NOTHING_ASKED and asks:
        text = (
            f"annotation {INJECT}=true asks for a sidecar in vain: where the namespace says "
            "nothing, only a label of that name counts"
        )
        yield Message(code=NOT_ASKED, origin=group.origin, text=text)


def _images(group: PodGroup, decision: Injection) -> Iterator[Message]:
    """Yield images that are left to an injection which does not happen."""
    for pod in group.pods:
        images = {one["name"]: one.get("image") for one in pod["spec"].get("containers") or ()}
        if images.get(PROXY) != AUTO:
            continue
        if not group.is_planned:
            text = f"container {PROXY} has image {AUTO}, but injection was not asked for the pod"
            yield Message(code=AUTO_POD, origin=origin_of(pod), text=text)
        elif decision.verdict is Verdict.SKIP:
            code = AUTO_POD if group.origin.kind == "Pod" else AUTO_TEMPLATE
            text = (
                f"container {PROXY} has image {AUTO}, for injection to fill in, but "
                f"{decision.reason.value}"
            )
            yield Message(code=code, origin=group.origin, text=text)


def _value(namespace: Object) -> str:
    return str((namespace["metadata"].get("labels") or {}).get(INJECTION_LABEL))


def _users(group: PodGroup) -> Iterator[Message]:
    spec = group.pods[0]["spec"]
    for container in spec.get("containers") or ():
        context = {
            **(spec.get("securityContext") or {}),
            **(container.get("securityContext") or {}),
        }
        if container["name"] != PROXY and context.get("runAsUser") == PROXY_UID:
            text = (
                f"container {container['name']} runs as user {PROXY_UID}, which belongs to the "
                "sidecar: on Kubernetes its traffic would not be captured"
            )
            yield Message(code=PROXY_USER, origin=group.origin, text=text)


def _versions(group: PodGroup) -> Iterator[Message]:
    found: dict[str, list[str]] = {}
    for pod in group.pods:
        for container in pod["spec"].get("containers") or ():
            version = container.get("image", "").rpartition(":")[2]
            if container["name"] == PROXY and version not in {AUTO, __version__}:
                found.setdefault(version, []).append(pod["metadata"]["name"])
    for version, names in found.items():
        text = (
            f"{len(names)} {'pod runs' if len(names) == 1 else 'pods run'} a proxy of version "
            f"{version or 'unknown'}, the mesh is {__version__}: kubectl rollout restart "
            f"{group.name} -n {group.workload.namespace}"
        )
        yield _outdated(OLD_PROXY, group, text)


def _outdated(code: Code, group: PodGroup, text: str) -> Message:
    return Message(code=code, origin=group.origin, text=text)
