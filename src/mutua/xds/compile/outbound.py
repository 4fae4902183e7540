"""Outbound listeners: what a pod's proxy does with connections that the pod opens.

    virtualOutbound   takes every captured connection, hands it to the listener whose address is
                      its original destination, else passes it through (or refuses it)
    0.0.0.0_P         whatever is not found by its address alone: HTTP Services on port P (the Host
                      header decides, route "P"), TLS by server name, networks, at last anything
    VIP_P             a TCP Service, or one whose protocol is detected
    IP_P              the same for every endpoint of a headless Service

Hardly any depends on the proxy, so proxies share them.

Deviates from Istio: the HTTP ports' listeners have no TLS inspector unless somebody is found by
server name there.  The HTTP inspector already sends everything that is not HTTP to the TCP chain,
with one inspection less per connection.
Deviates from Istio: a headless Service's listener for the client's own address is not left out;
a pod's connections to itself are never captured, so it is never used.
Specification: istio-semantics section 3.1.
"""

from dataclasses import dataclass
from typing import Any, Final

from mutua.model.settings import MeshSettings
from mutua.xds.compile import filters, names
from mutua.xds.compile.access_log import listener_logs
from mutua.xds.proto import HttpSetFilterState, Listener, NetworkSetFilterState, pack
from mutua.xds.resource import Resource, resource

UPSTREAM_ALPN: Final = "envoy.network.application_protocols"
"""Well-known filter state: a comma-separated list that replaces the cluster's ALPN tokens."""

ANY_ADDRESS: Final = "0.0.0.0"  # noqa: S104 - a name of captured traffic; these ports are not bound


def virtual_outbound(settings: MeshSettings) -> Resource:
    """Return the listener for all captured outbound connections."""
    listener = Listener(
        name=names.VIRTUAL_OUTBOUND,
        traffic_direction="OUTBOUND",
        address=_address(ANY_ADDRESS, names.OUTBOUND_PORT),
        use_original_dst={"value": True},
        max_connections_to_accept_per_socket_event={"value": 1},
        access_log=listener_logs(settings.access_log),
        filter_chains=[
            {
                "name": "virtualOutbound-blackhole",
                "filter_chain_match": {"destination_port": {"value": names.OUTBOUND_PORT}},
                "filters": [filters.tcp_proxy(names.BLACK_HOLE_CLUSTER, settings)],
            }
        ],
        default_filter_chain=_elsewhere(settings) | {"name": "virtualOutbound-catchall-tcp"},
    )
    return _resource(listener)


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a TCP connection goes.

    Attributes:
        cluster: Its cluster.
        detected: Whether the cluster serves HTTP too, so that the connection must offer the ALPN
            tokens of TCP instead of the cluster's.
    """

    cluster: str
    detected: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedPort:
    """Everything that the listener 0.0.0.0_P depends on.

    Attributes:
        http: Whether HTTP is served, by route "P".
        by_name: TLS server names and where they go.
        by_network: Networks and where connections to them go.
        otherwise: Where everything else goes, None for where it was going anyway.
    """

    http: bool = False
    by_name: tuple[tuple[str, str], ...] = ()
    by_network: tuple[tuple[str, Destination], ...] = ()
    otherwise: Destination | None = None


def shared_port(port: int, shape: SharedPort, settings: MeshSettings) -> Resource:
    """Return the listener for everything on a port that has no address of its own."""
    inspectors, chains = [], []
    if shape.by_name:
        inspectors.append(filters.tls_inspector())
        chains += [_named_chain(name, cluster, settings) for name, cluster in shape.by_name]
    if shape.http:
        inspectors.append(filters.http_inspector())
        # Beside the TLS inspector, which reports what TLS offers: that is not what is in plain.
        transport = "raw_buffer" if shape.by_name else ""
        http = _http(ANY_ADDRESS, port, str(port), settings)
        chains.append(_chain(names.PLAIN_HTTP, [http], transport))
    chains += [_network_chain(network, to, settings) for network, to in shape.by_network]
    otherwise = shape.otherwise
    last = _elsewhere(settings) if otherwise is None else {"filters": _copy(otherwise, settings)}
    return _listener(
        ANY_ADDRESS,
        port,
        settings,
        **({"listener_filters": inspectors} if inspectors else {}),
        filter_chains=chains,
        default_filter_chain=last,
    )


def tcp_port(address: str, port: int, hostname: str, settings: MeshSettings) -> Resource:
    """Return the listener for a TCP port of one Service at one address."""
    proxy = filters.tcp_proxy(names.outbound_cluster(port, hostname), settings)
    return _listener(address, port, settings, filter_chains=[{"filters": [proxy]}])


def detected_port(
    address: str, port: int, hostname: str, settings: MeshSettings, *, ours: bool
) -> Resource:
    """Return the listener for a port whose protocol the first bytes decide.

    One cluster serves all three protocols; it offers the ALPN tokens of HTTP/1.1, and the other
    two chains say what to offer instead.

    Args:
        address: The Service's address, or that of an endpoint.
        port: The Service's port.
        hostname: The Service's name.
        settings: Of the mesh.
        ours: Whether its TLS, if any, is the mesh's; other servers understand no such token.
    """
    route = f"{hostname}:{port}"
    http2 = _http(address, port, route, settings, http_filters=[_offer_http2()] if ours else [])
    to = Destination(names.outbound_cluster(port, hostname), detected=ours)
    return _listener(
        address,
        port,
        settings,
        listener_filters=[filters.http_inspector()],
        filter_chains=[
            _chain(("http/1.1",), [_http(address, port, route, settings)]),
            _chain(("h2c",), [http2]),
        ],
        default_filter_chain={"filters": _copy(to, settings)},
    )


def _listener(address: str, port: int, settings: MeshSettings, **fields: Any) -> Resource:
    waits = "listener_filters" in fields
    listener = Listener(
        name=f"{address}_{port}",
        traffic_direction="OUTBOUND",
        address=_address(address, port),
        # Reached through virtualOutbound only.
        bind_to_port={"value": False},
        listener_filters_timeout=filters.duration(settings.detection_timeout) if waits else None,
        continue_on_listener_filters_timeout=waits,
        **fields,
    )
    return _resource(listener)


def _resource(listener: Any) -> Resource:
    return resource(listener.name, listener.SerializeToString(deterministic=True))


def _address(address: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": address, "port_value": port}}


def _chain(
    protocols: tuple[str, ...], chain_filters: list[dict[str, Any]], transport: str = ""
) -> dict[str, Any]:
    match: dict[str, Any] = {"application_protocols": protocols}
    if transport:
        match["transport_protocol"] = transport
    return {"filter_chain_match": match, "filters": chain_filters}


def _named_chain(name: str, cluster: str, settings: MeshSettings) -> dict[str, Any]:
    return {
        "filter_chain_match": {"transport_protocol": "tls", "server_names": [name]},
        "filters": [filters.tcp_proxy(cluster, settings)],
    }


def _network_chain(network: str, to: Destination, settings: MeshSettings) -> dict[str, Any]:
    address, _, length = network.partition("/")
    prefix = {"address_prefix": address, "prefix_len": {"value": int(length)}}
    return {"filter_chain_match": {"prefix_ranges": [prefix]}, "filters": _copy(to, settings)}


def _copy(to: Destination, settings: MeshSettings) -> list[dict[str, Any]]:
    return [*([_offer_tcp()] if to.detected else []), filters.tcp_proxy(to.cluster, settings)]


def _elsewhere(settings: MeshSettings) -> dict[str, Any]:
    """Return the chain for destinations that are no Service."""
    known_only = not settings.allow_any_outbound
    cluster = names.BLACK_HOLE_CLUSTER if known_only else names.PASSTHROUGH_CLUSTER
    return {"name": cluster, "filters": [filters.tcp_proxy(cluster, settings)]}


def _http(
    address: str, port: int, route: str, settings: MeshSettings, **fields: Any
) -> dict[str, Any]:
    return filters.http_connection_manager(
        f"outbound_{address}_{port}", settings, rds=filters.rds(route), **fields
    )


def _offer_http2() -> dict[str, Any]:
    config = HttpSetFilterState(on_request_headers=[_offer(names.CLIENT_ALPN_HTTP2)])
    return {"name": "envoy.filters.http.set_filter_state", "typed_config": pack(config)}


def _offer_tcp() -> dict[str, Any]:
    config = NetworkSetFilterState(on_new_connection=[_offer(names.CLIENT_ALPN_TCP)])
    return {"name": "envoy.filters.network.set_filter_state", "typed_config": pack(config)}


def _offer(tokens: tuple[str, ...]) -> dict[str, Any]:
    return {
        "object_key": UPSTREAM_ALPN,
        "format_string": {"text_format_source": {"inline_string": ",".join(tokens)}},
        "shared_with_upstream": "ONCE",
    }
