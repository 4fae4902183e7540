"""What a DestinationRule says besides TLS, as fields of an Envoy cluster.

    connectionPool     connect_timeout, circuit_breakers, keepalive, options of HTTP
    loadBalancer       lb_policy
    outlierDetection   outlier_detection, common_lb_config

Specification: istio-semantics section 6.5 (what is merged); istio
pilot/pkg/networking/core/cluster_traffic_policy.go (what it means to Envoy).
"""

from collections.abc import Mapping
from typing import Any, Final

from mutua.api.traffic import ConnectionPool, Keepalive, LoadBalancer, OutlierDetection
from mutua.model.settings import MeshSettings
from mutua.xds.compile.filters import duration

UNLIMITED: Final = 0xFFFFFFFF
"""Envoy's default limit of 1024 would be a circuit breaker nobody asked for (as in Istio)."""

ENFORCED: Final = {"value": 100}
NOT_ENFORCED: Final = {"value": 0}

POLICIES: Final[Mapping[str, str]] = {"RANDOM": "RANDOM", "ROUND_ROBIN": "ROUND_ROBIN"}
"""By `loadBalancer.simple`; everything else is LEAST_REQUEST, Istio's default."""

NO_POOL: Final = ConnectionPool()


def connection_fields(pool: ConnectionPool | None, settings: MeshSettings) -> dict[str, Any]:
    """Return how a cluster opens connections, and how many."""
    pool = pool or NO_POOL
    fields: dict[str, Any] = {
        "connect_timeout": duration(pool.connect_timeout or settings.connect_timeout),
        "circuit_breakers": {
            "thresholds": [
                {
                    "max_connections": _limit(pool.max_connections),
                    "max_pending_requests": _limit(pool.max_pending_requests),
                    "max_requests": _limit(pool.max_requests),
                    "max_retries": _limit(pool.max_retries),
                }
            ]
        },
    }
    if pool.keepalive is not None:
        fields["upstream_connection_options"] = {"tcp_keepalive": _keepalive(pool.keepalive)}
    return fields


def common_http(pool: ConnectionPool | None, lifetime: float | None) -> dict[str, Any]:
    """Return the HTTP options that do not depend on the version.

    Args:
        pool: What a rule says.
        lifetime: Seconds that a connection may live at most, whatever a rule says.
    """
    pool = pool or NO_POOL
    options: dict[str, Any] = {}
    limits = [one for one in (pool.max_connection_duration, lifetime) if one]
    if limits:
        options["max_connection_duration"] = duration(min(limits))
    if pool.idle_timeout:
        options["idle_timeout"] = duration(pool.idle_timeout)
    if pool.max_requests_per_connection:
        options["max_requests_per_connection"] = {"value": pool.max_requests_per_connection}
    return options


def http2(pool: ConnectionPool | None) -> dict[str, Any]:
    """Return the options of HTTP/2."""
    streams = (pool or NO_POOL).max_concurrent_streams
    return {"max_concurrent_streams": {"value": streams}} if streams else {}


def balancing(balancer: LoadBalancer | None) -> str:
    """Return how one of several endpoints is chosen."""
    return POLICIES.get(balancer.simple if balancer else "", "LEAST_REQUEST")


def ejection(outliers: OutlierDetection | None) -> dict[str, Any]:
    """Return when a cluster leaves an endpoint out, nothing for never."""
    if outliers is None:
        return {}
    detection: dict[str, Any] = {"enforcing_success_rate": NOT_ENFORCED}
    for name, enforcing, count in (
        ("consecutive_5xx", "enforcing_consecutive_5xx", outliers.consecutive_5xx),
        (
            "consecutive_gateway_failure",
            "enforcing_consecutive_gateway_failure",
            outliers.consecutive_gateway,
        ),
    ):
        if count is not None:
            detection[name] = {"value": count}
            detection[enforcing] = ENFORCED if count else NOT_ENFORCED
    if outliers.interval is not None:
        detection["interval"] = duration(outliers.interval)
    if outliers.base_ejection_time is not None:
        detection["base_ejection_time"] = duration(outliers.base_ejection_time)
    if outliers.max_ejection_percent:
        detection["max_ejection_percent"] = {"value": outliers.max_ejection_percent}
    if outliers.split_local:
        detection["split_external_local_origin_errors"] = True
        detection["enforcing_local_origin_success_rate"] = NOT_ENFORCED
        if outliers.consecutive_local:
            detection["consecutive_local_origin_failure"] = {"value": outliers.consecutive_local}
            detection["enforcing_consecutive_local_origin_failure"] = ENFORCED
    # Ejected endpoints are used again where so few are left; never, unless the rule says so.
    panic = {"value": float(outliers.min_health_percent)}
    return {
        "outlier_detection": detection,
        "common_lb_config": {"healthy_panic_threshold": panic},
    }


def _limit(count: int) -> dict[str, int]:
    return {"value": count or UNLIMITED}


def _keepalive(alive: Keepalive) -> dict[str, Any]:
    fields = {
        "keepalive_probes": alive.probes,
        "keepalive_time": alive.time,
        "keepalive_interval": alive.interval,
    }
    return {name: {"value": value} for name, value in fields.items() if value}
