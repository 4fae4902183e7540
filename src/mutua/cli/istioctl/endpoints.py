"""`proxy-config endpoint`: one row per endpoint, from Envoy's own list of hosts."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from mutua.api.object import Object
from mutua.cli.istioctl.dump import section

HEADER: Final = ("ENDPOINT", "STATUS", "OUTLIER CHECK", "CLUSTER")

UNKNOWN: Final = "UNKNOWN"
"""Health that nobody said anything about."""


def address_of(host: Object) -> str:
    """Return `ip:port` or `unix://path`."""
    address = host.get("address", {})
    if "pipe" in address:
        return f"unix://{address['pipe'].get('path', '')}"
    socket = address.get("socketAddress", {})
    return f"{socket.get('address', '')}:{socket.get('portValue', 0)}"


def status_of(host: Object) -> str:
    """Return HEALTHY, UNHEALTHY, DRAINING and so on."""
    health = host.get("healthStatus", {})
    if health.get("failedActiveHealthCheck"):
        return "UNHEALTHY"
    return str(health.get("edsHealthStatus", UNKNOWN))


def outlier_of(host: Object) -> str:
    """Return FAILED for an endpoint that outlier detection has ejected, else OK."""
    return "FAILED" if host.get("healthStatus", {}).get("failedOutlierCheck") else "OK"


def held(dump: Mapping[str, Any]) -> list[Object]:
    """Return the endpoints in a readable config dump, in the form of /clusters.

    None when it was saved without them.  What the proxy itself found out about them, by health
    checks or outlier detection, is not in it.
    """
    part = section(dump, "EndpointsConfigDump")
    return [
        _status(one["endpointConfig"])
        for field in ("staticEndpointConfigs", "dynamicEndpointConfigs")
        for one in part.get(field, ())
        if "endpointConfig" in one
    ]


def _status(assignment: Object) -> Object:
    hosts = [
        {
            "address": one.get("endpoint", {}).get("address", {}),
            "healthStatus": {"edsHealthStatus": _health(one.get("healthStatus", UNKNOWN))},
        }
        for locality in assignment.get("endpoints", ())
        for one in locality.get("lbEndpoints", ())
    ]
    return {"name": assignment.get("clusterName", ""), "hostStatuses": hosts}


def _health(said: str) -> str:
    """Return how Envoy takes what the control plane said of an endpoint."""
    return "HEALTHY" if said == UNKNOWN else said


def select(statuses: Sequence[Object], wanted: Mapping[str, str]) -> list[Object]:
    """Return the clusters that have a matching endpoint, with the matching endpoints only.

    Args:
        statuses: `clusterStatuses` of a readable answer of /clusters.
        wanted: `address`, `port`, `cluster` and `status`.
    """

    def fits(host: Object) -> bool:
        address, _, port = address_of(host).rpartition(":")
        return (
            wanted.get("address") in {None, "", address}
            and wanted.get("port") in {None, "", port}
            and (wanted.get("status") or "").upper() in {"", status_of(host)}
        )

    found = []
    for one in statuses:
        hosts = [host for host in one.get("hostStatuses", ()) if fits(host)]
        if hosts and wanted.get("cluster") in {None, "", one["name"]}:
            found.append({**one, "hostStatuses": hosts})
    return found


def rows(statuses: Sequence[Object], prefix: str = "") -> list[tuple[str, ...]]:
    """Return one row per endpoint, by address and cluster."""
    found = [
        (prefix + address_of(host), status_of(host), outlier_of(host), one["name"])
        for one in statuses
        for host in one["hostStatuses"]
    ]
    return sorted(found, key=lambda row: (row[0], row[3]))
