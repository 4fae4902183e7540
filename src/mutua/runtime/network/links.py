"""The wires: which interfaces, addresses, routes and kernel settings the network consists of.

Routed point-to-point, no bridge: every pod's only neighbour is the node, so a pod cannot address a
frame to another pod past the node's rules, and strict reverse-path filtering pins each pod to its
own address.

Everything acts on the network namespace of the calling thread.  pyroute2 is imported on first use:
it costs a quarter of a second, and commands that only talk to the API must not pay it.
"""

import hashlib
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mutua.foundation.errors import Unavailable

if TYPE_CHECKING:
    from pyroute2.iproute.linux import IPRoute

GATEWAY: Final = "169.254.1.1"
"""The pods' default gateway: an address of the node's loopback, link-local so it collides with
nothing (as in Calico)."""

POD_INTERFACE: Final = "eth0"
"""What a pod calls its interface."""

SETTINGS: Final = Path("/proc/sys/net")
"""Kernel settings of the reading thread's network namespace."""

NODE_SETTINGS: Final = {
    "ipv4/ip_forward": "1",
    "ipv4/conf/all/rp_filter": "1",
    "ipv4/conf/default/rp_filter": "1",
    "ipv4/conf/all/send_redirects": "0",
    "ipv4/conf/default/send_redirects": "0",
    "ipv6/conf/default/disable_ipv6": "1",
}
"""Forward between pods; believe a source address only on its own wire; a pod that reaches itself
through a Service is not to be told a shorter way; no IPv6 past the capture rules."""

POD_SETTINGS: Final = {
    "ipv4/ip_unprivileged_port_start": "0",
    "ipv4/ping_group_range": "0 0",
    "ipv6/conf/default/disable_ipv6": "1",
}
"""Programs without capabilities may listen on port 80 and use ping; no IPv6 except on loopback."""


class NetworkRefused(Unavailable):
    """The kernel refused a change to the network."""

    code = "network.refused"


@contextmanager
def told(what: str) -> Iterator[None]:
    """Turn what the kernel refuses into an error that says what was wanted.

    Raises:
        Unavailable: A system call or netlink request inside failed.
    """
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        yield
    except (OSError, NetlinkError) as error:
        raise NetworkRefused(f"cannot {what}: {error}") from error


def write_settings(settings: dict[str, str]) -> None:
    """Set kernel settings; those of a protocol this kernel lacks are skipped."""
    for name, value in settings.items():
        with suppress(FileNotFoundError):
            (SETTINGS / name).write_text(value)


def open_routes() -> "IPRoute":
    """Return a netlink socket for links, addresses and routes; the caller closes it."""
    from pyroute2.iproute.linux import IPRoute

    return IPRoute()


def prepare_node(routes: "IPRoute", *addresses: str) -> None:
    """Bring up the node: loopback with its addresses, forwarding."""
    write_settings(NODE_SETTINGS)
    loopback = socket.if_nametoindex("lo")
    routes.link("set", index=loopback, state="up")
    for address in (*addresses, GATEWAY):
        routes.addr("replace", index=loopback, address=address, prefixlen=32)


def prepare_pod() -> None:
    """Give a new pod namespace its kernel settings and loopback."""
    write_settings(POD_SETTINGS)


def connect_pod(uid: str, address: str, node: int) -> None:
    """Inside a pod's namespace: make the wire to the node, with address and default route.

    Args:
        uid: The pod's uid; names the node's end of the wire.
        address: The pod's address.
        node: Open handle of the node's network namespace.
    """
    with open_routes() as routes:
        routes.link("set", index=socket.if_nametoindex("lo"), state="up")
        if (pod_end := interface_index(POD_INTERFACE)) is None:
            peer: dict[str, Any] = {"ifname": node_end(uid), "net_ns_fd": node}
            routes.link("add", ifname=POD_INTERFACE, kind="veth", state="up", peer=peer)
            pod_end = socket.if_nametoindex(POD_INTERFACE)
        routes.addr("replace", index=pod_end, address=address, prefixlen=32)
        routes.link("set", index=pod_end, state="up")
        routes.route("replace", dst="0.0.0.0/0", gateway=GATEWAY, oif=pod_end, flags=["onlink"])


def route_to_pod(routes: "IPRoute", uid: str, address: str) -> None:
    """In the node: bring up its end of the wire and send the pod's address there."""
    index = socket.if_nametoindex(node_end(uid))
    routes.link("set", index=index, state="up")
    routes.route("replace", dst=f"{address}/32", oif=index, scope="link")


def disconnect_pod(routes: "IPRoute", uid: str) -> None:
    """In the node: remove the wire, both ends and the route; a missing one is fine."""
    if (index := interface_index(node_end(uid))) is not None:
        routes.link("del", index=index)


def node_end(uid: str) -> str:
    """Return the name of the node's end of a pod's wire: at most 15 characters (IFNAMSIZ)."""
    return "pod" + hashlib.blake2s(uid.encode(), digest_size=6).hexdigest()


def interface_index(name: str) -> int | None:
    """Return the index of an interface, or None if there is no such."""
    try:
        return socket.if_nametoindex(name)
    except OSError:
        return None
