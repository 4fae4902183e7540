"""How do packets get from pod to pod?  Everything the node does to its network, behind one class.

Runs in the daemon, which lives in the node's own network namespace N:

    pod netns                           N
    eth0 10.244.0.7/32  ── veth ──  veth (169.254.1.1 by proxy)   10.244.0.7/32 dev veth
    default via 169.254.1.1             nft: Service VIP -> random backend
    nft: capture -> 15001 / 15006       lo: 10.244.0.1 (node), 10.96.0.10 (DNS)
"""

import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from mutua.runtime.network.rules import Backend, CaptureRules, ServiceAddress


class NodeNetwork:
    """The pods' network of one mesh.  Every method is idempotent."""

    def __init__(
        self, netns_dir: Path, *, node_address: str = "10.244.0.1", dns_address: str = "10.96.0.10"
    ) -> None:
        self._netns_dir = netns_dir
        self._node_address = node_address
        self._dns_address = dns_address

    async def start(self) -> None:
        """Bring up loopback, forwarding, the node's and DNS's address; adopt what is there."""
        raise NotImplementedError

    async def stop(self) -> None:
        """Release this object's own resources; pods keep their network."""
        raise NotImplementedError

    async def attach(self, uid: str, address: str) -> str:
        """Give pod `uid` a network namespace with `address`; return the namespace's path."""
        raise NotImplementedError

    async def detach(self, uid: str) -> None:
        """Take pod `uid` off the network; nothing of it stays."""
        raise NotImplementedError

    async def attached(self) -> frozenset[str]:
        """Return the uids of the pods that have a network."""
        raise NotImplementedError

    async def capture(self, uid: str, rules: CaptureRules | None) -> None:
        """Replace the pod's capture rules in one transaction; None captures nothing."""
        raise NotImplementedError

    async def services(self, table: Mapping[ServiceAddress, tuple[Backend, ...]]) -> None:
        """Replace what every Service address leads to, in one transaction."""
        raise NotImplementedError

    async def socket(self, uid: str, kind: Literal["tcp", "udp"]) -> socket.socket:
        """Return a new non-blocking socket that lives in the pod's network namespace."""
        raise NotImplementedError
