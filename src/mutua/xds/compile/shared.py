"""What proxies share: everything that depends on Services and policies but not on one proxy.

    common layers      Services that all clients see alike: one set for the whole mesh
    a scope's layers   Services for which some clients follow DestinationRules, or which not all
                       clients see: one set for all scopes that see and follow the same
    routes             one layer per namespace of clients

A scope's layers and the routes are made when they are first asked for.  A new generation reuses,
resource by resource, whatever depends on equal values, and layers in which nothing changed stay the
same objects.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from operator import is_

from mutua.api.service_entry import Resolution
from mutua.model.service import Protocol, Service, ServiceName
from mutua.model.settings import MeshSettings
from mutua.model.snapshot import MeshSnapshot
from mutua.model.workload import Workload
from mutua.xds.compile import clusters, endpoints, outbound
from mutua.xds.compile.block import Block, make_block
from mutua.xds.compile.clusters import FOREIGN, OutboundShape
from mutua.xds.compile.exports import is_public, is_visible, precedence
from mutua.xds.compile.listening import own_listeners, shared_ports, shares_port
from mutua.xds.compile.memo import Memo, layer
from mutua.xds.compile.modes import ModeIndex
from mutua.xds.compile.ports import PortView, servers_of, shape_of, subsets_of
from mutua.xds.compile.route_table import RouteTable
from mutua.xds.compile.rules import Rule, RuleIndex, Scope
from mutua.xds.resource import Layer, Resource


@dataclass(frozen=True, slots=True, eq=False)
class SharedLayers:
    """The same for many proxies; compared by identity.

    Attributes:
        reading: Clusters that name files of the proxy; the others are in `clusters`.
    """

    clusters: Layer
    endpoints: Layer
    listeners: Layer
    reading: Layer


NOTHING = SharedLayers(Layer(), Layer(), Layer(), Layer())

_Choice = tuple[PortView, Rule | None]
"""A port that clients see, and the rule they follow for it."""


class SharedCompiler:
    """Compiles what proxies share, one generation after another.

    Attributes:
        common: The layers that all proxies have.
    """

    def __init__(self, settings: MeshSettings) -> None:
        self.common = NOTHING
        self._settings = settings
        self._memo = Memo()
        self._routes = RouteTable(settings)
        # Of the present generation:
        self._blocks: Mapping[ServiceName, Block] = {}
        self._rules: RuleIndex | None = None
        self._particular: list[PortView] = []
        self._public: list[_Choice] = []
        self._ages: Mapping[ServiceName, int] = {}
        self._varying: frozenset[int] = frozenset()
        self._by_choices: dict[tuple[tuple[int, int], ...], SharedLayers] = {}
        self._by_scope: dict[Scope, SharedLayers] = {}
        self._before: dict[Scope, SharedLayers] = {}

    def turn(self, snapshot: MeshSnapshot, modes: ModeIndex, rules: RuleIndex) -> bool:
        """Begin a generation, and tell whether anything differs from the one before."""
        blocks = self._make_blocks(snapshot, modes)
        old, self._modes = self._blocks, modes
        same = len(old) == len(blocks) and all(map(is_, blocks.values(), old.values()))
        if same and rules is self._rules:
            return False
        self._blocks, self._rules = blocks, rules
        self._before, self._by_scope, self._by_choices = self._by_scope, {}, {}
        self._memo.turn()
        if len(old) != len(blocks) or not all(
            new.hosts is known.hosts
            for new, known in zip(blocks.values(), old.values(), strict=True)
        ):
            self._routes.turn(chain.from_iterable(block.hosts for block in blocks.values()))
        self._divide(snapshot, rules)
        return True

    def scope(self, client: Workload) -> SharedLayers:
        """Return the layers with what this client sees in a way of its own."""
        if not self._particular or self._rules is None:
            return NOTHING
        scope = self._rules.scope(client)
        if scope not in self._by_scope:
            self._by_scope[scope] = self._in_scope(scope, self._rules)
        return self._by_scope[scope]

    def routes(self, namespace: str) -> Layer:
        """Return the routes of proxies in a namespace."""
        return self._routes.layer(namespace)

    def _make_blocks(self, snapshot: MeshSnapshot, modes: ModeIndex) -> dict[ServiceName, Block]:
        blocks = {}
        for service in snapshot.services:
            by_port = snapshot.endpoints.get(service.id, {})
            block = self._blocks.get(service.id)
            if block is None or not block.holds(service, by_port, modes):
                block = make_block(service, by_port, modes, self._settings, before=block)
            blocks[service.id] = block
        return blocks

    def _divide(self, snapshot: MeshSnapshot, rules: RuleIndex) -> None:
        """Tell Services that all clients see alike from the others, and make the common layers."""
        self._usage = Counter(service.hostname for service in snapshot.services)
        self._ages = {name: age for age, name in enumerate(self._blocks)}
        public: list[Block] = []
        particular: list[Block] = []
        for block in self._blocks.values():
            service = block.service
            own = self._is_limited(service) or rules.touches(service.hostname)
            (particular if own else public).append(block)
        self._particular = [view for block in particular for view in block.views]
        self._public = [(view, None) for block in public for view in block.views]
        self._varying = frozenset(view.number for view in self._particular if self._varies(view))
        found = [block.resources(self._modes, self._settings) for block in public]
        everywhere = self._memo.get("passthrough", partial(clusters.passthrough, self._settings))
        made = chain.from_iterable(one.clusters for one in found)
        assigned = chain.from_iterable(one.endpoints for one in found)
        listening = chain.from_iterable(one.listeners for one in found)
        self.common = SharedLayers(
            layer(chain(everywhere, made), self.common.clusters),
            layer(assigned, self.common.endpoints),
            layer(chain(self._common_listeners(), listening), self.common.listeners),
            self.common.reading,
        )

    def _is_limited(self, service: Service) -> bool:
        """Tell whether not all clients see a Service, or not the same one under its name."""
        return self._usage[service.hostname] > 1 or not is_public(service, self._settings)

    def _varies(self, view: PortView) -> bool:
        """Tell whether a Service's part in the listener 0.0.0.0_P is not the same for all."""
        return shares_port(view) and (
            self._is_limited(view.service) or view.protocol is Protocol.AUTO
        )

    def _in_scope(self, scope: Scope, rules: RuleIndex) -> SharedLayers:
        chosen: list[_Choice] = [
            (view, rules.find(scope, view.service))
            for view in self._particular
            if is_visible(view.service, scope.namespace, self._settings)
        ]
        # Of several entries for one host, its own namespace's comes first.
        chosen.sort(key=lambda one: not self._is_preferred(one[0], scope))
        on_ports = self._in_order(chosen, scope.namespace)
        key = tuple((id(view), id(rule)) for view, rule in (*chosen, *on_ports))
        if key not in self._by_choices:
            before = self._before.get(scope, NOTHING)
            self._by_choices[key] = self._layers(chosen, on_ports, before)
        return self._by_choices[key]

    def _in_order(self, chosen: Iterable[_Choice], namespace: str) -> list[_Choice]:
        """Return what shares ports whose listeners are not the same for all, the first to win."""

        def place(one: _Choice) -> tuple[int, int]:
            service = one[0].service
            return precedence(service, namespace, self._settings), self._ages[service.id]

        if not self._varying:
            return []
        both = (one for one in (*self._public, *chosen) if one[0].number in self._varying)
        return sorted(both, key=place)

    def _is_preferred(self, view: PortView, scope: Scope) -> bool:
        service = view.service
        return self._usage[service.hostname] > 1 and service.id.namespace == scope.namespace

    def _layers(
        self, chosen: Sequence[_Choice], on_ports: Sequence[_Choice], before: SharedLayers
    ) -> SharedLayers:
        made: list[Resource] = []
        reading: list[Resource] = []
        assigned: list[Resource] = []
        for view, rule in chosen:
            for subset in subsets_of(rule):
                shape = shape_of(view, rule, subset, modes=self._modes, settings=self._settings)
                make = partial(clusters.outbound, shape, self._settings)
                reads = shape.tls is not None and shape.tls.names_files
                (reading if reads else made).append(self._memo.get(("cluster", shape), make))
                if shape.resolution is Resolution.STATIC:
                    assigned.append(self._assignment(shape, view, rule))
        return SharedLayers(
            layer(made, before.clusters),
            layer(assigned, before.endpoints),
            layer(self._scope_listeners(chosen, on_ports), before.listeners),
            layer(reading, before.reading),
        )

    def _assignment(self, shape: OutboundShape, view: PortView, rule: Rule | None) -> Resource:
        found = servers_of(view, rule, shape.subset, self._modes)
        make = partial(endpoints.assignment, shape.name, found)
        return self._memo.get(("endpoints", shape.name, found), make)

    def _common_listeners(self) -> Iterator[Resource]:
        yield self._memo.get("outbound", partial(outbound.virtual_outbound, self._settings))
        views = ((view, None) for block in self._blocks.values() for view in block.views)
        yield from self._shared_listeners(
            one for one in views if one[0].number not in self._varying
        )

    def _scope_listeners(
        self, chosen: Sequence[_Choice], on_ports: Sequence[_Choice]
    ) -> Iterator[Resource]:
        for view, rule in chosen:
            for key, make in own_listeners(view, self._settings, ours=_is_ours(view, rule)):
                yield self._memo.get(key, make)
        yield from self._shared_listeners(on_ports)

    def _shared_listeners(self, chosen: Iterable[_Choice]) -> Iterator[Resource]:
        seen = ((view, _is_ours(view, rule)) for view, rule in chosen)
        for port, shape in shared_ports(seen).items():
            make = partial(outbound.shared_port, port, shape, self._settings)
            yield self._memo.get(("port", port, shape), make)


def _is_ours(view: PortView, rule: Rule | None) -> bool:
    """Tell whether TLS towards a Service, if there is any, is the mesh's."""
    tls = rule.effective(view.number).tls if rule is not None else None
    return tls is None or tls.mode not in FOREIGN
