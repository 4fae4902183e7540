"""The control plane as objects: Deployment and Service `istiod` of namespace `istio-system`.

They are created when they are missing, and belong to their owner from then on: whoever scales the
Deployment to 0, or deletes the Service, finds it so after the next start of the daemon.  (A deleted
one comes back then, as `istioctl install` would bring it back.)
"""

from collections.abc import Mapping
from typing import Any, Final

from mutua.api.object import DEPLOYMENTS, SERVICE_ACCOUNTS, SERVICES, Object, Resource
from mutua.api.verdict import FieldError, Verdict, forbidden
from mutua.cluster.node.control_plane_pod import IMAGE, NAME, NAMESPACE
from mutua.store.port import AlreadyExists, ObjectStore

LABELS: Final[Mapping[str, str]] = {"app": "istiod", "istio": "pilot"}

MONITORING_PORT: Final = 15014
"""/metrics, /ready, /version (istio-semantics 8.1)."""

CSR_PORT: Final = 15012
"""IstioCertificateService, over TLS (istio-semantics 4.2)."""

PORTS: Final[Mapping[str, int]] = {
    "https-dns": CSR_PORT,
    "http-monitoring": MONITORING_PORT,
}
"""What really listens, under Istio's names."""

GRACE: Final = 30
"""Seconds from SIGTERM to SIGKILL; it needs a fraction of one."""

HOSTED: Final = "mutua.io/hosted"
"""Annotation of the pod that says why it has the node's address."""


async def create_control_plane(store: ObjectStore) -> None:
    """Create what is missing of Deployment, Service and their account."""
    for resource, obj in (
        (SERVICE_ACCOUNTS, _object("v1", "ServiceAccount")),
        (SERVICES, _service()),
        (DEPLOYMENTS, _deployment()),
    ):
        try:
            await store.create(resource, obj)
        except AlreadyExists:
            continue


async def is_scaled_to_zero(store: ObjectStore) -> bool:
    """Tell whether its owner wants no control plane."""
    deployment = await store.get(DEPLOYMENTS, NAMESPACE, NAME)
    return bool(deployment["spec"].get("replicas") == 0)


async def admit_deployment(resource: Resource, obj: Object, _old: Object | None) -> Object:
    """Refuse a Deployment istiod that could have two pods at once (an admission hook).

    Raises:
        Invalid: It could.
    """
    metadata = obj["metadata"]
    if resource == DEPLOYMENTS and (metadata.get("namespace"), metadata["name"]) == (
        NAMESPACE,
        NAME,
    ):
        Verdict(errors=_two_at_once(obj["spec"])).raise_for_errors()
    return obj


def _two_at_once(spec: Mapping[str, Any]) -> list[FieldError]:
    errors = []
    if (spec.get("replicas") or 0) > 1:
        detail = "the mesh of one machine has one control plane: use 1, or 0 to stop it"
        errors.append(forbidden("spec.replicas", detail))
    if (spec.get("strategy") or {}).get("type") != "Recreate":
        detail = "must be Recreate: the new control plane starts when the old one has ended"
        errors.append(forbidden("spec.strategy.type", detail))
    return errors


def _object(version: str, kind: str, **content: Any) -> Object:
    metadata = {"namespace": NAMESPACE, "name": NAME, "labels": dict(LABELS)}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **content}


def _service() -> Object:
    ports = [
        {"name": name, "port": port, "targetPort": port, "protocol": "TCP"}
        for name, port in PORTS.items()
    ]
    return _object("v1", "Service", spec={"selector": dict(LABELS), "ports": ports})


def _deployment() -> Object:
    container = {
        "name": "discovery",
        "image": IMAGE,
        "ports": [
            {"name": name, "containerPort": port, "protocol": "TCP"} for name, port in PORTS.items()
        ],
        "readinessProbe": {
            "httpGet": {"path": "/ready", "port": MONITORING_PORT},
            "periodSeconds": 3,
            "timeoutSeconds": 5,
        },
    }
    annotations = {
        HOSTED: "runs inside the mesh's daemon, at the node's address",
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(MONITORING_PORT),
        "sidecar.istio.io/inject": "false",
    }
    template = {
        "metadata": {
            "labels": {**LABELS, "sidecar.istio.io/inject": "false"},
            "annotations": annotations,
        },
        "spec": {
            "serviceAccountName": NAME,
            "terminationGracePeriodSeconds": GRACE,
            "containers": [container],
        },
    }
    return _object(
        "apps/v1",
        "Deployment",
        spec={
            "replicas": 1,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": dict(LABELS)},
            "template": template,
        },
    )
