"""Clusters: where a proxy sends bytes, and how it protects them.

    outbound|P|subset|host   a Service port; what a DestinationRule says, else mTLS per endpoint
    inbound|P||              the application next to the proxy
    PassthroughCluster       wherever the client was going, as it is
    InboundPassthroughCluster  the application's undeclared ports
    BlackHoleCluster         nowhere

Upstream sockets of outbound clusters carry a firewall mark, or capture would send them round in
circles; those to the application come from 127.0.0.6 instead, which capture knows too, or go to
127.0.0.1, which is never captured.
Specification: istio-semantics sections 2.1, 3.2 and 3.4.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from mutua.api.destination import ClientTls, TlsMode
from mutua.api.object import Key
from mutua.api.service_entry import Resolution
from mutua.api.traffic import ConnectionPool, LoadBalancer, OutlierDetection
from mutua.model.service import Protocol
from mutua.model.settings import MeshSettings
from mutua.xds.compile import names
from mutua.xds.compile.endpoints import Target, load_assignment
from mutua.xds.compile.filters import ADS, duration
from mutua.xds.compile.lifetime import client_lifetime
from mutua.xds.compile.origination import foreign_tls, host_decides
from mutua.xds.compile.tls import plaintext, secrets_kept, upstream_tls
from mutua.xds.compile.traffic import (
    balancing,
    common_http,
    connection_fields,
    ejection,
    http2,
)
from mutua.xds.proto import Cluster, UpstreamHttpProtocolOptions, pack
from mutua.xds.resource import Resource, reading, resource

LOCALHOST: Final = "127.0.0.1"
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


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundShape:
    """Everything an outbound cluster depends on.

    Attributes:
        hostname: The Service's name.
        port: The Service's port.
        subset: The subset's name, "" for all endpoints.
        protocol: What the port speaks.
        http2: Whether to speak HTTP/2 although the port says HTTP.
        resolution: How endpoints are found; NONE when the client chose one itself, by address.
        tls: What a DestinationRule says; None for automatic mTLS.
        automatic: Whether to use mTLS where no rule says otherwise: to endpoints that are flagged,
            or to all when the client chooses the endpoint.
        identities: Whom servers may prove to be, sorted: SPIFFE IDs, or a ServiceEntry's names.
        servers: Endpoints whose names the proxy resolves itself.
        balancer: What a rule says about the choice of an endpoint.
        pool: What it says about connections.
        outliers: What it says about endpoints that fail.
        origins: The DestinationRules that shaped it.
    """

    hostname: str
    port: int
    subset: str = ""
    protocol: Protocol
    http2: bool = False
    resolution: Resolution = Resolution.STATIC
    tls: ClientTls | None = None
    automatic: bool
    identities: tuple[str, ...]
    servers: tuple[Target, ...] = ()
    balancer: LoadBalancer | None = None
    pool: ConnectionPool | None = None
    outliers: OutlierDetection | None = None
    origins: tuple[Key, ...] = ()

    @property
    def name(self) -> str:
        """The cluster's name."""
        return names.outbound_cluster(self.port, self.hostname, self.subset)


DISCOVERY: Final[Mapping[Resolution, Mapping[str, Any]]] = {
    Resolution.STATIC: {
        "type": "EDS",
        "eds_cluster_config": {"eds_config": ADS},
    },
    Resolution.NONE: {"type": "ORIGINAL_DST", "lb_policy": "CLUSTER_PROVIDED"},
    Resolution.DNS: {"type": "STRICT_DNS"},
    Resolution.DNS_ROUND_ROBIN: {"type": "LOGICAL_DNS"},
}
"""How each resolution looks to Envoy (istio-semantics section 3.2)."""


def outbound(shape: OutboundShape, settings: MeshSettings) -> Resource:
    """Return the cluster for one port of a Service, or of one of its subsets."""
    fields: dict[str, Any] = {
        "upstream_bind_config": MARKED,
        "lb_policy": balancing(shape.balancer),
        **DISCOVERY[shape.resolution],
        **ejection(shape.outliers),
        **_transport(shape, settings),
        **_http(shape.protocol, shape, settings),
    }
    if shape.resolution in {Resolution.DNS, Resolution.DNS_ROUND_ROBIN}:
        fields |= {
            "load_assignment": load_assignment(shape.name, shape.servers),
            "dns_lookup_family": "V4_ONLY",
            "dns_refresh_rate": duration(settings.dns_refresh_rate),
            "respect_dns_ttl": True,
        }
        if not shape.servers:  # a subset that nobody is in: Envoy wants one server for LOGICAL_DNS
            fields |= DISCOVERY[Resolution.DNS]
    if shape.origins:
        fields["metadata"] = _described_by(shape.origins[0], shape.subset)
    return _cluster(shape.name, settings, shape.pool, origins=shape.origins, **fields)


def reread(cluster: Resource, files: str) -> Resource:
    """Return a cluster that names files of the proxy, as one that is to read this version of them.

    Envoy reads files when it makes a cluster, and makes it anew only when it differs.  So the
    version is in the metadata, where it means nothing.

    Args:
        cluster: The cluster.
        files: Which version of the files there is.
    """
    metadata = {"filter_metadata": {"mutua": {"fields": {"files": {"string_value": files}}}}}
    # Serialized messages that follow one another are one message (protobuf encoding, "last one
    # wins"): maps grow.
    more = Cluster(metadata=metadata).SerializeToString(deterministic=True)
    return reading(cluster, cluster.body + more, files)


def inbound(port: int, protocol: Protocol, settings: MeshSettings) -> Resource:
    """Return the cluster for a port of the application that a Service exposes."""
    name = names.inbound_cluster(port)
    where = _to_localhost(name, port) if settings.inbound_to_localhost else _to_application()
    return _cluster(name, settings, **where, **_http(protocol))


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
        _cluster(
            names.BLACK_HOLE_CLUSTER, settings, type="STATIC", transport_socket=secrets_kept()
        ),
    )


def _cluster(
    name: str,
    settings: MeshSettings,
    pool: ConnectionPool | None = None,
    *,
    origins: tuple[Key, ...] = (),
    **fields: Any,
) -> Resource:
    cluster = Cluster(name=name, **connection_fields(pool, settings), **fields)
    return resource(name, cluster.SerializeToString(deterministic=True), origins)


def _to_application() -> dict[str, Any]:
    source = {"address": INBOUND_SOURCE, "port_value": 0}
    return {
        "type": "ORIGINAL_DST",
        "lb_policy": "CLUSTER_PROVIDED",
        "upstream_bind_config": {"source_address": source},
    }


def _to_localhost(name: str, port: int) -> dict[str, Any]:
    """Return how an application is met that listens on the loopback device only.

    Capture lets through what goes to 127.0.0.1, whatever it comes from.
    """
    address = {"socket_address": {"address": LOCALHOST, "port_value": port}}
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": address}}]}]
    return {
        "type": "STATIC",
        "load_assignment": {"cluster_name": name, "endpoints": endpoints},
    }


def _http(
    protocol: Protocol,
    shape: OutboundShape | None = None,
    settings: MeshSettings | None = None,
) -> dict[str, Any]:
    """Return which HTTP a cluster speaks; nothing for plain HTTP/1.1, which is Envoy's default."""
    options: dict[str, Any] = {}
    is_http = protocol.is_http or protocol is Protocol.AUTO
    tls = shape.tls if shape is not None else None
    pool = shape.pool if shape is not None else None
    if protocol.is_http2 or (shape is not None and shape.http2):
        options = {"explicit_http_config": {"http2_protocol_options": http2(pool)}}
    elif protocol is Protocol.AUTO:
        options = {
            "use_downstream_protocol_config": {
                "http_protocol_options": {},
                "http2_protocol_options": {},
            }
        }
    if shape is not None and tls is not None and tls.mode in FOREIGN and is_http:
        options = options or {"explicit_http_config": {"http_protocol_options": {}}}
        options["upstream_http_protocol_options"] = host_decides(tls, shape.identities)
    if shape is not None and settings is not None and is_http:
        lifetime = client_lifetime(settings) if _may_be_mutual(shape) else None
        if common := common_http(pool, lifetime):
            options = options or {"explicit_http_config": {"http_protocol_options": {}}}
            options["common_http_protocol_options"] = common
    if not options:
        return {}
    key = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    packed = pack(UpstreamHttpProtocolOptions(**options))
    return {"typed_extension_protocol_options": {key: packed}}


def _may_be_mutual(shape: OutboundShape) -> bool:
    return shape.automatic if shape.tls is None else shape.tls.mode is TlsMode.ISTIO_MUTUAL


FOREIGN: Final = frozenset({TlsMode.SIMPLE, TlsMode.MUTUAL})
"""TLS that is not the mesh's."""


def _transport(shape: OutboundShape, settings: MeshSettings) -> dict[str, Any]:
    """Return how bytes are protected: a row of istio-semantics section 3.4."""
    tls = shape.tls
    if tls is None:
        if not shape.automatic:
            return {}
        mesh_tls = _mesh_tls(shape, settings)
        if shape.resolution is Resolution.NONE:
            # No endpoint of it is known beforehand, so none can be flagged.
            return {"transport_socket": mesh_tls}
        return {"transport_socket_matches": _per_endpoint(mesh_tls)}
    if tls.mode is TlsMode.DISABLE:
        return {}
    if tls.mode is TlsMode.ISTIO_MUTUAL:
        return {"transport_socket": _mesh_tls(shape, settings)}
    socket = foreign_tls(tls, settings, http2=_speaks_http2(shape), expected=shape.identities)
    return {"transport_socket": socket}


def _mesh_tls(shape: OutboundShape, settings: MeshSettings) -> dict[str, Any]:
    sni, identities = "", shape.identities
    if shape.tls is not None:
        sni = shape.tls.sni
        if shape.tls.subject_alt_names is not None:
            identities = shape.tls.subject_alt_names
    return upstream_tls(
        alpn=_alpn(shape),
        sni=sni or names.server_name(shape.port, shape.hostname, shape.subset),
        identities=identities,
        settings=settings,
    )


def _alpn(shape: OutboundShape) -> tuple[str, ...]:
    """Return what a client offers; listeners override it where a port carries several protocols."""
    if _speaks_http2(shape):
        return names.CLIENT_ALPN_HTTP2
    if shape.protocol.is_http or shape.protocol is Protocol.AUTO:
        return names.CLIENT_ALPN_HTTP1
    return names.CLIENT_ALPN_TCP


def _speaks_http2(shape: OutboundShape) -> bool:
    return shape.protocol.is_http2 or shape.http2


def _described_by(rule: Key, subset: str) -> dict[str, Any]:
    """Return the metadata by which Istio's tools name the rule behind a cluster."""
    path = f"/apis/networking.istio.io/v1/namespaces/{rule.namespace}/destination-rule/{rule.name}"
    fields = {"config": {"string_value": path}}
    if subset:
        fields["subset"] = {"string_value": subset}
    return {"filter_metadata": {"istio": {"fields": fields}}}


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
