"""How long may a connection with mutual TLS live?  Less than what is left of its certificates.

    certificate  |─────────────── lifetime ───────────────|
    renewal                      [45 %..55 %)
    connection                         |──── 40 % ────|     begun at the last moment before renewal

A connection is begun with certificates that have 45 % of their lifetime ahead, at least.  So HTTP
connections that end, gracefully, after 40 % never meet an expiry: HTTP/2 peers are told to go away
and finish their requests, HTTP/1.1 answers say `connection: close`.  Clients go first, so that in
the normal case no server closes under a request that is on its way.  Envoy has no jitter for this;
connections are as spread as their beginnings are.
"""

from typing import Any, Final

from mutua.model.settings import MeshSettings
from mutua.xds.compile.filters import duration

CLIENT_SHARE: Final = 0.35
SERVER_SHARE: Final = 0.4
"""Of a certificate's lifetime, after which either side ends a connection (dimensionless)."""


def client_lifetime(settings: MeshSettings) -> float:
    """Return the seconds that a client keeps an HTTP connection with mutual TLS."""
    return round(settings.workload_cert_ttl * CLIENT_SHARE, 3)


def server_lifetime(settings: MeshSettings) -> dict[str, Any]:
    """Return the fields of an HTTP connection manager with mutual TLS in front of it."""
    limit = duration(round(settings.workload_cert_ttl * SERVER_SHARE, 3))
    return {
        "common_http_protocol_options": {"max_connection_duration": limit},
        "http1_safe_max_connection_duration": True,
    }
