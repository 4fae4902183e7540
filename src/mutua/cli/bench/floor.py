"""The floor: two Envoys with the least configuration that speaks mutual TLS, written by hand.

What a mesh can at best cost is what these two cost; the benchmark runs them as ordinary pods
without sidecars, next to the mesh's own.
"""

from typing import Any, Final

CLIENT_PORT: Final = 9001
SERVER_PORT: Final = 9002
APP_PORT: Final = 9000

_TLS: Final = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3."
_HCM: Final = (
    "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3."
    "HttpConnectionManager"
)
_ROUTER: Final = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"


def envoy_config(*, role: str, upstream: str, folder: str) -> dict[str, Any]:
    """Return the static configuration of one half of the pair.

    Args:
        role: "client" listens in plaintext and dials mTLS; "server" the other way round.
        upstream: Address of the server's pod for the client; of the application for the server.
        folder: Where cert.pem, key.pem and root.pem are.
    """
    tls = {
        "tls_certificates": [
            {
                "certificate_chain": {"filename": f"{folder}/cert.pem"},
                "private_key": {"filename": f"{folder}/key.pem"},
            }
        ],
        "validation_context": {"trusted_ca": {"filename": f"{folder}/root.pem"}},
        "tls_params": {
            "tls_minimum_protocol_version": "TLSv1_3",
            "tls_maximum_protocol_version": "TLSv1_3",  # a client's default is 1.2
        },
    }
    is_client = role == "client"
    chain: dict[str, Any] = {"filters": [_http_filter(role)]}
    cluster = _cluster(upstream, SERVER_PORT if is_client else APP_PORT)
    if is_client:
        cluster["transport_socket"] = _socket("UpstreamTlsContext", {"common_tls_context": tls})
    else:
        context = {"common_tls_context": tls, "require_client_certificate": True}
        chain["transport_socket"] = _socket("DownstreamTlsContext", context)
    port = CLIENT_PORT if is_client else SERVER_PORT
    listener = {"name": role, "address": _address("0.0.0.0", port), "filter_chains": [chain]}  # noqa: S104
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


def _socket(name: str, context: dict[str, Any]) -> dict[str, Any]:
    return {"name": "tls", "typed_config": {"@type": _TLS + name, **context}}


def _address(host: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": host, "port_value": port}}


def _cluster(host: str, port: int) -> dict[str, Any]:
    endpoint = {"endpoint": {"address": _address(host, port)}}
    assignment = {"cluster_name": "up", "endpoints": [{"lb_endpoints": [endpoint]}]}
    return {"name": "up", "type": "STATIC", "connect_timeout": "10s", "load_assignment": assignment}


def _http_filter(role: str) -> dict[str, Any]:
    route = {"match": {"prefix": "/"}, "route": {"cluster": "up"}}
    config = {
        "@type": _HCM,
        "stat_prefix": role,
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        "http_filters": [{"name": "router", "typed_config": {"@type": _ROUTER}}],
    }
    return {"name": "http", "typed_config": config}
