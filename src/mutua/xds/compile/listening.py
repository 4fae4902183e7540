"""Which outbound listeners do Services need, and which of them share one?

    HTTP                                      0.0.0.0_P, by route "P"
    TCP, detected; with an address            ADDRESS_P, its own
    TCP, detected; headless                   ADDRESS_P for every endpoint
    TLS of a ServiceEntry without address     0.0.0.0_P, by server name
    TCP of a ServiceEntry with a network      0.0.0.0_P, by destination
    TCP of a ServiceEntry without address     0.0.0.0_P, everything else; the first wins
    detected, of a ServiceEntry without one   0.0.0.0_P, as HTTP and as everything else

First is what the client's namespace keeps to itself, then what others export to it by name, then
what everybody sees; of each the oldest.
Specification: istio-semantics section 3.1.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import replace
from functools import partial

from mutua.model.service import Protocol
from mutua.model.settings import MeshSettings
from mutua.xds.compile import names
from mutua.xds.compile.outbound import Destination, SharedPort, detected_port, tcp_port
from mutua.xds.compile.ports import PortView
from mutua.xds.resource import Resource

Recipe = tuple[Hashable, Callable[[], Resource]]
"""What a listener depends on, and how it is made."""

BY_SERVER_NAME = frozenset({Protocol.TLS, Protocol.HTTPS})


def own_listeners(view: PortView, settings: MeshSettings, *, ours: bool) -> Iterator[Recipe]:
    """Yield the listeners that a port has for itself.

    Args:
        view: The port.
        settings: Of the mesh.
        ours: Whether its TLS, if any, is the mesh's.
    """
    port, host, kind = view.number, view.service.hostname, view.protocol
    if kind.is_http:
        return
    for address in _addresses(view):
        if kind is Protocol.AUTO:
            make = partial(detected_port, address, port, host, settings, ours=ours)
            yield ("detected", address, port, host, ours), make
        else:
            make = partial(tcp_port, address, port, host, settings)
            yield ("tcp", address, port, host), make


def shared_ports(views: Iterable[tuple[PortView, bool]]) -> dict[int, SharedPort]:
    """Return what the listeners 0.0.0.0_P are made of, by port.

    Args:
        views: Ports of Services, the first to win, each with whether its TLS is the mesh's.
    """
    ports: dict[int, SharedPort] = defaultdict(SharedPort)
    for view, ours in views:
        if shares_port(view):
            ports[view.number] = _joined(ports[view.number], view, ours=ours)
    return dict(ports)


def shares_port(view: PortView) -> bool:
    """Tell whether a port is part of a listener 0.0.0.0_P."""
    if view.number in names.RESERVED_PORTS:
        return False
    if view.protocol.is_http:
        return True
    if not view.service.is_entry:
        return False
    return not view.service.addresses or any("/" in one for one in view.service.addresses)


def has_own_address(view: PortView) -> bool:
    """Tell whether clients find a port by addresses that are its alone."""
    return view.service.headless or any("/" not in one for one in view.service.addresses)


def _joined(port: SharedPort, view: PortView, *, ours: bool) -> SharedPort:
    kind, service = view.protocol, view.service
    cluster = names.outbound_cluster(view.number, service.hostname)
    if kind.is_http:
        return replace(port, http=True)
    to = Destination(cluster, detected=kind is Protocol.AUTO and ours)
    if service.addresses:
        known = dict(port.by_network)
        networks = {one: to for one in service.addresses if "/" in one}
        return replace(port, by_network=tuple({**networks, **known}.items()))
    if kind in BY_SERVER_NAME:
        known_names = dict(port.by_name)
        return replace(port, by_name=tuple({service.hostname: cluster, **known_names}.items()))
    http = port.http or kind is Protocol.AUTO
    return replace(port, http=http, otherwise=port.otherwise or to)


def _addresses(view: PortView) -> tuple[str, ...]:
    """Return where clients dial a Service that is found by address.

    Pods that are not ready count: once a pod's name resolves, every client must have its listener,
    or the first connections would pass through in plaintext.
    """
    if view.service.headless:
        return tuple(endpoint.address for endpoint in view.endpoints)
    return tuple(one for one in view.service.addresses if "/" not in one)
