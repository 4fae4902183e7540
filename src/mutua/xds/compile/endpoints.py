"""Endpoints: the addresses behind a cluster, each flagged when it accepts mutual TLS.

Specification: istio-semantics section 3.4, "EDS endpoint gets …".
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from mutua.api.destination import TlsMode
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


MUTUAL_TLS: Final = {"sub_zone": "mutual-tls"}
"""Locality of flagged endpoints.  Envoy keeps the pooled connections of an endpoint whose flag
changes, but an endpoint that moves to another locality is a new one: requests under way end, and
all others take connections of the new kind.  Nothing else depends on the locality."""


class Target(NamedTuple):
    """Everything an endpoint's entry depends on."""

    address: str
    port: int
    mutual_tls: bool


def targets(
    endpoints: tuple[Endpoint, ...],
    modes: ModeIndex,
    *,
    flag: TlsMode | None = None,
    labels: Mapping[str, str] | None = None,
) -> tuple[Target, ...]:
    """Return what traffic may go to, and how: ready endpoints only.

    Args:
        endpoints: Those of a Service port.
        modes: What servers accept.
        flag: The TLS mode of a DestinationRule, which flags all endpoints alike.
        labels: Those of a subset; None for all endpoints.
    """
    return tuple(
        Target(
            endpoint.address,
            endpoint.port,
            _accepts_mutual_tls(endpoint, modes) if flag is None else flag is TlsMode.ISTIO_MUTUAL,
        )
        for endpoint in endpoints
        if endpoint.ready and (not labels or _is_labelled(endpoint, labels))
    )


def assignment(cluster: str, found: tuple[Target, ...]) -> Resource:
    """Return the endpoints of a cluster, for endpoint discovery."""
    assigned = load_assignment(cluster, found)
    return resource(cluster, assigned.SerializeToString(deterministic=True))


def load_assignment(cluster: str, found: tuple[Target, ...]) -> Any:
    """Return the endpoints of a cluster as Envoy's message."""
    assigned = ClusterLoadAssignment(cluster_name=cluster)
    for flagged, place in ((False, {}), (True, {"locality": MUTUAL_TLS})):
        if entries := [_entry(target) for target in found if target.mutual_tls is flagged]:
            assigned.endpoints.add(lb_endpoints=entries, **place)
    return assigned


def _is_labelled(endpoint: Endpoint, labels: Mapping[str, str]) -> bool:
    pod = endpoint.workload
    return pod is not None and labels.items() <= pod.labels.items()


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
