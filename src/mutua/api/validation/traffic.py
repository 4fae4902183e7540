"""DestinationRule: what is refused, and what has no effect, of pools, load balancing and ejection.

Source of what is refused: istio pkg/config/validation validateConnectionPool,
validateOutlierDetection, validateLoadBalancer.  Deviates from Istio: keepalive that Linux does not
take is refused too, since it would break every connection.
"""

from collections.abc import Iterator
from typing import Any, Final

from mutua.api.duration import duration_fault
from mutua.api.object import Object
from mutua.api.verdict import FieldError, invalid, required

SHORTEST: Final = 0.001
"""Seconds (istio pkg/config/validation ValidateDuration)."""

LONGEST: Final = 315_576_000_000.0
"""Seconds: ten thousand years, the longest duration of protobuf."""

LONGEST_CONNECT: Final = 3600.0
"""Seconds: more to connect is a mistake in the unit."""

KEEPALIVE: Final = (1.0, 32767.0)
"""Seconds that Linux takes for TCP_KEEPIDLE and TCP_KEEPINTVL (tcp.h MAX_TCP_KEEPIDLE)."""

MOST_PROBES: Final = 127
"""Keepalive probes that Linux takes (tcp.h MAX_TCP_KEEPCNT)."""

WHOLE: Final = 100
"""Percent."""

NOT_ACTED_ON: Final = ("tunnel", "proxyProtocol", "retryBudget")
"""Blocks of a trafficPolicy."""

OF_BALANCER: Final = (
    "consistentHash",
    "localityLbSetting",
    "warmup",
    "warmupDurationSecs",
)


def traffic_errors(path: str, policy: Object) -> Iterator[FieldError]:
    """Yield what is wrong with a policy, or with an entry for a port."""
    if (pool := policy.get("connectionPool")) is not None:
        yield from _pool_errors(f"{path}.connectionPool", pool)
    if (outliers := policy.get("outlierDetection")) is not None:
        yield from _outlier_errors(f"{path}.outlierDetection", outliers)


def traffic_warnings(path: str, policy: Object) -> Iterator[str]:
    """Yield what a policy, or an entry for a port, says without effect."""
    for name in NOT_ACTED_ON:
        if policy.get(name) is not None:
            yield _stored(f"{path}.{name}")
    balancer = policy.get("loadBalancer") or {}
    for name in OF_BALANCER:
        if balancer.get(name) is not None:
            yield _stored(f"{path}.loadBalancer.{name}")
    pool = policy.get("connectionPool") or {}
    if (pool.get("http") or {}).get("useClientProtocol"):
        yield _stored(f"{path}.connectionPool.http.useClientProtocol")
    for name in ("maxConnectionDuration", "idleTimeout"):
        if (pool.get("tcp") or {}).get(name) is not None:
            yield f"{path}.connectionPool.tcp.{name}: has an effect on HTTP only"
    if (policy.get("outlierDetection") or {}).get("consecutiveErrors") is not None:
        yield (
            f"{path}.outlierDetection.consecutiveErrors: has no effect; "
            "use consecutiveGatewayErrors or consecutive5xxErrors"
        )


def _stored(path: str) -> str:
    return f"{path}: stored, but has no effect here"


def _pool_errors(path: str, pool: Object) -> Iterator[FieldError]:
    tcp, http = pool.get("tcp"), pool.get("http")
    if tcp is None and http is None:
        yield required(path, "must set tcp or http")
    tcp, http = tcp or {}, http or {}
    yield from _duration(f"{path}.tcp", tcp, "connectTimeout", SHORTEST, LONGEST_CONNECT)
    for name in ("maxConnectionDuration", "idleTimeout"):
        yield from _duration(f"{path}.tcp", tcp, name)
    yield from _duration(f"{path}.http", http, "idleTimeout")
    alive = tcp.get("tcpKeepalive") or {}
    for name in ("time", "interval"):
        yield from _duration(f"{path}.tcp.tcpKeepalive", alive, name, *KEEPALIVE)
    if (alive.get("probes") or 0) > MOST_PROBES:
        where = f"{path}.tcp.tcpKeepalive.probes"
        yield invalid(where, alive["probes"], f"must be {MOST_PROBES} at most")
    if http.get("h2UpgradePolicy") == "UPGRADE" and http.get("useClientProtocol"):
        where = f"{path}.http.useClientProtocol"
        yield invalid(where, True, "must not be true when h2UpgradePolicy is UPGRADE")  # noqa: FBT003


def _outlier_errors(path: str, outliers: Object) -> Iterator[FieldError]:
    for name in ("interval", "baseEjectionTime"):
        yield from _duration(path, outliers, name)
    for name in ("maxEjectionPercent", "minHealthPercent"):
        if (outliers.get(name) or 0) > WHOLE:
            yield invalid(f"{path}.{name}", outliers[name], f"must be {WHOLE} at most")
    local = "consecutiveLocalOriginFailures"
    if outliers.get(local) and not outliers.get("splitExternalLocalOriginErrors"):
        detail = "means nothing unless splitExternalLocalOriginErrors is true"
        yield invalid(f"{path}.{local}", outliers[local], detail)


def _duration(
    path: str, block: Object, name: str, low: float = SHORTEST, high: float = LONGEST
) -> Iterator[FieldError]:
    value: Any = block.get(name)
    if value is not None and (fault := duration_fault(value, low, high)):
        yield invalid(f"{path}.{name}", value, fault)
