"""Who is meant by a connection on a port that several share?  Two answers, to be compared.

`meant` reads istio-semantics 3.1: a network that has the address, else the server name of TLS, else
HTTP when it is HTTP, else whoever takes everything.  `chosen` knows nothing of Services, only how
Envoy chooses a filter chain: by address, then server name, then transport, then application
protocol, each time the best match, and never going back.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any, Final, TypeVar

from mutua.model.service import Protocol, Service
from mutua.model.snapshot import MeshSnapshot
from mutua.model.workload import Workload
from mutua.policy.destination_rule import PUBLIC
from mutua.policy.inbound import Content
from mutua.policy.outbound import is_exported
from mutua.xds.proto import Listener, TcpProxy
from mutua.xds.resource import LISTENER, ProxyResources

One = TypeVar("One")

HTTP: Final = "HTTP, by its Host header"
ELSEWHERE: Final = "where it was going"

TLS_INSPECTOR: Final = "envoy.filters.listener.tls_inspector"
HTTP_INSPECTOR: Final = "envoy.filters.listener.http_inspector"
HTTP_PROXY: Final = "envoy.filters.network.http_connection_manager"
NO_SERVICE: Final = frozenset({"PassthroughCluster", "BlackHoleCluster"})
OFFERED: Final = "http/1.1"
"""What programs offer in TLS of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A connection that a program opens to an address that is no Service's.

    Attributes:
        address: Where to.
        content: What it says; not SERVER_FIRST.
        server_name: Whom its TLS asks for.
    """

    address: str
    content: Content
    server_name: str = ""


OPENED: Final = tuple(
    Opened(address=address, content=content, server_name=name)
    for address in ("10.99.0.1", "10.7.0.1", "10.7.1.1")
    for content, name in (
        (Content.HTTP, ""),
        (Content.CLIENT_FIRST, ""),
        (Content.TLS, "api.example.com"),
        (Content.TLS, "db.example.com"),
        (Content.TLS, "any.example.org"),
        (Content.TLS, "unknown.example"),
    )
)
"""Connections to places in and out of the networks of generated meshes."""


def meant(mesh: MeshSnapshot, client: Workload, port: int, opened: Opened) -> str:
    """Return the cluster of the Service that a connection means, or HTTP, or ELSEWHERE."""
    sharing = list(_sharing(mesh, client, port))
    tcp = [(one, kind) for one, kind in sharing if not kind.is_http]
    networks = [
        (ip_network(network).prefixlen, one)
        for one, _ in tcp
        for network in one.addresses
        if "/" in network and ip_address(opened.address) in ip_network(network)
    ]
    if networks:
        return _cluster(port, max(networks, key=lambda found: found[0])[1])
    unaddressed = [(one, kind) for one, kind in tcp if not one.addresses]
    if opened.content is Content.TLS:
        named = [one for one, kind in unaddressed if kind in {Protocol.TLS, Protocol.HTTPS}]
        if found := _best(named, lambda one: [one.hostname], opened.server_name):
            return _cluster(port, found)
    looked_at = [kind for _, kind in sharing if kind.is_http]
    looked_at += [kind for _, kind in unaddressed if kind is Protocol.AUTO]
    if opened.content is Content.HTTP and looked_at:
        return HTTP
    rest = [one for one, kind in unaddressed if kind not in {Protocol.TLS, Protocol.HTTPS}]
    return _cluster(port, rest[0]) if rest else ELSEWHERE


def _sharing(mesh: MeshSnapshot, client: Workload, port: int) -> Iterator[tuple[Service, Protocol]]:
    """Yield what is on a port without an address of its own, the first to win."""

    def rank(service: Service) -> int:
        written = service.export_to or mesh.settings.default_service_export_to
        if PUBLIC in written:
            return 2
        return 0 if service.id.namespace == client.namespace else 1

    for service in sorted(mesh.services, key=rank):  # of one rank the oldest stays first
        if is_exported(mesh, service, client.namespace):
            for one in service.ports:
                if one.number == port and (one.protocol.is_http or service.is_entry):
                    yield service, one.protocol


def _cluster(port: int, service: Service) -> str:
    return f"outbound|{port}||{service.hostname}"


def chosen(compiled: ProxyResources, port: int, opened: Opened) -> str:
    """Return the same from the listener that a proxy was given."""
    resource = compiled[LISTENER].get(f"0.0.0.0_{port}")
    if resource is None:
        return ELSEWHERE
    listener = Listener.FromString(resource.body)
    inspectors = {one.name for one in listener.listener_filters}
    transport, protocols = "raw_buffer", set()
    server_name = ""
    if opened.content is Content.TLS and TLS_INSPECTOR in inspectors:
        transport, protocols, server_name = "tls", {OFFERED}, opened.server_name
    elif opened.content is Content.HTTP and HTTP_INSPECTOR in inspectors:
        protocols = {OFFERED}
    left = _at(list(listener.filter_chains), opened.address)
    left = _called(left, server_name)
    left = _exact_or_any(left, lambda match: match.transport_protocol, {transport})
    for chain in left:
        if protocols & set(chain.filter_chain_match.application_protocols):
            return destination(chain)
    for chain in left:
        if not chain.filter_chain_match.application_protocols:
            return destination(chain)
    return destination(listener.default_filter_chain)


def destination(chain: Any) -> str:
    """Return where a filter chain leads."""
    last = chain.filters[-1]
    if last.name == HTTP_PROXY:
        return HTTP
    cluster = str(TcpProxy.FromString(last.typed_config.value).cluster)
    return ELSEWHERE if cluster in NO_SERVICE else cluster


def _at(chains: Sequence[Any], address: str) -> list[Any]:
    lengths = {
        one.prefix_len.value
        for chain in chains
        for one in chain.filter_chain_match.prefix_ranges
        if ip_address(address) in ip_network(f"{one.address_prefix}/{one.prefix_len.value}")
    }
    if not lengths:
        return [one for one in chains if not one.filter_chain_match.prefix_ranges]
    return [
        chain
        for chain in chains
        for one in chain.filter_chain_match.prefix_ranges
        if one.prefix_len.value == max(lengths)
        and ip_address(address) in ip_network(f"{one.address_prefix}/{one.prefix_len.value}")
    ]


def _called(chains: Sequence[Any], name: str) -> list[Any]:
    found = _best(chains, lambda one: one.filter_chain_match.server_names, name)
    return [found] if found else [one for one in chains if not one.filter_chain_match.server_names]


def _exact_or_any(
    chains: Sequence[Any], value: Callable[[Any], str], wanted: set[str]
) -> list[Any]:
    exact = [one for one in chains if value(one.filter_chain_match) in wanted]
    return exact or [one for one in chains if not value(one.filter_chain_match)]


def _best(things: Sequence[One], names: Callable[[One], Iterable[str]], name: str) -> One | None:
    """Return the first thing with the name, else the first with its longest wildcard."""
    labels = name.split(".")
    wildcards = [".".join(["*", *labels[number:]]) for number in range(1, len(labels))]
    for one in [name, *wildcards] if name else []:
        for thing in things:
            if one in names(thing):
                return thing
    return None
