"""Routes by namespace of the client; in all but a few entries they are the same bytes."""

from collections import defaultdict
from collections.abc import Iterable
from functools import partial

from mutua.model.service import Protocol
from mutua.model.settings import MeshSettings
from mutua.xds.compile import routes
from mutua.xds.compile.listening import has_own_address
from mutua.xds.compile.memo import Memo, layer
from mutua.xds.compile.ports import PortView
from mutua.xds.compile.routes import HostShape
from mutua.xds.resource import Layer, Resource

_Hosts = dict[int, tuple[HostShape, ...]]
"""Service port to the Services with HTTP on it."""


class RouteTable:
    """Makes the routes of each namespace, one generation after another."""

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
            shape = _host_shape(view, self._settings)
            if view.protocol is Protocol.AUTO and has_own_address(view):
                make = partial(routes.service_route, shape)
                self._of_services.append(self._memo.get(("route", shape), make))
            elif view.protocol.is_http or (
                view.protocol is Protocol.AUTO and view.service.is_entry
            ):
                by_port[view.number].append(shape)
        before, self._hosts = self._hosts, {}
        for port, shapes in by_port.items():
            hosts = tuple(shapes)
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
        hosts = []
        taken: set[str] = set()
        for shape in shapes:
            if not shape.seen_from(namespace):
                continue
            # A domain that occurs twice in a route makes Envoy refuse it.  Hosts of ServiceEntries
            # may be the same, and an address passes from one Service to another.
            local = shape.local if shape.namespace == namespace else ()
            wanted = (*shape.domains, *local, *shape.addresses)
            domains = tuple(one for one in wanted if one not in taken)
            if shape.hostname in domains:
                taken.update(domains)
                make = partial(routes.virtual_host, shape, domains)
                hosts.append(self._memo.get((shape, domains), make))
        return routes.port_route(port, hosts, self._settings)


def _host_shape(view: PortView, settings: MeshSettings) -> HostShape:
    service = view.service
    names, local = [service.hostname], []
    if not service.is_entry:
        qualified = f"{service.id.name}.{service.id.namespace}"
        names += [f"{qualified}.svc", qualified]
        local = [service.id.name]
    if service.headless:
        names += [f"*.{name}" for name in names]
        local += [f"*.{name}" for name in local]
    return HostShape(
        hostname=service.hostname,
        namespace=service.id.namespace,
        port=view.number,
        domains=tuple(names),
        local=tuple(local),
        addresses=tuple(one for one in service.addresses if "/" not in one),
        exported=service.export_to or settings.default_service_export_to,
    )
