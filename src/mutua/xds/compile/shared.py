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
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from mutua.api.service_entry import Resolution
from mutua.model.service import Protocol
from mutua.model.settings import MeshSettings
from mutua.model.snapshot import MeshSnapshot
from mutua.model.workload import Workload
from mutua.xds.compile import clusters, endpoints, outbound
from mutua.xds.compile.clusters import FOREIGN, OutboundShape
from mutua.xds.compile.exports import is_public, is_visible
from mutua.xds.compile.listening import own_listeners, shared_ports, shares_port
from mutua.xds.compile.memo import Memo, layer
from mutua.xds.compile.modes import ModeIndex
from mutua.xds.compile.ports import PortView, port_views, servers_of, shape_of, subsets_of
from mutua.xds.compile.route_table import RouteTable
from mutua.xds.compile.rules import Rule, RuleIndex, Scope
from mutua.xds.resource import Layer, Resource


@dataclass(frozen=True, slots=True)
class SharedLayers:
    """The same for many proxies."""

    clusters: Layer
    endpoints: Layer
    listeners: Layer


NOTHING = SharedLayers(Layer(), Layer(), Layer())

_Choice = tuple[PortView, Rule | None]
"""A port that clients see, and the rule they follow for it."""


class SharedCompiler:
    """Compiles what proxies share, one generation after another."""

    def __init__(self, settings: MeshSettings) -> None:
        self._settings = settings
        self._memo = Memo()
        self._common = NOTHING
        self._routes = RouteTable(settings)
        # Of the present generation:
        self._views: list[_Choice] = []
        self._particular: list[PortView] = []
        self._varying: frozenset[int] = frozenset()
        self._by_choices: dict[tuple[tuple[int, int], ...], SharedLayers] = {}
        self._by_scope: dict[Scope, SharedLayers] = {}
        self._before: dict[Scope, SharedLayers] = {}

    def compile(self, snapshot: MeshSnapshot, modes: ModeIndex, rules: RuleIndex) -> SharedLayers:
        """Begin a generation and return the common layers."""
        self._modes, self._rules = modes, rules
        self._before, self._by_scope, self._by_choices = self._by_scope, {}, {}
        self._memo.turn()
        views = list(port_views(snapshot, modes))
        self._routes.turn(views)
        particular = self._find_particular(snapshot)
        self._views = [(view, None) for view in views]
        self._particular = [view for view in views if view.service.id in particular]
        self._varying = frozenset(map(_number, filter(self._varies, self._particular)))
        public = [one for one in self._views if one[0].service.id not in particular]
        everywhere = self._memo.get("passthrough", partial(clusters.passthrough, self._settings))
        listeners = self._common_listeners(public)
        self._common = self._layers(public, listeners, self._common, everywhere)
        return self._common

    def scope(self, client: Workload) -> SharedLayers:
        """Return the layers with what this client sees in a way of its own."""
        if not self._particular:
            return NOTHING
        scope = self._rules.scope(client)
        if scope not in self._by_scope:
            self._by_scope[scope] = self._in_scope(scope)
        return self._by_scope[scope]

    def routes(self, namespace: str) -> Layer:
        """Return the routes of proxies in a namespace."""
        return self._routes.layer(namespace)

    def _find_particular(self, snapshot: MeshSnapshot) -> set[object]:
        """Return the Services that not all clients see alike."""
        self._usage = Counter(service.hostname for service in snapshot.services)
        return {
            service.id
            for service in snapshot.services
            if self._usage[service.hostname] > 1
            or not is_public(service, self._settings)
            or self._rules.touches(service.hostname)
        }

    def _varies(self, view: PortView) -> bool:
        """Tell whether a Service's part in the listener 0.0.0.0_P is not the same for all."""
        return shares_port(view) and (
            self._usage[view.service.hostname] > 1
            or not is_public(view.service, self._settings)
            or view.protocol is Protocol.AUTO
        )

    def _in_scope(self, scope: Scope) -> SharedLayers:
        chosen: list[_Choice] = [
            (view, self._rules.find(scope, view.service))
            for view in self._particular
            if is_visible(view.service, scope.namespace, self._settings)
        ]
        key = tuple((id(view), id(rule)) for view, rule in chosen)
        if key not in self._by_choices:
            before = self._before.get(scope, NOTHING)
            self._by_choices[key] = self._layers(chosen, self._scope_listeners(chosen), before)
        return self._by_choices[key]

    def _layers(
        self,
        chosen: Sequence[_Choice],
        listeners: Iterable[Resource],
        before: SharedLayers,
        further: Sequence[Resource] = (),
    ) -> SharedLayers:
        shapes = [
            (self._shape(view, rule, subset), view, rule)
            for view, rule in chosen
            for subset in subsets_of(rule)
        ]
        made = [
            self._memo.get(("cluster", shape), partial(clusters.outbound, shape, self._settings))
            for shape, _, _ in shapes
        ]
        assigned = [
            self._assignment(shape, view, rule)
            for shape, view, rule in shapes
            if shape.resolution is Resolution.STATIC
        ]
        return SharedLayers(
            layer([*further, *made], before.clusters),
            layer(assigned, before.endpoints),
            layer(listeners, before.listeners),
        )

    def _shape(self, view: PortView, rule: Rule | None, subset: str) -> OutboundShape:
        return shape_of(view, rule, subset, modes=self._modes, settings=self._settings)

    def _assignment(self, shape: OutboundShape, view: PortView, rule: Rule | None) -> Resource:
        found = servers_of(view, rule, shape.subset, self._modes)
        make = partial(endpoints.assignment, shape.name, found)
        return self._memo.get(("endpoints", shape.name, found), make)

    def _common_listeners(self, public: Iterable[_Choice]) -> Iterator[Resource]:
        yield self._memo.get("outbound", partial(outbound.virtual_outbound, self._settings))
        yield from self._own_listeners(public)
        yield from self._shared_listeners(
            one for one in self._views if one[0].number not in self._varying
        )

    def _scope_listeners(self, chosen: Sequence[_Choice]) -> Iterator[Resource]:
        yield from self._own_listeners(chosen)
        if self._varying:
            theirs = {id(view) for view in self._particular}
            public = (one for one in self._views if id(one[0]) not in theirs)
            yield from self._shared_listeners(
                one for one in (*public, *chosen) if one[0].number in self._varying
            )

    def _own_listeners(self, chosen: Iterable[_Choice]) -> Iterator[Resource]:
        for view, rule in chosen:
            for key, make in own_listeners(view, ours=_is_ours(view, rule)):
                yield self._memo.get(key, make)

    def _shared_listeners(self, chosen: Iterable[_Choice]) -> Iterator[Resource]:
        seen = ((view, _is_ours(view, rule)) for view, rule in chosen)
        for port, shape in shared_ports(seen).items():
            make = partial(outbound.shared_port, port, shape, self._settings)
            yield self._memo.get(("port", port, shape), make)


def _number(view: PortView) -> int:
    return view.number


def _is_ours(view: PortView, rule: Rule | None) -> bool:
    """Tell whether TLS towards a Service, if there is any, is the mesh's."""
    tls = rule.effective(view.number).tls if rule is not None else None
    return tls is None or tls.mode not in FOREIGN
