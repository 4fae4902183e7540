"""What the node needs from the world: processes, network, probes, tokens.

`mutua.runtime`'s ShimClient and NodeNetwork fit as they are; `mutua.testing.node` has fakes.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from mutua.api.object import Object
from mutua.runtime.network.rules import Backend, CaptureRules, ServiceAddress
from mutua.runtime.spec import ContainerSpec, ContainerState


class Execution(Protocol):
    """A program inside a running container."""

    async def wait(self) -> int:
        """Return its exit code."""
        ...

    async def signal(self, signum: int) -> None:
        """Signal it."""
        ...


class Containers(Protocol):
    """Runs containers; see `mutua.runtime.shim.client.ShimClient`."""

    async def start(self, spec: ContainerSpec) -> ContainerState:
        """Start a container.

        Raises:
            StartFailed: Says what is missing.
        """
        ...

    async def exec(
        self,
        container_id: str,
        argv: Sequence[str],
        *,
        stdin: int | None,
        stdout: int,
        stderr: int | None,
    ) -> Execution:
        """Start a program in a running container."""
        ...

    async def signal(self, container_id: str, signum: int) -> None:
        """Signal the container's program."""
        ...

    async def remove(self, container_id: str) -> None:
        """Forget a container, killing it first when it still runs."""
        ...

    async def containers(self) -> list[ContainerState]:
        """Return every container not yet removed."""
        ...

    def exits(self) -> AsyncIterator[ContainerState]:
        """Yield containers as they end."""
        ...


class Network(Protocol):
    """Connects pods; see `mutua.runtime.network.node.NodeNetwork`."""

    async def attach(self, uid: str, address: str) -> str:
        """Give a pod its network; return the namespace's path."""
        ...

    async def detach(self, uid: str) -> None:
        """Take a pod off the network."""
        ...

    async def attached(self) -> frozenset[str]:
        """Return the uids of the pods that have a network."""
        ...

    async def capture(self, uid: str, rules: CaptureRules | None) -> None:
        """Replace the pod's capture rules."""
        ...

    async def services(self, table: Mapping[ServiceAddress, tuple[Backend, ...]]) -> None:
        """Replace what every Service address leads to."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a network probe asks.

    Attributes:
        uid: Of the pod.
        host: Address to connect to; the pod's own unless the probe names another.
        port: Its port.
        path: Of an HTTP request.
        tls: Whether to speak HTTPS (the certificate is not verified).
        headers: Of an HTTP request, repeated ones repeated.
        inside: Whether to connect from inside the pod, past its sidecar.
        timeout: Seconds for the whole exchange.
    """

    uid: str
    host: str
    port: int
    path: str = "/"
    tls: bool = False
    headers: tuple[tuple[str, str], ...] = ()
    inside: bool = False
    timeout: float = 1.0


class Prober(Protocol):
    """Asks over the network whether something is well.  Returns "" for yes, else the reason."""

    async def http(self, target: Target) -> str:
        """Send GET; well is a status of 200 to 399."""
        ...

    async def tcp(self, target: Target) -> str:
        """Connect; well is a connection."""
        ...


class TokenIssuer(Protocol):
    """Signs service account tokens."""

    async def issue(self, pod: Object, audience: str, expiry: int) -> str:
        """Return a token for a pod's service account, bound to this very pod.

        Args:
            pod: The pod.
            audience: Who shall accept it; "" means the API server.
            expiry: Seconds for which it is valid.
        """
        ...


@dataclass(frozen=True, slots=True)
class PodRuntime:
    """The three ways in which the node acts on pods."""

    containers: Containers
    network: Network
    prober: Prober
