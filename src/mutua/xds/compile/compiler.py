"""What must this proxy do?  Snapshot and pod in, Envoy resources out.

The answer depends on the arguments alone.  A `Compiler` only remembers what it made, so that the
next answer costs what changed: the shared layers are computed once per snapshot, a pod's own
layers once per distinct shape (exposed ports and modes), and a proxy for which nothing changed
gets the very same object as before.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from operator import is_
from typing import Final, NamedTuple, TypeVar

from mutua.api.object import Key
from mutua.model.settings import MeshSettings
from mutua.model.snapshot import MeshSnapshot
from mutua.model.workload import InboundPort, Workload
from mutua.xds.compile import clusters
from mutua.xds.compile.inbound import InboundShape, virtual_inbound
from mutua.xds.compile.modes import Acceptance, InboundModes, ModeIndex
from mutua.xds.compile.rules import RuleIndex
from mutua.xds.compile.shared import SharedCompiler, SharedLayers
from mutua.xds.compile.stage import Stage, at_rest
from mutua.xds.resource import (
    CLUSTER,
    ENDPOINT,
    LISTENER,
    ROUTE,
    Layer,
    ProxyResources,
    ResourceSet,
)

K = TypeVar("K")

MAX_SHAPES: Final = 4096
"""Distinct pod shapes remembered; a shape takes about 10 kB, and a mesh has few: as many as there
are workloads and policies that decide about them."""


class Compiler:
    """Compiles for all proxies of one mesh; keep one for as long as the control plane runs."""

    def __init__(self) -> None:
        self._state: _State | None = None

    def compile(
        self, snapshot: MeshSnapshot, uid: str, stage: Stage | None = None
    ) -> ProxyResources:
        """Return everything that the proxy of one pod is given.

        Args:
            snapshot: The mesh; usually the newest, but any will do.
            uid: The pod's uid; it must be in `snapshot.workloads`.
            stage: The PeerAuthentications that servers and clients go by; those of the snapshot
                when not given.

        Returns:
            Resources by type URL; the same object as last time when nothing changed.
        """
        settings = snapshot.settings
        if self._state is None or not self._state.is_under(settings):
            self._state = _State(snapshot, stage)
        self._state.advance(snapshot, stage)
        return self._state.proxy(snapshot.workloads[uid])


def compile_proxy(snapshot: MeshSnapshot, uid: str) -> ProxyResources:
    """Return everything that the proxy of one pod is given, remembering nothing."""
    return Compiler().compile(snapshot, uid)


class _State:
    """Everything made for one snapshot, under settings that stay the same."""

    def __init__(self, snapshot: MeshSnapshot, stage: Stage | None) -> None:
        self.snapshot, self.stage = snapshot, stage
        self._shapes = _Shapes(snapshot.settings)
        self._shared = SharedCompiler(snapshot.settings)
        self._policies = stage or at_rest(snapshot.peer_authentications)
        self._inbound = _acceptance(self._policies, snapshot)
        self._modes = _modes(self._policies, snapshot)
        self._rules = RuleIndex(snapshot.destination_rules, snapshot.settings)
        self._shared.turn(snapshot, self._modes, self._rules)
        # What proxies have, and what those had that have to be looked at again.
        self._proxies: dict[str, ProxyResources] = {}
        self._before: dict[str, ProxyResources] = {}
        # What was made in this generation, with what the proxies had before, by all it depends on.
        self._made: dict[_Dependencies, tuple[ProxyResources | None, ProxyResources]] = {}

    def is_under(self, settings: MeshSettings) -> bool:
        """Tell whether these are the settings under which everything was made."""
        known = self.snapshot.settings
        return known is settings or known == settings

    def advance(self, snapshot: MeshSnapshot, stage: Stage | None) -> None:
        """Go on to another snapshot or stage."""
        old, demanded = self.snapshot, self._inbound
        if snapshot is old and stage is self.stage:
            return
        self.snapshot, self.stage = snapshot, stage
        self._made.clear()
        before, self._policies = self._policies, stage or at_rest(snapshot.peer_authentications)
        if self._policies != before:
            self._inbound = _acceptance(self._policies, snapshot)
        if self._policies.dial is not before.dial:
            self._modes = _modes(self._policies, snapshot)
        if snapshot.destination_rules is not old.destination_rules:
            self._rules = RuleIndex(snapshot.destination_rules, snapshot.settings)
        touched = (
            self._proxies
            if self._shared.turn(snapshot, self._modes, self._rules)
            else self._touched(old, demanded)
        )
        for uid in [uid for uid in touched if uid in self._proxies]:
            self._before[uid] = self._proxies.pop(uid)
        for uid in [uid for uid in self._before if uid not in snapshot.workloads]:
            del self._before[uid]

    def _touched(self, old: MeshSnapshot, demanded: Acceptance) -> Iterator[str]:
        """Yield the proxies that differ from the last generation in what is their own."""
        now = self.snapshot
        known: dict[str, bool] = {}
        for uid in self._proxies:
            workload = now.workloads.get(uid)
            same = (
                workload is not None
                and workload is old.workloads.get(uid)
                and now.inbound_ports.get(uid) is old.inbound_ports.get(uid)
            )
            if same and workload is not None and self._inbound is not demanded:
                name = workload.namespace
                if name not in known:
                    known[name] = self._inbound.demands(name) == demanded.demands(name)
                same = known[name]
            if not same:
                yield uid

    def proxy(self, workload: Workload) -> ProxyResources:
        """Return what the proxy of one pod is given."""
        known = self._proxies.get(workload.uid)
        if known is None:
            known = self._make(workload, self._before.pop(workload.uid, None))
            self._proxies[workload.uid] = known
        return known

    def _make(self, workload: Workload, before: ProxyResources | None) -> ProxyResources:
        depends = _Dependencies(
            workload.namespace,
            self.snapshot.inbound_ports.get(workload.uid, ()),
            self._inbound.workload(workload),
            self._inbound.origins(workload),
            self._shared.scope(workload),
            workload.files,
            id(before),
        )
        known = self._made.get(depends)
        if known is None:
            known = self._made[depends] = before, _keep_same(before, self._assemble(depends))
        return known[1]

    def _assemble(self, depends: "_Dependencies") -> ProxyResources:
        shared, scoped = self._shared.common, depends.scoped
        shape = InboundShape(depends.ports, depends.modes)
        clusters = self._shapes.clusters(depends.ports)
        listener = self._shapes.listener(shape, depends.origins)
        reading = self._shapes.reading(scoped.reading, depends.files)
        return {
            CLUSTER: ResourceSet(shared.clusters, clusters, scoped.clusters, reading),
            ENDPOINT: ResourceSet(shared.endpoints, scoped.endpoints),
            LISTENER: ResourceSet(shared.listeners, listener, scoped.listeners),
            ROUTE: ResourceSet(self._shared.routes(depends.namespace)),
        }


class _Dependencies(NamedTuple):
    """What a proxy is given depends on this, in one generation."""

    namespace: str
    ports: tuple[InboundPort, ...]
    modes: InboundModes
    origins: tuple[Key, ...]
    scoped: SharedLayers
    files: str
    before: int


def _acceptance(stage: Stage, snapshot: MeshSnapshot) -> Acceptance:
    return Acceptance(stage, snapshot.settings.root_namespace)


def _modes(stage: Stage, snapshot: MeshSnapshot) -> ModeIndex:
    return ModeIndex(stage.dial, snapshot.settings.root_namespace)


_Made = tuple[str, str, tuple[Key, ...]]
"""Name, version and origins of a resource."""


class _Shapes:
    """A pod's own layers, by its shape."""

    def __init__(self, settings: MeshSettings) -> None:
        self._settings = settings
        self._listeners: dict[tuple[InboundShape, tuple[Key, ...]], Layer] = {}
        self._clusters: dict[tuple[InboundPort, ...], Layer] = {}
        self._reading: dict[tuple[str, tuple[_Made, ...]], Layer] = {}

    def listener(self, shape: InboundShape, origins: tuple[Key, ...]) -> Layer:
        """Return the layer with `virtualInbound`."""
        return _bounded(
            self._listeners,
            (shape, origins),
            lambda: Layer([replace(virtual_inbound(shape, self._settings), origins=origins)]),
        )

    def clusters(self, ports: tuple[InboundPort, ...]) -> Layer:
        """Return the layer with the clusters of the application's ports."""
        return _bounded(
            self._clusters,
            ports,
            lambda: Layer(clusters.inbound(p.number, p.protocol, self._settings) for p in ports),
        )

    def reading(self, named: Layer, files: str) -> Layer:
        """Return the layer with the clusters that name files, of which the pod has a version."""
        if not named or not files:
            return named
        made = tuple((one.name, one.version, one.origins) for one in named.values())
        return _bounded(
            self._reading,
            (files, made),
            lambda: Layer(clusters.reread(one, files) for one in named.values()),
        )


def _bounded(known: dict[K, Layer], key: K, make: Callable[[], Layer]) -> Layer:
    found = known.get(key)
    if found is None:
        if len(known) >= MAX_SHAPES:
            known.clear()
        known[key] = found = make()
    return found


def _keep_same(before: ProxyResources | None, now: ProxyResources) -> ProxyResources:
    """Return `before` when it consists of the same layers, and else what of it does."""
    if before is None:
        return now
    kept = {
        kind: before[kind] if all(map(is_, before[kind].layers, resources.layers)) else resources
        for kind, resources in now.items()
    }
    return before if all(map(is_, before.values(), kept.values())) else kept
