"""Which addresses stand behind a Service?  From Services and Pods to EndpointSlices.  Pure.

Pods that resolve the target ports differently (a named port) get slices of their own.  Source:
Kubernetes EndpointSlice documentation and `endpointslice/reconciler.go`.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from mutua.api.object import Object
from mutua.cluster.controllers.ownership import is_terminating, owner_reference
from mutua.cluster.controllers.pod_facts import is_finished, is_ready

SERVICE_NAME: Final = "kubernetes.io/service-name"
MANAGED_BY: Final = "endpointslice.kubernetes.io/managed-by"
CONTROLLER: Final = "endpointslice-controller.k8s.io"

PER_SLICE: Final = 100
"""Endpoints in one slice (kube-controller-manager --max-endpoints-per-slice)."""

Ports = tuple[tuple[str, int, str, str], ...]
"""(name, number, protocol, appProtocol) for every port of the Service."""


def selects(service: Object, pod: Object) -> bool:
    """Tell whether a Service's selector matches a pod of its namespace."""
    selector = service["spec"].get("selector")
    if not selector:
        return False
    labels = pod["metadata"].get("labels") or {}
    return all(labels.get(name) == value for name, value in selector.items())


def endpoint_slices(service: Object, pods: Iterable[Object]) -> list[Object]:
    """Return the slices that a Service with a selector should have, in a stable order."""
    groups: dict[Ports, list[dict[str, Any]]] = {}
    for pod in sorted(pods, key=lambda pod: str(pod["metadata"]["name"])):
        if selects(service, pod) and _is_reachable(pod):
            groups.setdefault(_resolve(service, pod), []).append(_endpoint(service, pod))
    if not groups:
        groups[()] = []
    return [
        _slice(service, ports, endpoints[start : start + PER_SLICE], start // PER_SLICE)
        for ports, endpoints in sorted(groups.items())
        for start in range(0, max(1, len(endpoints)), PER_SLICE)
    ]


def _is_reachable(pod: Object) -> bool:
    return bool((pod.get("status") or {}).get("podIP")) and not is_finished(pod)


def _resolve(service: Object, pod: Object) -> Ports:
    ports = []
    for port in service["spec"].get("ports") or []:
        protocol = port.get("protocol") or "TCP"
        number = target_port(port, protocol, pod)
        if number is not None:
            ports.append((port.get("name") or "", number, protocol, port.get("appProtocol") or ""))
    return tuple(ports)


def target_port(port: Mapping[str, Any], protocol: str, pod: Object) -> int | None:
    """Return the container port that a Service port leads to, None when the pod lacks the name."""
    target = port.get("targetPort") or port["port"]
    if isinstance(target, int):
        return target
    if target.isdecimal():
        return int(target)
    for container in pod["spec"]["containers"]:
        for offered in container.get("ports") or []:
            same_protocol = (offered.get("protocol") or "TCP") == protocol
            if offered.get("name") == target and same_protocol:
                return int(offered["containerPort"])
    return None


def _endpoint(service: Object, pod: Object) -> dict[str, Any]:
    leaving = is_terminating(pod)
    serving = is_ready(pod) or bool(service["spec"].get("publishNotReadyAddresses"))
    metadata, spec = pod["metadata"], pod["spec"]
    named = spec.get("hostname") and spec.get("subdomain") == service["metadata"]["name"]
    return {
        "addresses": [pod["status"]["podIP"]],
        "conditions": {
            "ready": serving and not leaving,
            "serving": serving,
            "terminating": leaving,
        },
        **({"hostname": spec["hostname"]} if named else {}),
        "nodeName": spec.get("nodeName", ""),
        "targetRef": {
            "kind": "Pod",
            "namespace": metadata["namespace"],
            "name": metadata["name"],
            "uid": metadata["uid"],
        },
    }


def _slice(service: Object, ports: Ports, endpoints: Sequence[dict[str, Any]], page: int) -> Object:
    metadata = service["metadata"]
    digest = hashlib.sha256(f"{metadata['uid']}\0{ports}\0{page}".encode()).hexdigest()[:6]
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "namespace": metadata["namespace"],
            "name": f"{metadata['name']}-{digest}",
            "labels": {
                **(metadata.get("labels") or {}),
                SERVICE_NAME: metadata["name"],
                MANAGED_BY: CONTROLLER,
                **({"service.kubernetes.io/headless": ""} if _is_headless(service) else {}),
            },
            "ownerReferences": [owner_reference(service)],
        },
        "addressType": "IPv4",
        "endpoints": list(endpoints),
        "ports": [_port(*port) for port in ports],
    }


def _is_headless(service: Object) -> bool:
    return bool(service["spec"].get("clusterIP") == "None")


def _port(name: str, number: int, protocol: str, app_protocol: str) -> dict[str, Any]:
    port = {"name": name, "port": number, "protocol": protocol}
    return {**port, "appProtocol": app_protocol} if app_protocol else port
