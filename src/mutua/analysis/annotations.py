"""Annotations of istio.io that mean nothing, or not what they say."""

from collections.abc import Iterator, Mapping
from typing import Final

from mutua.analysis.codes import (
    ALPHA_ANNOTATION,
    BAD_ANNOTATION,
    DEPRECATED_ANNOTATION,
    MISPLACED,
    UNKNOWN_ANNOTATION,
)
from mutua.analysis.mesh import Mesh
from mutua.analysis.message import Message, Origin, origin_of
from mutua.analysis.pods import TEMPLATED
from mutua.api.annotations import (
    CHECKS,
    CONFIG,
    INTERCEPTION,
    READERS,
    SIDECAR,
    TRAFFIC,
    UNSUPPORTED,
    annotations,
    proxy_errors,
    traffic_errors,
)
from mutua.api.object import (
    AUTHORIZATION_POLICIES,
    DESTINATION_RULES,
    NAMESPACES,
    PEER_AUTHENTICATIONS,
    PODS,
    SERVICE_ENTRIES,
    SERVICES,
    Object,
)
from mutua.model.parse import CANONICAL_ACCOUNTS, EXPORT_TO, LOCAL_ACCOUNTS
from mutua.policy.injection import INJECT, SYSTEM_NAMESPACES

SUPPRESS: Final = "galley.istio.io/analyze-suppress"
"""On any object: codes that analysis keeps to itself, comma separated, or "*"."""

ON_PODS: Final = frozenset({
    *CHECKS, *READERS, *UNSUPPORTED, INTERCEPTION, INJECT, f"{SIDECAR}status", "istio.io/rev",
    f"{SIDECAR}proxyImage", f"{SIDECAR}proxyImageType", f"{SIDECAR}agentLogLevel",
    "prometheus.istio.io/merge-metrics",
})  # fmt: skip

ON_SERVICES: Final = frozenset({
    EXPORT_TO, LOCAL_ACCOUNTS, CANONICAL_ACCOUNTS, "networking.istio.io/traffic-distribution",
})  # fmt: skip

ON_POLICIES: Final = frozenset({"istio.io/dry-run"})

ANYWHERE: Final = frozenset({SUPPRESS})

DEPRECATED: Final[Mapping[str, str]] = {
    INJECT: "the label of that name replaces it",
    LOCAL_ACCOUNTS: "proxies learn a Service's accounts from its endpoints",
    CANONICAL_ACCOUNTS: "proxies learn a Service's accounts from its endpoints",
    "alpha.istio.io/identity": "nothing reads it; a pod's identity is its service account's",
    f"{SIDECAR}controlPlaneAuthPolicy": "nothing reads it; proxies always use TLS",
    f"{SIDECAR}discoveryAddress": "nothing reads it; the node knows the control plane",
}
"""What Istio has given up, and what there is instead.  Source: istio/api annotations.yaml."""

MATURE: Final = frozenset({
    INJECT, CONFIG, f"{SIDECAR}status", "istio.io/rev", f"{SIDECAR}nativeSidecar",
    f"{SIDECAR}proxyMemoryLimit", f"{TRAFFIC}includeInboundPorts",
    "networking.istio.io/traffic-distribution",
})  # fmt: skip
"""What has a meaning here and is past alpha in Istio, or is not written by people.

Source: featureStatus in istio/api annotations.yaml.
"""

HOLDERS: Final = (
    NAMESPACES, SERVICES, *TEMPLATED, PEER_AUTHENTICATIONS, AUTHORIZATION_POLICIES,
    DESTINATION_RULES, SERVICE_ENTRIES,
)  # fmt: skip
"""Kinds whose own annotations are looked at, besides those of pods and templates."""

HERE: Final[Mapping[str, frozenset[str]]] = {
    "Pod": ON_PODS, "Service": ON_SERVICES, "AuthorizationPolicy": ON_POLICIES,
}  # fmt: skip


def analyze(mesh: Mesh) -> Iterator[Message]:
    """Yield what is to be said about annotations."""
    for resource in HOLDERS:
        for obj in mesh.of_kind(resource):
            if _counts(obj):
                origin = origin_of(obj)
                yield from _places(origin, annotations(obj), origin.kind)
                if resource in TEMPLATED and not obj["metadata"].get("ownerReferences"):
                    template = obj["spec"]["template"].get("metadata") or {}
                    yield from _of_a_pod(origin, template.get("annotations") or {})
    for pod in mesh.of_kind(PODS):
        if _counts(pod) and not pod["metadata"].get("ownerReferences"):
            yield from _of_a_pod(origin_of(pod), annotations(pod))


def _counts(obj: Object) -> bool:
    metadata = obj["metadata"]
    namespace = metadata.get("namespace") or metadata["name"]
    return namespace not in SYSTEM_NAMESPACES


def _of_a_pod(origin: Origin, given: Mapping[str, str]) -> Iterator[Message]:
    yield from _places(origin, given, "Pod")
    for error in (*proxy_errors(given), *traffic_errors(given)):
        text = f"{error}; the API refuses its pods"
        yield Message(code=BAD_ANNOTATION, origin=origin, text=text)
    wish = given.get(INJECT)
    if wish not in {None, "true", "false"}:
        text = f"{INJECT}={wish} means nothing; only true and false do"
        yield Message(code=BAD_ANNOTATION, origin=origin, text=text)


def _places(origin: Origin, given: Mapping[str, str], kind: str) -> Iterator[Message]:
    """Yield annotations that have no business on objects of this kind, or an uncertain future."""
    for name in given:
        domain = name.partition("/")[0]
        if not f".{domain}".endswith(".istio.io") or name in ANYWHERE:
            continue
        homes = sorted(home for home, names in HERE.items() if name in names)
        if name in DEPRECATED:
            text = f"annotation {name} is deprecated: {DEPRECATED[name]}"
            yield Message(code=DEPRECATED_ANNOTATION, origin=origin, text=text)
        if kind in homes:
            if name not in MATURE and name not in DEPRECATED and name not in UNSUPPORTED:
                text = f"annotation {name} is alpha in Istio: it may still change its meaning"
                yield Message(code=ALPHA_ANNOTATION, origin=origin, text=text)
        elif homes:
            place = "the pod template" if homes == ["Pod"] and kind != "Pod" else homes[0]
            text = f"annotation {name} means nothing on a {kind}; it belongs on {place}"
            yield Message(code=MISPLACED, origin=origin, text=text)
        elif name not in DEPRECATED and not name.startswith(TRAFFIC):  # refused, another message
            text = f"nothing reads annotation {name}"
            yield Message(code=UNKNOWN_ANNOTATION, origin=origin, text=text)
