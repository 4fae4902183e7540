"""What all proxies share: everything that depends on Services and policies but on no proxy.

    clusters, endpoints, listeners     one layer each for the whole mesh
    routes                             one layer per namespace of clients, made when asked for

A new generation reuses, resource by resource, whatever depends on equal values, and layers in
which nothing changed stay the same objects.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial

from mutua.model.service import Protocol
from mutua.model.settings import MeshSettings
from mutua.model.snapshot import MeshSnapshot
from mutua.xds.compile import clusters, endpoints, names, outbound, routes
from mutua.xds.compile.memo import Memo, layer
from mutua.xds.compile.modes import ModeIndex
from mutua.xds.compile.ports import PortView, port_views
from mutua.xds.compile.routes import HostShape
from mutua.xds.resource import Layer, Resource

_Hosts = dict[int, tuple[HostShape, ...]]
"""Service port to the Services with HTTP on it."""


@dataclass(frozen=True, slots=True)
class SharedLayers:
    """The same for every proxy of the mesh."""

    clusters: Layer
    endpoints: Layer
    listeners: Layer


class SharedCompiler:
    """Compiles what proxies share, one generation after another."""

    def __init__(self, settings: MeshSettings) -> None:
        self._settings = settings
        self._memo = Memo()
        self._layers: SharedLayers | None = None
        self._routes = RouteTable(settings)

    def compile(self, snapshot: MeshSnapshot, modes: ModeIndex) -> SharedLayers:
        """Begin a generation and return its layers."""
        views = list(port_views(snapshot, modes))
        before = self._layers
        self._memo.turn()
        self._routes.turn(views)
        self._layers = SharedLayers(
            layer(self._clusters(views), before.clusters if before else None),
            layer(self._endpoints(views, modes), before.endpoints if before else None),
            layer(self._listeners(views), before.listeners if before else None),
        )
        return self._layers

    def routes(self, namespace: str) -> Layer:
        """Return the routes of proxies in a namespace."""
        return self._routes.layer(namespace)

    def _clusters(self, views: Iterable[PortView]) -> Iterator[Resource]:
        settings = self._settings
        yield from self._memo.get("passthrough", partial(clusters.passthrough, settings))
        for view in views:
            make = partial(clusters.outbound, view.shape, settings)
            yield self._memo.get(("cluster", view.shape), make)

    def _endpoints(self, views: Iterable[PortView], modes: ModeIndex) -> Iterator[Resource]:
        for view in views:
            if view.service.headless:
                continue  # its cluster dials whatever address the client chose
            name = names.outbound_cluster(view.number, view.service.hostname)
            found = endpoints.targets(view.endpoints, modes)
            make = partial(endpoints.assignment, name, found)
            yield self._memo.get(("endpoints", name, found), make)

    def _listeners(self, views: Iterable[PortView]) -> Iterator[Resource]:
        get, settings = self._memo.get, self._settings
        yield get(names.VIRTUAL_OUTBOUND, partial(outbound.virtual_outbound, settings))
        for view in views:
            port, host, kind = view.number, view.service.hostname, view.protocol
            if kind.is_http:
                if port not in names.RESERVED_PORTS:
                    yield get(("http", port), partial(outbound.http_port, port, settings))
                continue
            make = outbound.detected_port if kind is Protocol.AUTO else outbound.tcp_port
            for address in _addresses(view):
                yield get((make, address, port, host), partial(make, address, port, host))


def _addresses(view: PortView) -> tuple[str, ...]:
    """Return where clients dial a Service that is found by address."""
    if view.service.headless:
        return tuple(endpoint.address for endpoint in view.endpoints if endpoint.ready)
    return view.service.addresses


class RouteTable:
    """Routes by namespace of the client; in all but a few entries they are the same bytes."""

    def __init__(self, settings: MeshSettings) -> None:
        self._settings = settings
        self._memo = Memo()
        self._hosts: _Hosts = {}
        self._of_services: list[Resource] = []
        # Layers by namespace, each with the hosts it was made from.
        self._layers: dict[str, tuple[_Hosts, Layer]] = {}
        self._before: dict[str, tuple[_Hosts, Layer]] = {}

    def turn(self, views: Iterable[PortView]) -> None:
        """Begin a generation with these ports."""
        self._memo.turn()
        self._of_services = []
        by_port: dict[int, list[HostShape]] = defaultdict(list)
        for view in views:
            shape = _host_shape(view)
            if view.protocol is Protocol.AUTO:
                make = partial(routes.service_route, shape)
                self._of_services.append(self._memo.get(("route", shape), make))
            elif view.protocol.is_http:
                by_port[view.number].append(shape)
        before, self._hosts = self._hosts, {}
        for port, shapes in by_port.items():
            hosts = _unique_domains(shapes)
            known = before.get(port)
            self._hosts[port] = known if known is not None and known == hosts else hosts
        self._before, self._layers = self._layers, {}

    def layer(self, namespace: str) -> Layer:
        """Return the routes of clients in a namespace."""
        if namespace not in self._layers:
            hosts, before = self._before.get(namespace, ({}, None))
            of_ports = (
                before[str(port)]
                if before is not None and hosts.get(port) is shapes
                else self._port_route(port, shapes, namespace)
                for port, shapes in self._hosts.items()
            )
            made = layer([*self._of_services, *of_ports], before)
            self._layers[namespace] = (self._hosts, made)
        return self._layers[namespace][1]

    def _port_route(self, port: int, shapes: Iterable[HostShape], namespace: str) -> Resource:
        hosts = (
            self._memo.get((shape, local), partial(routes.virtual_host, shape, local=local))
            for shape in shapes
            for local in (shape.namespace == namespace,)
        )
        return routes.port_route(port, hosts, self._settings)


def _unique_domains(shapes: Iterable[HostShape]) -> tuple[HostShape, ...]:
    """Return the shapes with every address at most once.

    A domain that occurs twice in a route makes Envoy refuse it.  Names are unique; an address is
    not for the moment in which it passes from one Service to another.
    """
    unique, taken = [], {""}
    for shape in shapes:
        unique.append(replace(shape, address="") if shape.address in taken else shape)
        taken.add(shape.address)
    return tuple(unique)


def _host_shape(view: PortView) -> HostShape:
    service = view.service
    return HostShape(
        hostname=service.hostname,
        namespace=service.id.namespace,
        name=service.id.name,
        address=next(iter(service.addresses), ""),
        port=view.number,
        headless=service.headless,
    )
