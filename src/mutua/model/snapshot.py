"""What the mesh is at one instant: one immutable value.

The compiler turns it into Envoy's configuration, the evaluator answers questions about it, and
neither asks anybody else.  A new snapshot reuses every unchanged part of the one before, the same
objects, so that "has this changed?" is `is` for most of the mesh.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields

from mutua.api.destination import DestinationRule
from mutua.api.security import PeerAuthentication
from mutua.model.service import Service, ServiceName
from mutua.model.settings import MeshSettings
from mutua.model.workload import Endpoint, InboundPort, Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshSnapshot:
    """The mesh at one instant.

    Attributes:
        settings: Mesh-wide settings.
        services: Oldest first; ties by name, then namespace; hosts of ServiceEntries included.
        workloads: Pods that have not finished, by uid.
        endpoints: Service to Service port number to its endpoints, ready or not, by address.
        inbound_ports: Workload uid to the container ports that Services expose, by number.
        peer_authentications: All of them, in no particular order.
        destination_rules: All of them, in no particular order.
    """

    settings: MeshSettings
    services: tuple[Service, ...]
    workloads: Mapping[str, Workload]
    endpoints: Mapping[ServiceName, Mapping[int, tuple[Endpoint, ...]]]
    inbound_ports: Mapping[str, tuple[InboundPort, ...]]
    peer_authentications: tuple[PeerAuthentication, ...]
    destination_rules: tuple[DestinationRule, ...] = ()

    def has_parts_of(self, other: "MeshSnapshot") -> bool:
        """Tell whether it consists of another's parts: nothing has changed.

        Most changes of objects (a pod's conditions, our own status) do not change the mesh.
        """
        return all(
            getattr(self, part.name) is getattr(other, part.name) for part in fields(MeshSnapshot)
        )

    def other_files(self, before: "MeshSnapshot | None") -> frozenset[str]:
        """Return the pods whose proxies have other files than before."""
        if before is None or self.workloads is before.workloads:
            return frozenset()
        known = before.workloads
        return frozenset(
            uid
            for uid, pod in self.workloads.items()
            if uid in known and pod.files != known[uid].files
        )
