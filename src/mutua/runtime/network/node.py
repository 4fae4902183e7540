"""How do packets get from pod to pod?  Everything the node does to its network, behind one class.

Runs in the daemon, which lives in the node's own network namespace N:

    pod netns                           N
    eth0 10.244.0.7/32  ───── veth ──── pod1a2b…        route 10.244.0.7/32
    default via 169.254.1.1             lo: 169.254.1.1, 10.244.0.1 (node), 10.96.0.10 (DNS)
    nft: capture -> 15001 / 15006       nft: Service address -> random backend

All changes go through one worker thread, in the order they were asked for: the event loop never
waits for the kernel, and no two changes interleave.  Opening a socket changes nothing and does not
queue: probes have deadlines.
"""

import asyncio
import os
import socket
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from mutua.foundation.errors import Rejected
from mutua.runtime.network import connections, conntrack, links, namespace, netfilter, service_table
from mutua.runtime.network.capture import capture_messages
from mutua.runtime.network.connections import Connection, Meant
from mutua.runtime.network.conntrack import Conversation
from mutua.runtime.network.rules import Backend, CaptureRules, ServiceAddress, check_address
from mutua.runtime.network.service_table import Services

if TYPE_CHECKING:
    from pyroute2.iproute.linux import IPRoute

T = TypeVar("T")


class NodeNetwork:
    """The pods' network of one mesh.  Every method is idempotent."""

    def __init__(
        self, netns_dir: Path, *, node_address: str = "10.244.0.1", dns_address: str = "10.96.0.10"
    ) -> None:
        self._netns_dir = netns_dir
        self._node_address = node_address
        self._dns_address = dns_address
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="network")
        self._routes: IPRoute | None = None
        self._in_force: dict[ServiceAddress, tuple[Backend, ...]] | None = None

    async def start(self) -> None:
        """Bring up loopback, forwarding, the node's and DNS's address; adopt what is there.

        Pods keep their wires and rules; Services keep the old table until the first `services`.
        """
        await self._do("set up the node's network", self._start)

    async def stop(self) -> None:
        """Release this object's own resources; pods keep their network."""
        await self._do("close the node's network", self._close)
        self._worker.shutdown(wait=False)

    async def attach(self, uid: str, address: str) -> str:
        """Give pod `uid` a network namespace with `address`; return the namespace's path.

        Adopts what a crashed daemon left, complete or half made.
        """
        return await self._do(f"attach pod {uid}", partial(self._attach, uid, address))

    async def detach(self, uid: str) -> None:
        """Take pod `uid` off the network; nothing of it stays."""
        await self._do(f"detach pod {uid}", partial(self._detach, uid))

    async def attached(self) -> frozenset[str]:
        """Return the uids of the pods that have a network namespace."""
        return await self._do("list attached pods", self._attached)

    async def capture(self, uid: str, rules: CaptureRules | None) -> None:
        """Replace the pod's capture rules in one transaction; None captures nothing.

        Established connections go on as they are.
        """
        work = partial(netfilter.commit, capture_messages(rules))
        enter = partial(namespace.call_inside, self._path(uid), work)
        await self._do(f"capture the traffic of pod {uid}", enter)

    async def connections(self, uid: str) -> list[Connection]:
        """Return the connections of the pod's proxy; none for a pod that is not attached."""
        return await self._inside(uid, connections.proxy_connections, [])

    async def end_connections(self, uid: str, is_meant: Meant) -> int:
        """End those connections of the pod's proxy for which `is_meant` holds; return how many.

        Both ends learn of it at once.

        Raises:
            CannotEnd: The kernel has no such operation.
        """
        return await self._inside(uid, partial(connections.end, is_meant), 0)

    async def services(self, table: Mapping[ServiceAddress, tuple[Backend, ...]]) -> None:
        """Replace what every Service address leads to, in one transaction.

        Established connections go on as they are; UDP, which has none, leaves a lost backend.  No
        backends: new connections are refused.
        """
        await self._do("replace Services", partial(self._services, dict(table)))

    async def socket(self, uid: str, kind: Literal["tcp", "udp"]) -> socket.socket:
        """Return a new non-blocking socket that lives in the pod's network namespace."""
        flavour = socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM
        work = partial(socket.socket, socket.AF_INET, flavour | socket.SOCK_NONBLOCK)
        enter = partial(namespace.call_inside, self._path(uid), work)
        return await asyncio.to_thread(_told, f"open a socket in pod {uid}", enter)

    async def _inside(self, uid: str, work: Callable[[], T], without: T) -> T:
        """Do something that changes no configuration, and so does not queue."""
        path = self._path(uid)

        def enter() -> T:
            return namespace.call_inside(path, work) if namespace.is_namespace(path) else without

        return await asyncio.to_thread(_told, f"look at the connections of pod {uid}", enter)

    async def _do(self, what: str, work: Callable[[], T]) -> T:
        running = asyncio.get_running_loop()
        return await running.run_in_executor(self._worker, _told, what, work)

    def _path(self, uid: str) -> Path:
        if not uid or uid in {".", ".."} or "/" in uid:
            raise Rejected(f"not a pod uid: {uid!r}")
        return self._netns_dir / uid

    # The rest runs in the worker thread.

    def _start(self) -> None:
        self._netns_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        links.prepare_node(self._opened(), self._node_address, self._dns_address)

    def _opened(self) -> "IPRoute":
        if self._routes is None:
            self._routes = links.open_routes()
        return self._routes

    def _close(self) -> None:
        if self._routes is not None:
            self._routes.close()
            self._routes = None

    def _attach(self, uid: str, address: str) -> str:
        check_address(address)
        path = self._path(uid)
        if not namespace.is_namespace(path):
            links.disconnect_pod(self._opened(), uid)
            namespace.create(path, links.prepare_pod)
        node = os.open(namespace.THIS_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)
        try:
            namespace.call_inside(path, partial(links.connect_pod, uid, address, node))
        finally:
            os.close(node)
        links.route_to_pod(self._opened(), uid, address)
        return str(path)

    def _detach(self, uid: str) -> None:
        links.disconnect_pod(self._opened(), uid)
        namespace.destroy(self._path(uid))

    def _attached(self) -> frozenset[str]:
        return frozenset(
            path.name for path in self._netns_dir.iterdir() if namespace.is_namespace(path)
        )

    def _services(self, table: dict[ServiceAddress, tuple[Backend, ...]]) -> None:
        before = self._in_force
        if before == table:
            return
        self._in_force = None
        first = service_table.foundation(self._node_address) if before is None else []
        netfilter.commit_in_groups(first, service_table.change(before or {}, table))
        self._in_force = table
        if before is None or service_table.loses_udp_backends(before, table):
            conntrack.forget(table, partial(_is_stale, table))


def _told(what: str, work: Callable[[], T]) -> T:
    with links.told(what):
        return work()


def _is_stale(table: Services, known: Conversation) -> bool:
    backends = table.get(known.asked)
    return backends is not None and known.answered_by not in backends
