"""What one Service is to clients: its ports, and the resources of those who follow no rule.

A block stays the same object for as long as the Service, its endpoints and what policies say about
them stay the same, so a change of the mesh costs what it touches.  A block that replaces another
takes over every resource that it would make again.
"""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from functools import partial

from mutua.api.service_entry import Resolution
from mutua.model.service import Service
from mutua.model.settings import MeshSettings
from mutua.model.workload import Endpoint
from mutua.xds.compile import clusters, endpoints
from mutua.xds.compile.listening import own_listeners
from mutua.xds.compile.modes import ModeIndex
from mutua.xds.compile.ports import PortView, port_views, servers_of, shape_of
from mutua.xds.compile.route_table import Host, host_of
from mutua.xds.resource import Resource

Endpoints = Mapping[int, tuple[Endpoint, ...]]
"""Of one Service, by Service port."""


@dataclass(frozen=True, slots=True)
class BlockResources:
    """What clients that follow no rule are given for a Service."""

    clusters: tuple[Resource, ...]
    endpoints: tuple[Resource, ...]
    listeners: tuple[Resource, ...]


@dataclass(eq=False)
class Block:
    """One Service.

    Attributes:
        service: The Service.
        by_port: Its endpoints.
        readings: What policies let clients send, by namespace of its own and its endpoints.
        views: Its ports.
        hosts: Its part of the routes.
    """

    service: Service
    by_port: Endpoints
    readings: Mapping[str, Hashable]
    views: tuple[PortView, ...]
    hosts: tuple[Host, ...]
    _made: dict[Hashable, Resource] = field(default_factory=dict)
    _resources: BlockResources | None = None

    def holds(self, service: Service, by_port: Endpoints, modes: ModeIndex) -> bool:
        """Tell whether this is still what the Service is."""
        return (
            self.service is service
            and self.by_port is by_port
            and all(modes.reading(name) == read for name, read in self.readings.items())
        )

    def resources(self, modes: ModeIndex, settings: MeshSettings) -> BlockResources:
        """Return what clients that follow no rule are given."""
        if self._resources is None:
            taken, self._made = self._made, {}
            self._resources = self._compile(taken, modes, settings)
        return self._resources

    def _compile(
        self, taken: Mapping[Hashable, Resource], modes: ModeIndex, settings: MeshSettings
    ) -> BlockResources:
        def get(key: Hashable, make: Callable[[], Resource]) -> Resource:
            self._made[key] = made = taken.get(key) or make()
            return made

        made, assigned, listening = [], [], []
        for view in self.views:
            shape = shape_of(view, None, "", modes=modes, settings=settings)
            made.append(get(shape, partial(clusters.outbound, shape, settings)))
            if shape.resolution is Resolution.STATIC:
                found = servers_of(view, None, "", modes)
                make = partial(endpoints.assignment, shape.name, found)
                assigned.append(get((shape.name, found), make))
            listening += [get(key, make) for key, make in own_listeners(view, settings, ours=True)]
        return BlockResources(tuple(made), tuple(assigned), tuple(listening))


def make_block(
    service: Service,
    by_port: Endpoints,
    modes: ModeIndex,
    settings: MeshSettings,
    *,
    before: Block | None,
) -> Block:
    """Return the block of a Service.

    Args:
        service: The Service.
        by_port: Its endpoints.
        modes: What policies say.
        settings: Mesh-wide settings.
        before: The Service's last block.
    """
    views = tuple(port_views(service, by_port, modes, settings))
    hosts = tuple(host for view in views for host in host_of(view, settings))
    places = {
        endpoint.workload.namespace
        for found in by_port.values()
        for endpoint in found
        if endpoint.workload is not None
    }
    return Block(
        service,
        by_port,
        {name: modes.reading(name) for name in {service.id.namespace, *places}},
        views,
        before.hosts if before is not None and before.hosts == hosts else hosts,
        _made=before._made if before is not None else {},  # noqa: SLF001 - a block's own
    )
