"""How does a meshed pod get its proxy?  The port between the node and the mesh.

The node knows processes and networks; it does not know Envoy, certificates or xDS.  For a pod
that injection has given a container `istio-proxy` it asks a `SidecarProvider` what to run there.
Whatever the provider serves to that pod (ADS, SDS) it serves from `prepare` until `release`.

Order in a meshed pod: network, capture rules, istio-proxy, (ready), init containers, containers;
and in reverse at the end.  Init containers therefore have a working mesh, as with Istio's native
sidecars, and no application packet ever leaves the pod uncaptured.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from mutua.api.object import Object
from mutua.runtime.network.rules import CaptureRules
from mutua.runtime.spec import Mount

SIDECAR: Final = "istio-proxy"
"""The container that injection adds (Istio's name, which tools look for)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SidecarPlan:
    """How to run one pod's proxy.

    Attributes:
        argv: Program and arguments; the program is an absolute path.
        env: Added to the container's own environment, and winning over it.
        mounts: Added to the pod's own mounts; sources are absolute host paths.
        capabilities: Kept by the process, such as "NET_ADMIN" for SO_MARK.
        capture: Which of the pod's connections go through the proxy.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[Mount, ...] = ()
    capabilities: tuple[str, ...] = ()
    capture: CaptureRules = field(default_factory=CaptureRules)


class SidecarProvider(Protocol):
    """Serves the proxies of this node's pods."""

    async def prepare(self, pod: Object, pod_dir: Path) -> SidecarPlan:
        """Start serving configuration and certificates to a pod; say how to run its proxy.

        Idempotent: called again for every start of the daemon and every restart of the proxy.
        The pod's status.podIP is set.

        Args:
            pod: The pod, as stored, with its address.
            pod_dir: The pod's volatile directory, private to the node; removed after `release`.

        Raises:
            Unavailable: Not now; the node retries with back-off and shows the message.
            Rejected: The pod asks for something impossible, such as a malformed annotation.
        """
        ...

    async def release(self, pod_uid: str) -> None:
        """Stop serving a pod.  Idempotent; unknown pods are fine."""
        ...

    def is_ready(self, pod_uid: str) -> bool:
        """Tell whether the pod's proxy has acknowledged its first configuration."""
        ...
