"""What a DestinationRule says besides TLS, as typed values: pools, load balancing, ejection.

Each of the three is taken or left as a whole when rules are merged (istio-semantics 6.5).  What
mutua does not act on is not here; admission warns of it (mutua.api.validation.traffic).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mutua.api.duration import parse_duration

Block = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Keepalive:
    """TCP keepalive; 0 is the system's default.

    Attributes:
        probes: Unanswered ones after which a connection is dead.
        time: Whole seconds of silence before the first.
        interval: Whole seconds between two.
    """

    probes: int = 0
    time: int = 0
    interval: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionPool:
    """One `connectionPool`; 0 is no limit, or the mesh's default.

    Attributes:
        max_connections: Of one proxy to all endpoints together.
        connect_timeout: Seconds.
        keepalive: None for none.
        max_connection_duration: Seconds, of HTTP connections.
        max_pending_requests: Requests that wait for a connection.
        max_requests: Requests under way.
        max_requests_per_connection: After which it is closed.
        max_retries: Retries under way.
        idle_timeout: Seconds without a request after which an HTTP connection is closed.
        h2_upgrade: "UPGRADE", "DO_NOT_UPGRADE", or "" for the mesh's default.
        max_concurrent_streams: Requests under way on one HTTP/2 connection.
    """

    max_connections: int = 0
    connect_timeout: float = 0.0
    keepalive: Keepalive | None = None
    max_connection_duration: float = 0.0
    max_pending_requests: int = 0
    max_requests: int = 0
    max_requests_per_connection: int = 0
    max_retries: int = 0
    idle_timeout: float = 0.0
    h2_upgrade: str = ""
    max_concurrent_streams: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class OutlierDetection:
    """One `outlierDetection`; None is Envoy's default.

    Attributes:
        consecutive_5xx: Errors in a row after which an endpoint is ejected; 0 for never.
        consecutive_gateway: The same of 502, 503 and 504.
        split_local: Whether failures to connect are counted apart.
        consecutive_local: Of these, in a row; 0 for Envoy's default.
        interval: Seconds between two looks.
        base_ejection_time: Seconds of the first ejection.
        max_ejection_percent: Of all endpoints; 0 for Envoy's default.
        min_health_percent: Of all endpoints; with fewer healthy ones, ejected ones are used too.
    """

    consecutive_5xx: int | None = None
    consecutive_gateway: int | None = None
    split_local: bool = False
    consecutive_local: int = 0
    interval: float | None = None
    base_ejection_time: float | None = None
    max_ejection_percent: int = 0
    min_health_percent: int = 0


@dataclass(frozen=True, slots=True)
class LoadBalancer:
    """One `loadBalancer`.

    Attributes:
        simple: As written, "" when not given.
    """

    simple: str = ""


def read_connection_pool(block: Block | None) -> ConnectionPool | None:
    """Read a `connectionPool` of the right shape, None for none."""
    if block is None:
        return None
    tcp, http = block.get("tcp") or {}, block.get("http") or {}
    upgrade = http.get("h2UpgradePolicy") or "DEFAULT"
    return ConnectionPool(
        max_connections=tcp.get("maxConnections") or 0,
        connect_timeout=_seconds(tcp, "connectTimeout") or 0.0,
        keepalive=_keepalive(tcp.get("tcpKeepalive")),
        max_connection_duration=_seconds(tcp, "maxConnectionDuration") or 0.0,
        max_pending_requests=http.get("http1MaxPendingRequests") or 0,
        max_requests=http.get("http2MaxRequests") or 0,
        max_requests_per_connection=http.get("maxRequestsPerConnection") or 0,
        max_retries=http.get("maxRetries") or 0,
        idle_timeout=_seconds(http, "idleTimeout") or _seconds(tcp, "idleTimeout") or 0.0,
        h2_upgrade="" if upgrade == "DEFAULT" else upgrade,
        max_concurrent_streams=http.get("maxConcurrentStreams") or 0,
    )


def read_outlier_detection(block: Block | None) -> OutlierDetection | None:
    """Read an `outlierDetection` of the right shape, None for none."""
    if block is None:
        return None
    return OutlierDetection(
        consecutive_5xx=block.get("consecutive5xxErrors"),
        consecutive_gateway=block.get("consecutiveGatewayErrors"),
        split_local=bool(block.get("splitExternalLocalOriginErrors")),
        consecutive_local=block.get("consecutiveLocalOriginFailures") or 0,
        interval=_seconds(block, "interval"),
        base_ejection_time=_seconds(block, "baseEjectionTime"),
        max_ejection_percent=block.get("maxEjectionPercent") or 0,
        min_health_percent=block.get("minHealthPercent") or 0,
    )


def read_load_balancer(block: Block | None) -> LoadBalancer | None:
    """Read a `loadBalancer` of the right shape, None for none."""
    return None if block is None else LoadBalancer(block.get("simple") or "")


def _keepalive(block: Block | None) -> Keepalive | None:
    if block is None:
        return None
    return Keepalive(
        probes=block.get("probes") or 0,
        time=int(_seconds(block, "time") or 0),
        interval=int(_seconds(block, "interval") or 0),
    )


def _seconds(block: Block, name: str) -> float | None:
    return parse_duration(block.get(name) or "")
