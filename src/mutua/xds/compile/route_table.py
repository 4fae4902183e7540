"""Routes by namespace of the client; in all but a few entries they are the same bytes."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Host:
    """A Service's part of the routes.

    Attributes:
        shape: What its virtual host depends on.
        is_alone: Whether it has a route of its own instead of a part in route "P".
    """

    shape: HostShape
    is_alone: bool


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

    def turn(self, hosts: Iterable[Host]) -> None:
        """Begin a generation with these hosts, oldest Service first."""
        self._memo.turn()
        self._of_services = []
        by_port: dict[int, list[HostShape]] = defaultdict(list)
        for host in hosts:
            if host.is_alone:
                make = partial(routes.service_route, host.shape)
                self._of_services.append(self._memo.get(("route", host.shape), make))
            else:
                by_port[host.shape.port].append(host.shape)
        before, self._hosts = self._hosts, {}
        for port, shapes in by_port.items():
            found = tuple(shapes)
            known = before.get(port)
            self._hosts[port] = known if known is not None and known == found else found
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

    def _port_route(self, port: int, shapes: Sequence[HostShape], namespace: str) -> Resource:
        hosts = []
        taken: set[str] = set()
        usage = Counter(shape.hostname for shape in shapes)
        # Of several entries for one host, the client's own namespace's comes first.
        for shape in sorted(
            shapes, key=lambda one: usage[one.hostname] == 1 or one.namespace != namespace
        ):
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


def host_of(view: PortView, settings: MeshSettings) -> Iterator[Host]:
    """Yield a port's part of the routes, if it has one."""
    detected = view.protocol is Protocol.AUTO
    if detected and has_own_address(view):
        yield Host(_host_shape(view, settings), is_alone=True)
    elif view.protocol.is_http or (detected and view.service.is_entry):
        yield Host(_host_shape(view, settings), is_alone=False)


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
