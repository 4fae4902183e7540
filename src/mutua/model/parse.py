"""From Kubernetes objects to the model's typed values, one object at a time.

The API server validated these objects; a real Kubernetes may hold some that mutua does not
understand.  Reading is therefore lenient where a field only adds information, and what cannot
take part in the mesh (finished pods, ExternalName services) gives None.
"""

from dataclasses import dataclass
from typing import Final

from mutua.api.condition import find_condition, is_true
from mutua.api.object import Object
from mutua.api.proxy_volumes import FILES
from mutua.api.service_entry import Resolution
from mutua.foundation.spiffe import SpiffeId
from mutua.model.service import Protocol, Service, ServiceName, ServicePort, port_protocol
from mutua.model.settings import MeshSettings
from mutua.model.workload import Workload

SERVICE_NAME_LABEL: Final = "kubernetes.io/service-name"
"""Label of an EndpointSlice that names its Service."""

LOCAL_ACCOUNTS: Final = "alpha.istio.io/kubernetes-serviceaccounts"
"""Annotation of a Service: further service accounts of its namespace, comma separated."""

CANONICAL_ACCOUNTS: Final = "alpha.istio.io/canonical-serviceaccounts"
"""Annotation of a Service: further identities in full, comma separated."""

EXPORT_TO: Final = "networking.istio.io/exportTo"
"""Annotation of a Service: namespaces whose clients see it, comma separated."""

HEADLESS: Final = "None"
"""`spec.clusterIP` of a Service without one."""


@dataclass(frozen=True, slots=True)
class SliceEndpoint:
    """One endpoint of a slice, not yet joined with its pod.

    Attributes:
        address: IP address.
        ready: Whether it receives traffic.
        pod: uid of the pod it refers to, "" when it refers to none.
    """

    address: str
    ready: bool
    pod: str


@dataclass(frozen=True, slots=True)
class Slice:
    """One EndpointSlice.

    Attributes:
        service: Whose endpoints these are.
        ports: Port name to container port.
        endpoints: Its endpoints.
    """

    service: ServiceName
    ports: dict[str, int]
    endpoints: tuple[SliceEndpoint, ...]


def parse_workload(pod: Object) -> Workload | None:
    """Return the workload of a pod, None when the pod has finished."""
    meta, spec, status = pod["metadata"], pod.get("spec") or {}, pod.get("status") or {}
    if status.get("phase") in {"Succeeded", "Failed"}:
        return None
    containers = [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]
    return Workload(
        uid=meta["uid"],
        namespace=meta["namespace"],
        name=meta["name"],
        address=status.get("podIP") or "",
        labels=meta.get("labels") or {},
        service_account=spec.get("serviceAccountName") or "default",
        container_ports={
            port["name"]: port["containerPort"]
            for container in containers
            for port in container.get("ports") or []
            if port.get("name") and port.get("protocol", "TCP") == "TCP"
        },
        ready=is_true(pod, "Ready"),
        files=(find_condition(pod, FILES) or {}).get("message") or "",
    )


def parse_service(obj: Object, settings: MeshSettings) -> Service | None:
    """Return a Service, None when it has no endpoints by nature (ExternalName)."""
    meta, spec = obj["metadata"], obj.get("spec") or {}
    if spec.get("type") == "ExternalName":
        return None
    name = ServiceName(meta["namespace"], meta["name"])
    address = spec.get("clusterIP") or ""
    annotations = meta.get("annotations") or {}
    return Service(
        id=name,
        hostname=f"{name.name}.{name.namespace}.svc.{settings.dns_domain}",
        created=meta.get("creationTimestamp") or "",
        addresses=(address,) if address and address != HEADLESS else (),
        resolution=Resolution.NONE if address == HEADLESS else Resolution.STATIC,
        ports=_ports(spec),
        selector=spec.get("selector") or {},
        identities=_identities(annotations, name.namespace, settings),
        export_to=tuple(_comma_list(annotations.get(EXPORT_TO))),
    )


def parse_slice(obj: Object) -> Slice | None:
    """Return an EndpointSlice, None when it belongs to no Service or has other addresses."""
    meta = obj["metadata"]
    service = (meta.get("labels") or {}).get(SERVICE_NAME_LABEL)
    if not service or obj.get("addressType", "IPv4") != "IPv4":
        return None
    return Slice(
        ServiceName(meta["namespace"], service),
        {
            port.get("name") or "": port["port"]
            for port in obj.get("ports") or []
            if port.get("port") and (port.get("protocol") or "TCP") == "TCP"
        },
        tuple(
            SliceEndpoint(address, _is_ready(endpoint), _pod(endpoint))
            for endpoint in obj.get("endpoints") or []
            for address in endpoint.get("addresses") or []
        ),
    )


def _ports(spec: Object) -> tuple[ServicePort, ...]:
    ports = (
        ServicePort(
            number=port["port"],
            name=port.get("name") or "",
            protocol=port_protocol(
                port["port"],
                name=port.get("name") or "",
                app_protocol=port.get("appProtocol") or "",
                transport=port.get("protocol") or "TCP",
            ),
            target=port.get("targetPort") or port["port"],
        )
        for port in spec.get("ports") or []
    )
    return tuple(port for port in ports if port.protocol is not Protocol.UDP)


def _identities(
    annotations: dict[str, str], namespace: str, settings: MeshSettings
) -> tuple[str, ...]:
    local = _comma_list(annotations.get(LOCAL_ACCOUNTS))
    canonical = _comma_list(annotations.get(CANONICAL_ACCOUNTS))
    return tuple(
        sorted(
            {
                *(str(SpiffeId(settings.trust_domain, namespace, account)) for account in local),
                *canonical,
            }
        )
    )


def _comma_list(text: str | None) -> list[str]:
    return [part.strip() for part in (text or "").split(",") if part.strip()]


def _is_ready(endpoint: Object) -> bool:
    # "A nil value should be interpreted as true" (discovery/v1 EndpointConditions.ready).
    return (endpoint.get("conditions") or {}).get("ready") is not False


def _pod(endpoint: Object) -> str:
    target = endpoint.get("targetRef") or {}
    return (target.get("uid") or "") if target.get("kind") == "Pod" else ""
