"""Clusters: where a proxy sends bytes, and how it protects them.

    outbound|P||host         a Service port; mTLS or plaintext per endpoint
    inbound|P||              the application next to the proxy
    PassthroughCluster       wherever the client was going, as it is
    InboundPassthroughCluster  the application's undeclared ports
    BlackHoleCluster         nowhere

Upstream sockets of outbound clusters carry a firewall mark, or capture would send them round in
circles; those to the application come from 127.0.0.6 instead, which capture knows too.
Specification: istio-semantics sections 2.1, 3.2 and 3.4.
"""

from dataclasses import dataclass
from typing import Any, Final

from mutua.model.service import Protocol
from mutua.model.settings import MeshSettings
from mutua.xds.compile import names
from mutua.xds.compile.filters import ADS
from mutua.xds.compile.tls import plaintext, upstream_tls
from mutua.xds.proto import Cluster, UpstreamHttpProtocolOptions, pack
from mutua.xds.resource import Resource, resource

INBOUND_SOURCE: Final = "127.0.0.6"
"""Source address of connections to the application (section 2.1)."""

MARKED: Final = {
    "socket_options": [
        {
            "description": "mark",
            "level": 1,  # SOL_SOCKET
            "name": 36,  # SO_MARK
            "int_value": names.MARK,
            "state": "STATE_PREBIND",
        }
    ]
}
"""How outbound clusters bind."""

UNLIMITED: Final = {"value": 0xFFFFFFFF}
"""Envoy's default limit of 1024 would be a circuit breaker nobody asked for (as in Istio)."""

CIRCUIT_BREAKERS: Final = {
    "thresholds": [
        {
            "max_connections": UNLIMITED,
            "max_pending_requests": UNLIMITED,
            "max_requests": UNLIMITED,
            "max_retries": UNLIMITED,
        }
    ]
}


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundShape:
    """Everything an outbound cluster depends on.

    Attributes:
        hostname: The Service's name.
        port: The Service's port.
        protocol: What it speaks.
        headless: Whether the client chose the endpoint itself, by address.
        mutual_tls: Whether to use mTLS: to endpoints that are flagged, or to all when headless.
        identities: SPIFFE IDs that the servers may prove, sorted.
    """

    hostname: str
    port: int
    protocol: Protocol
    headless: bool
    mutual_tls: bool
    identities: tuple[str, ...]


def outbound(shape: OutboundShape, settings: MeshSettings) -> Resource:
    """Return the cluster for one port of a Service."""
    fields: dict[str, Any] = {"upstream_bind_config": MARKED, **_http(shape.protocol)}
    if shape.headless:
        fields |= {"type": "ORIGINAL_DST", "lb_policy": "CLUSTER_PROVIDED"}
        if shape.mutual_tls:
            fields["transport_socket"] = _mesh_tls(shape, settings)
    else:
        fields |= {
            "type": "EDS",
            "lb_policy": "LEAST_REQUEST",
            "eds_cluster_config": {"eds_config": ADS},
        }
        if shape.mutual_tls:
            fields["transport_socket_matches"] = _per_endpoint(_mesh_tls(shape, settings))
    return _cluster(names.outbound_cluster(shape.port, shape.hostname), settings, **fields)


def inbound(port: int, protocol: Protocol, settings: MeshSettings) -> Resource:
    """Return the cluster for a port of the application."""
    return _cluster(names.inbound_cluster(port), settings, **_to_application(), **_http(protocol))


def passthrough(settings: MeshSettings) -> tuple[Resource, ...]:
    """Return the clusters that every proxy has."""
    anything = _http(Protocol.AUTO)
    return (
        _cluster(
            names.PASSTHROUGH_CLUSTER,
            settings,
            type="ORIGINAL_DST",
            lb_policy="CLUSTER_PROVIDED",
            upstream_bind_config=MARKED,
            **anything,
        ),
        _cluster(names.INBOUND_PASSTHROUGH_CLUSTER, settings, **_to_application(), **anything),
        _cluster(names.BLACK_HOLE_CLUSTER, settings, type="STATIC"),
    )


def _cluster(name: str, settings: MeshSettings, **fields: Any) -> Resource:
    whole, fraction = divmod(settings.connect_timeout, 1)
    cluster = Cluster(
        name=name,
        connect_timeout={"seconds": int(whole), "nanos": round(fraction * 1e9)},
        circuit_breakers=CIRCUIT_BREAKERS,
        **fields,
    )
    return resource(name, cluster.SerializeToString(deterministic=True))


def _to_application() -> dict[str, Any]:
    source = {"address": INBOUND_SOURCE, "port_value": 0}
    return {
        "type": "ORIGINAL_DST",
        "lb_policy": "CLUSTER_PROVIDED",
        "upstream_bind_config": {"source_address": source},
    }


def _http(protocol: Protocol) -> dict[str, Any]:
    """Return which HTTP a cluster speaks; nothing for HTTP/1.1, which is Envoy's default."""
    if protocol.is_http2:
        options: dict[str, Any] = {"explicit_http_config": {"http2_protocol_options": {}}}
    elif protocol is Protocol.AUTO:
        options = {
            "use_downstream_protocol_config": {
                "http_protocol_options": {},
                "http2_protocol_options": {},
            }
        }
    else:
        return {}
    key = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    packed = pack(UpstreamHttpProtocolOptions(**options))
    return {"typed_extension_protocol_options": {key: packed}}


def _mesh_tls(shape: OutboundShape, settings: MeshSettings) -> dict[str, Any]:
    return upstream_tls(
        alpn=_alpn(shape.protocol),
        sni=names.server_name(shape.port, shape.hostname),
        identities=shape.identities,
        settings=settings,
    )


def _alpn(protocol: Protocol) -> tuple[str, ...]:
    """Return what a client offers; listeners override it where a port carries several protocols."""
    if protocol.is_http2:
        return names.CLIENT_ALPN_HTTP2
    if protocol.is_http or protocol is Protocol.AUTO:
        return names.CLIENT_ALPN_HTTP1
    return names.CLIENT_ALPN_TCP


def _per_endpoint(mesh_tls: dict[str, Any]) -> list[dict[str, Any]]:
    """Return automatic mTLS: endpoints that EDS flags get TLS, the others plaintext."""
    return [
        {
            "name": "tlsMode-istio",
            "match": {"tlsMode": "istio"},
            "transport_socket": mesh_tls,
        },
        {"name": "tlsMode-disabled", "match": {}, "transport_socket": plaintext()},
    ]
