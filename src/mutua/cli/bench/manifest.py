"""What the benchmark runs, as the manifests a user would write."""

import json
from collections.abc import Sequence
from typing import Final

from mutua.analysis.annotations import SUPPRESS
from mutua.analysis.codes import NO_SIDECAR
from mutua.api.object import Object
from mutua.cli.bench import floor

NAMESPACE: Final = "bench"

CERTIFICATES: Final = "/etc/bench"
"""Where the hand-written pair finds its certificate, key and root."""

FLOOR_SECRET: Final = "floor"  # noqa: S105 - a name
"""The Secret that holds them."""


def namespace() -> Object:
    """Return the namespace everything runs in; it asks for injection."""
    labels = {"istio-injection": "enabled"}
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": NAMESPACE, "labels": labels},
    }


def container(
    name: str, argv: list[str], *, port: int = 0, mounts: Sequence[Object] = ()
) -> Object:
    """Return one container that runs a program of the host; with a port, ready once it listens."""
    made: Object = {"name": name, "image": "host", "command": argv, "volumeMounts": [*mounts]}
    if port:
        made["readinessProbe"] = {"tcpSocket": {"port": port}, "periodSeconds": 1}
    return made


def deployment(
    name: str,
    containers: Sequence[Object],
    *,
    sidecar: bool,
    replicas: int = 1,
    volumes: Sequence[Object] = (),
) -> Object:
    """Return a Deployment.

    Args:
        name: Also the value of the label app.
        containers: What runs in each pod.
        sidecar: Whether the pods are injected.
        replicas: How many pods.
        volumes: Of the pods.
    """
    labels = {"app": name, "sidecar.istio.io/inject": "true" if sidecar else "false"}
    spec = {
        "containers": [*containers],
        "volumes": [*volumes],
        "terminationGracePeriodSeconds": 1,
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


def service(name: str, port: int) -> Object:
    """Return a Service of HTTP on one port."""
    ports = [{"name": "http", "port": port, "targetPort": port}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"selector": {"app": name}, "ports": ports},
    }


QUIET: Final = {SUPPRESS: NO_SIDECAR.code}
"""That the prober has no sidecar is the point of it, and not worth a warning per flip."""


def policy(mode: str) -> Object:
    """Return the namespace's PeerAuthentication."""
    return {
        "apiVersion": "security.istio.io/v1",
        "kind": "PeerAuthentication",
        "metadata": {"name": "default", "namespace": NAMESPACE, "annotations": QUIET},
        "spec": {"mtls": {"mode": mode}},
    }


def floor_half(role: str, argv: list[str], upstream: str, beside: Object | None) -> list[Object]:
    """Return the ConfigMap and Deployment of one half of the hand-written pair.

    Args:
        role: "client" or "server".
        argv: Envoy and its flags, without the configuration.
        upstream: Whom it dials.
        beside: A container in the same pod, or None.
    """
    name = f"floor-{role}"
    config = floor.envoy_config(role=role, upstream=upstream, folder=CERTIFICATES)
    config_map = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "data": {"envoy.json": json.dumps(config)},
    }
    volumes = [
        {"name": "config", "configMap": {"name": name}},
        {"name": "certificates", "secret": {"secretName": FLOOR_SECRET}},
    ]
    mounts = [
        {"name": "config", "mountPath": "/etc/floor"},
        {"name": "certificates", "mountPath": CERTIFICATES},
    ]
    port = floor.CLIENT_PORT if role == "client" else floor.SERVER_PORT
    envoy = container("envoy", [*argv, "-c", "/etc/floor/envoy.json"], port=port, mounts=mounts)
    containers = [envoy] if beside is None else [envoy, beside]
    return [config_map, deployment(name, containers, sidecar=False, volumes=volumes)]
