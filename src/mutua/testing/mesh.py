"""Builders of Kubernetes objects: a mesh in a few lines."""

from collections.abc import Mapping
from typing import Any, Final

from mutua.api.kinds import find_by_kind
from mutua.api.object import Object, Resource

CREATED: Final = "2026-01-01T00:00:00Z"
"""creationTimestamp unless told otherwise."""


def pod(
    namespace: str,
    name: str,
    address: str = "",
    *,
    labels: Mapping[str, str] | None = None,
    meshed: bool = True,
    **spec: Any,
) -> Object:
    """Return a running pod labelled `app: <name>`, with a sidecar unless `meshed` is false."""
    sidecar = {"security.istio.io/tlsMode": "istio"} if meshed else {}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "namespace": namespace,
            "name": name,
            "uid": f"{namespace}-{name}",
            "labels": {"app": name, **sidecar, **(labels or {})},
        },
        "spec": {"serviceAccountName": name, **spec},
        "status": {"phase": "Running", "podIP": address},
    }


def service(
    namespace: str,
    name: str,
    *ports: Mapping[str, Any],
    address: str = "10.96.0.9",
    created: str = CREATED,
    **spec: Any,
) -> Object:
    """Return a Service that selects `app: <name>`."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"namespace": namespace, "name": name, "creationTimestamp": created},
        "spec": {"clusterIP": address, "selector": {"app": name}, "ports": list(ports), **spec},
    }


def endpoint_slice(
    owner: Object, pods: list[Object], *, ready: bool = True, name: str = "1"
) -> Object:
    """Return the EndpointSlice of a Service with numeric target ports."""
    meta = owner["metadata"]
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "namespace": meta["namespace"],
            "name": f"{meta['name']}-{name}",
            "labels": {"kubernetes.io/service-name": meta["name"]},
        },
        "addressType": "IPv4",
        "ports": [
            {"name": port.get("name", ""), "port": port.get("targetPort", port["port"])}
            for port in owner["spec"]["ports"]
        ],
        "endpoints": [
            {
                "addresses": [one["status"]["podIP"]],
                "conditions": {"ready": ready},
                "targetRef": {"kind": "Pod", "uid": one["metadata"]["uid"]},
            }
            for one in pods
        ],
    }


def peer_authentication(
    namespace: str,
    mode: str | None,
    *,
    name: str = "default",
    created: str = CREATED,
    **spec: Any,
) -> Object:
    """Return a PeerAuthentication."""
    mtls = {} if mode is None else {"mtls": {"mode": mode}}
    return {
        "apiVersion": "security.istio.io/v1",
        "kind": "PeerAuthentication",
        "metadata": {"namespace": namespace, "name": name, "creationTimestamp": created},
        "spec": {**mtls, **spec},
    }


def destination_rule(
    namespace: str,
    host: str,
    policy: Mapping[str, Any] | None = None,
    *,
    name: str = "rule",
    created: str = CREATED,
    **spec: Any,
) -> Object:
    """Return a DestinationRule; `policy` is its trafficPolicy."""
    traffic = {} if policy is None else {"trafficPolicy": dict(policy)}
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "DestinationRule",
        "metadata": {"namespace": namespace, "name": name, "creationTimestamp": created},
        "spec": {"host": host, **traffic, **spec},
    }


def service_entry(
    namespace: str,
    host: str,
    *ports: Mapping[str, Any],
    name: str = "entry",
    created: str = CREATED,
    **spec: Any,
) -> Object:
    """Return a ServiceEntry for one host."""
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "ServiceEntry",
        "metadata": {"namespace": namespace, "name": name, "creationTimestamp": created},
        "spec": {"hosts": [host], "ports": list(ports), **spec},
    }


def namespace(name: str, injection: str | None = "enabled", **labels: str) -> Object:
    """Return a Namespace; `injection` None leaves the label away."""
    asked = {} if injection is None else {"istio-injection": injection}
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": {**asked, **labels}},
    }


def deployment(
    namespace: str,
    name: str,
    *ports: int,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
) -> Object:
    """Return a Deployment whose pods are labelled `app: <name>` and declare these ports."""
    container = {
        "name": "app",
        "image": "app",
        "ports": [{"containerPort": port} for port in ports],
    }
    wanted = {"app": name, **(labels or {})}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": wanted, "annotations": dict(annotations or {})},
                "spec": {"containers": [container]},
            },
        },
    }


def by_resource(*objects: Object) -> dict[Resource, list[Object]]:
    """Return objects in the form that `build_snapshot` takes."""
    found: dict[Resource, list[Object]] = {}
    for obj in objects:
        kind = find_by_kind(obj["apiVersion"], obj["kind"])
        assert kind is not None, f"no such kind: {obj['kind']}"  # noqa: S101 - a bug in a test
        found.setdefault(kind.resource, []).append(obj)
    return found
