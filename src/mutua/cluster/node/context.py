"""What all pods of a node share, and what the node remembers of one pod."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from mutua.api.object import CONFIG_MAPS, Object, Resource
from mutua.cluster.controllers.events import EventRecorder, Severity
from mutua.cluster.controllers.view import View
from mutua.cluster.node.addresses import PodAddresses
from mutua.cluster.node.blueprint import Place
from mutua.cluster.node.control_plane_pod import is_control_plane
from mutua.cluster.node.images import CONFIG_MAP, CONFIG_MAP_NAMESPACE, read_catalogue
from mutua.cluster.node.ports import PodRuntime, TokenIssuer
from mutua.cluster.node.record import Record, Role
from mutua.cluster.node.settings import NodeSettings
from mutua.cluster.node.sidecar import SidecarPlan, SidecarProvider
from mutua.foundation.clock import Clock

COMPONENT: Final = "kubelet"
"""Who reports pod events (the name that users and tools know)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeContext:
    """Everything a node needs.

    Attributes:
        settings: Values.
        runtime: Processes, network, probes.
        view: The cluster's objects; writes go through it.
        events: Where what happens is told.
        clock: Wall-clock time.
        sidecars: Runs the proxies of meshed pods.
        tokens: Signs projected service account tokens.
        addresses: Who has which pod address.
    """

    settings: NodeSettings
    runtime: PodRuntime
    view: View
    events: EventRecorder
    clock: Clock
    sidecars: SidecarProvider
    tokens: TokenIssuer
    addresses: PodAddresses = field(default_factory=PodAddresses)

    def catalogue(self) -> Mapping[str, tuple[str, ...]]:
        """Return what images run.

        Raises:
            Rejected: The users' ConfigMap is malformed.
        """
        return read_catalogue(self.view[CONFIG_MAPS].get(CONFIG_MAP_NAMESPACE, CONFIG_MAP))


@dataclass(slots=True, kw_only=True)
class PodState:
    """One pod on this node.

    Attributes:
        node: What it shares with the others.
        pod: The object as last seen.
        records: Its containers, in the order of its spec.
        ip: Its address, "" before it has one.
        netns: Path of its network namespace, "" before it has one.
        plan: How to run its sidecar, None without one or before it is prepared.
        proxy_files: What was written last into each volume that its sidecar mounts.
        start_time: When the node first saw it, RFC 3339.
        wake: Set whenever there may be something to do.
        hosted: Whether its container runs inside this process, at the node's address.
    """

    node: NodeContext
    pod: Object
    records: list[Record]
    ip: str = ""
    netns: str = ""
    plan: SidecarPlan | None = None
    proxy_files: dict[str, str] = field(default_factory=dict)
    start_time: str = ""
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    hosted: bool = field(init=False)

    def __post_init__(self) -> None:
        # Decided once: its owners may go before it does.
        self.hosted = is_control_plane(self.node.view, self.pod)
        if self.hosted:
            self.ip = self.node.settings.address

    @property
    def uid(self) -> str:
        """The pod's uid."""
        return str(self.pod["metadata"]["uid"])

    @property
    def is_meshed(self) -> bool:
        """Tell whether it has a sidecar."""
        return any(record.role is Role.SIDECAR for record in self.records)

    @property
    def is_wired(self) -> bool:
        """Tell whether it has its network."""
        return self.hosted or bool(self.netns)

    def of(self, *roles: Role) -> list[Record]:
        """Return its containers with one of these roles."""
        return [record for record in self.records if record.role in roles]

    def place(self, catalogue: Mapping[str, tuple[str, ...]] | None = None) -> Place:
        """Return where it lives."""
        return Place(
            settings=self.node.settings,
            pod=self.pod,
            ip=self.ip,
            netns=self.netns,
            lookup=self.lookup,
            catalogue=catalogue or {},
        )

    def lookup(self, resource: Resource, name: str) -> Object | None:
        """Return a ConfigMap or Secret of its namespace."""
        return self.node.view[resource].get(self.pod["metadata"]["namespace"], name)

    def tell(self, severity: Severity, reason: str, message: str) -> None:
        """Record an event about it."""
        self.node.events.record(self.pod, severity, reason, message, component=COMPONENT)
