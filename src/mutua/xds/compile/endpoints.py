"""Endpoints: the addresses behind a cluster, each flagged when it accepts mutual TLS.

Specification: istio-semantics section 3.4, "EDS endpoint gets …".
"""

from typing import Any, Final, NamedTuple

from mutua.api.security import MutualTlsMode
from mutua.model.workload import Endpoint
from mutua.xds.compile.modes import ModeIndex
from mutua.xds.proto import ClusterLoadAssignment
from mutua.xds.resource import Resource, resource

FLAG: Final = {
    "filter_metadata": {
        "envoy.transport_socket_match": {"fields": {"tlsMode": {"string_value": "istio"}}}
    }
}
"""What makes the cluster's `tlsMode-istio` transport socket apply to an endpoint."""


class Target(NamedTuple):
    """Everything an endpoint's entry depends on."""

    address: str
    port: int
    mutual_tls: bool


def targets(endpoints: tuple[Endpoint, ...], modes: ModeIndex) -> tuple[Target, ...]:
    """Return what traffic may go to, and how: ready endpoints only."""
    return tuple(
        Target(endpoint.address, endpoint.port, _accepts_mutual_tls(endpoint, modes))
        for endpoint in endpoints
        if endpoint.ready
    )


def assignment(cluster: str, found: tuple[Target, ...]) -> Resource:
    """Return the endpoints of a cluster."""
    assigned = ClusterLoadAssignment(cluster_name=cluster)
    if found:
        assigned.endpoints.add(lb_endpoints=[_entry(target) for target in found])
    return resource(cluster, assigned.SerializeToString(deterministic=True))


def _accepts_mutual_tls(endpoint: Endpoint, modes: ModeIndex) -> bool:
    pod = endpoint.workload
    if pod is None or not pod.accepts_mutual_tls:
        return False
    return modes.workload(pod).of(endpoint.port) is not MutualTlsMode.DISABLE


def _entry(target: Target) -> dict[str, Any]:
    address = {"socket_address": {"address": target.address, "port_value": target.port}}
    entry: dict[str, Any] = {"endpoint": {"address": address}}
    if target.mutual_tls:
        entry["metadata"] = FLAG
    return entry
