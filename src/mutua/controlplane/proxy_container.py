"""What injection adds to a pod: the container `istio-proxy` and what tools look for around it.

Names are Istio's wherever somebody may look for them: container, port, environment, labels,
annotations.  Left out is what has no meaning where pods are processes, and would be a lie:

    istio-init            the node captures traffic before any of the pod's processes starts
    CA volumes            the node hands the trust bundle over with the certificate
    sockets, /etc/certs   are mounted by the node, into the proxy only
    runAsUser 1337        there is one user; the proxy's traffic is known by its mark
    rewritten probes      the node probes from inside the pod, past the proxy
    prometheus.io/*       no merged endpoint yet

A pod that was injected before (a copy of a running pod, or the output of `istioctl kube-inject`)
is first freed of that, so that the result is the same as from the original.

Deviates from Istio: a container named istio-proxy in the pod's own text may set resources and
nothing else, since the proxy holds the workload's key and NET_ADMIN.
"""

import json
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Final

from mutua import __version__
from mutua.api.annotations import INTERCEPTION, TRAFFIC, annotation_path, annotations
from mutua.api.object import Object
from mutua.api.proxy_volumes import proxy_volumes
from mutua.api.verdict import FieldError, forbidden
from mutua.api.verdict import Verdict as FieldVerdict
from mutua.controlplane.capture import capture_rules
from mutua.controlplane.proxy_settings import ProxySettings, proxy_settings
from mutua.policy.injection import Revisions

PROXY: Final = "istio-proxy"
IMAGE: Final = f"mutua/proxyv2:{__version__}"
"""Nothing pulls it: the node runs the Envoy that was installed with mutua."""

STATUS: Final = "sidecar.istio.io/status"
TLS_MODE: Final = "security.istio.io/tlsMode"
CANONICAL_NAME: Final = "service.istio.io/canonical-name"
CANONICAL_REVISION: Final = "service.istio.io/canonical-revision"
DEFAULT_CONTAINER: Final = "kubectl.kubernetes.io/default-container"
DEFAULT_LOGS_CONTAINER: Final = "kubectl.kubernetes.io/default-logs-container"
TEMPLATE_HASH: Final = "pod-template-hash"

PODINFO: Final = "istio-podinfo"
"""Volume with the pod's labels and annotations, at /etc/istio/pod."""

BOUND_TOKEN: Final = "istio-token"  # noqa: S105 - a name
"""Volume with the token that proves the pod to a certificate authority over the network; mounted
at /var/run/secrets/tokens.  The node's agent does not need it, other clients of Istio's CSR
service do."""

BOUND_FOLDER: Final = "/var/run/secrets/tokens"
AUDIENCE: Final = "istio-ca"
TOKEN_SECONDS: Final = 43_200
"""Source: istio manifests, the sidecar template's istio-token."""

ISTIO_CONTAINERS: Final = frozenset({PROXY, "istio-init", "istio-validation"})
ISTIO_VOLUMES: Final = frozenset(
    {
        *("workload-socket", "credential-socket", "workload-certs", "istiod-ca-cert", PODINFO),
        *("istio-ca-crl", "istio-data", "istio-envoy", BOUND_TOKEN),
    }
)
"""What an earlier injection may have added, ours or Istio's."""

OWN_FIELDS: Final = frozenset(
    {
        *("name", "image", "resources"),
        # Filled in by defaulting, whoever wrote the container.
        *("imagePullPolicy", "terminationMessagePath", "terminationMessagePolicy"),
    }
)
"""Fields of an author's own istio-proxy container."""

MAX_LABEL: Final = 63
"""Characters of a label's value (Kubernetes)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InjectionSettings(Revisions):
    """What a mesh's proxies have in common.

    Attributes:
        trust_domain: Of their identities; Istio uses it as mesh id too.
        cluster_domain: DNS domain of Services.
        cluster_id: Istio's CLUSTER_ID.
    """

    trust_domain: str = "cluster.local"
    cluster_domain: str = "cluster.local"
    cluster_id: str = "Kubernetes"


def is_injected(pod: Object) -> bool:
    """Tell whether a stored pod has a proxy that injection gave it."""
    has_proxy = any(one["name"] == PROXY for one in pod["spec"]["containers"])
    return has_proxy and STATUS in annotations(pod)


def inject(pod: Object, mesh: InjectionSettings) -> Object:
    """Return a copy of the pod with a proxy.

    Args:
        pod: A pod that is about to be created, free of an earlier injection.
        mesh: Settings of the mesh.

    Raises:
        Invalid: An annotation, or the pod's own istio-proxy container, is not acceptable.
    """
    capture_rules(pod)  # refuses what the node could not enforce
    settings = proxy_settings(pod)
    FieldVerdict(errors=[*_own_container_errors(pod)]).raise_for_errors()
    injected = deepcopy(pod)
    spec, workload = injected["spec"], _Workload.of(pod)
    own: Object = next((one for one in spec["containers"] if one["name"] == PROXY), {})
    apps = [one for one in spec["containers"] if one["name"] != PROXY]
    proxy = _proxy(apps, settings, workload, mesh)
    if own.get("resources"):
        proxy["resources"] = own["resources"]
    spec["containers"] = [*apps, proxy]
    spec["volumes"] = [
        *(spec.get("volumes") or ()),
        *deepcopy(settings.volumes.volumes),
        _podinfo(),
        _token(),
    ]
    _add(injected, "labels", _labels(pod, workload))
    _add(injected, "annotations", _annotations(apps, mesh))
    added = [one["name"] for one in settings.volumes.volumes]
    injected["metadata"]["annotations"][STATUS] = _status(mesh, added)  # never an author's
    return injected


def without_injection(pod: Object) -> Object:
    """Return the pod without what an earlier injection added; the same object when nothing was."""
    if STATUS not in annotations(pod):
        return pod
    free = deepcopy(pod)
    spec, metadata = free["spec"], free["metadata"]
    for group, names in (
        ("containers", ISTIO_CONTAINERS),
        ("initContainers", ISTIO_CONTAINERS),
        ("volumes", ISTIO_VOLUMES | _authors_volumes(pod)),
    ):
        if spec.get(group):
            spec[group] = [one for one in spec[group] if one["name"] not in names]
    del metadata["annotations"][STATUS]
    if (metadata.get("labels") or {}).get(TLS_MODE) == "istio":
        del metadata["labels"][TLS_MODE]
    return free


def _authors_volumes(pod: Object) -> frozenset[str]:
    """Return the names of volumes that injection adds because the author asks for them."""
    try:
        return frozenset(one["name"] for one in proxy_volumes(annotations(pod)).volumes)
    except ValueError:
        return frozenset()  # injection says what is wrong


def reserved_name_errors(pod: Object) -> Iterator[FieldError]:
    """Yield a refusal for each container of a pod without a proxy that calls itself the proxy."""
    for group in ("initContainers", "containers"):
        for index, container in enumerate(pod["spec"].get(group) or ()):
            if container["name"] == PROXY:
                detail = f"{PROXY} is the container that injection adds, and this pod has none"
                yield forbidden(f"spec.{group}[{index}].name", detail)


def frozen_annotation_errors(pod: Object, old: Object) -> Iterator[FieldError]:
    """Yield a refusal for each annotation of an injected pod that is changed too late.

    The node reads them when it starts the pod, and again when it adopts the running pod: what it
    reads then must be what the pod was started with.
    """
    if not is_injected(old):
        return
    before, after = annotations(old), annotations(pod)
    for name in sorted(before.keys() | after.keys()):
        is_frozen = name in {STATUS, INTERCEPTION} or name.startswith(TRAFFIC)
        if is_frozen and before.get(name) != after.get(name):
            yield forbidden(annotation_path(name), "may not change once the pod exists")


def _own_container_errors(pod: Object) -> Iterator[FieldError]:
    for index, container in enumerate(pod["spec"].get("initContainers") or ()):
        if container["name"] == PROXY:
            detail = f"the name {PROXY} belongs to the container that injection adds"
            yield forbidden(f"spec.initContainers[{index}].name", detail)
    for index, container in enumerate(pod["spec"].get("containers") or ()):
        if container["name"] != PROXY:
            continue
        for field, value in container.items():
            if value and field not in OWN_FIELDS:
                path = f"spec.containers[{index}].{field}"
                yield forbidden(path, f"of {PROXY}, only resources may be set")


@dataclass(frozen=True, slots=True)
class _Workload:
    """Whose pod it is: the Deployment, Job … that made it, or itself."""

    name: str
    owner: str

    @staticmethod
    def of(pod: Object) -> "_Workload":
        metadata = pod["metadata"]
        namespace = metadata.get("namespace") or "default"
        own_name = metadata.get("name") or metadata.get("generateName", "").rstrip("-")
        version, kind, name = "v1", "Pod", own_name
        for reference in metadata.get("ownerReferences") or ():
            if reference.get("controller"):
                version, kind, name = (reference[key] for key in ("apiVersion", "kind", "name"))
        template = (metadata.get("labels") or {}).get(TEMPLATE_HASH, "")
        if kind == "ReplicaSet" and template and name.endswith(f"-{template}"):
            kind, name = "Deployment", name.removesuffix(f"-{template}")
        path = f"kubernetes://apis/{version}/namespaces/{namespace}/{kind.lower()}s/{name}"
        return _Workload(name, path)


def _labels(pod: Object, workload: _Workload) -> Mapping[str, str]:
    given = pod["metadata"].get("labels") or {}
    name = given.get("app.kubernetes.io/name") or given.get("app") or workload.name
    revision = given.get("app.kubernetes.io/version") or given.get("version") or "latest"
    return {
        TLS_MODE: "istio",
        CANONICAL_NAME: name[:MAX_LABEL].rstrip("-_."),
        CANONICAL_REVISION: revision[:MAX_LABEL].rstrip("-_."),
    }


def _annotations(apps: list[Object], mesh: InjectionSettings) -> Mapping[str, str]:
    defaults = {"istio.io/rev": mesh.revision}
    if apps:
        defaults |= {DEFAULT_CONTAINER: apps[0]["name"], DEFAULT_LOGS_CONTAINER: apps[0]["name"]}
    return defaults


def _status(mesh: InjectionSettings, volumes: list[str]) -> str:
    added = {
        "initContainers": None,
        "containers": [PROXY],
        "volumes": [*volumes, PODINFO, BOUND_TOKEN],
        "imagePullSecrets": None,
        "revision": mesh.revision,
    }
    return json.dumps(added, separators=(",", ":"))


def _add(pod: Object, where: str, values: Mapping[str, str]) -> None:
    """Add labels or annotations; what the author wrote stays."""
    metadata = pod["metadata"]
    metadata[where] = {**values, **(metadata.get(where) or {})}


def _podinfo() -> Object:
    items = [
        {"path": name, "fieldRef": {"apiVersion": "v1", "fieldPath": f"metadata.{name}"}}
        for name in ("labels", "annotations")
    ]
    return {"name": PODINFO, "downwardAPI": {"items": items}}


def _token() -> Object:
    source = {"audience": AUDIENCE, "expirationSeconds": TOKEN_SECONDS, "path": BOUND_TOKEN}
    return {"name": BOUND_TOKEN, "projected": {"sources": [{"serviceAccountToken": source}]}}


def _proxy(
    apps: list[Object], settings: ProxySettings, workload: _Workload, mesh: InjectionSettings
) -> Object:
    probe = {"httpGet": {"path": "/healthz/ready", "port": 15021}, "timeoutSeconds": 3}
    container: Object = {
        "name": PROXY,
        "image": IMAGE,
        "args": [
            *("proxy", "sidecar"),
            *("--domain", f"$(POD_NAMESPACE).svc.{mesh.cluster_domain}"),
            f"--proxyLogLevel={settings.log_level}",
        ],
        "env": _environment(apps, workload, mesh),
        "ports": [{"containerPort": 15090, "name": "http-envoy-prom", "protocol": "TCP"}],
        "resources": deepcopy(dict(settings.resources)),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            # NET_ADMIN marks its own connections, by which capture tells them apart.
            "capabilities": {"add": ["NET_ADMIN"], "drop": ["ALL"]},
            "privileged": False,
        },
        "startupProbe": {**probe, "periodSeconds": 1, "failureThreshold": 600},
        "volumeMounts": [
            {"name": PODINFO, "mountPath": "/etc/istio/pod"},
            {"name": BOUND_TOKEN, "mountPath": BOUND_FOLDER},
            *deepcopy(settings.volumes.mounts),
        ],
    }
    if settings.is_probed:
        container["readinessProbe"] = {
            **probe,
            "periodSeconds": 15,
            "failureThreshold": 4,
            **settings.readiness,
        }
    return container


def _environment(apps: list[Object], workload: _Workload, mesh: InjectionSettings) -> list[Object]:
    fields = {
        "POD_NAME": "metadata.name",
        "POD_NAMESPACE": "metadata.namespace",
        "INSTANCE_IP": "status.podIP",
        "SERVICE_ACCOUNT": "spec.serviceAccountName",
        "HOST_IP": "status.hostIP",
        "ISTIO_META_NODE_NAME": "spec.nodeName",
    }
    ports: list[Any] = [port for one in apps for port in one.get("ports") or ()]
    values = {
        "PILOT_CERT_PROVIDER": "istiod",
        "PROXY_CONFIG": "{}",
        "ISTIO_META_POD_PORTS": json.dumps(ports, separators=(",", ":")),
        "ISTIO_META_APP_CONTAINERS": ",".join(one["name"] for one in apps),
        "ISTIO_META_CLUSTER_ID": mesh.cluster_id,
        "ISTIO_META_INTERCEPTION_MODE": "REDIRECT",
        "ISTIO_META_WORKLOAD_NAME": workload.name,
        "ISTIO_META_OWNER": workload.owner,
        "ISTIO_META_MESH_ID": mesh.trust_domain,
        "TRUST_DOMAIN": mesh.trust_domain,
    }
    return [
        *(
            {"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}}
            for name, path in fields.items()
        ),
        *({"name": name, "value": value} for name, value in values.items()),
    ]
