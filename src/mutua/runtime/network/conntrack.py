"""Which UDP conversations must be forgotten when a Service loses a backend?

TCP ends: a connection to a backend that went away is reset, and the next one is balanced anew.
UDP never ends: as long as a client keeps sending from one socket, the kernel keeps sending it to
the backend it once chose, gone or not.  So what was tracked towards a lost backend is deleted, and
the client's next packet chooses again.

Reads and deletes the connection table of the calling thread's network namespace.
Source: linux/netfilter/nfnetlink_conntrack.h; kube-proxy pkg/proxy/conntrack.
"""

import logging
import socket
import struct
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Final

from mutua.runtime.network.netfilter import (
    ACKNOWLEDGE,
    ERROR,
    NETLINK_NETFILTER,
    REQUEST,
)
from mutua.runtime.network.nft import IPV4, UDP
from mutua.runtime.network.rules import Backend, ServiceAddress

SUBSYSTEM: Final = 1
"""The subsystem of the connection table (NFNL_SUBSYS_CTNETLINK)."""
NEW, GET, DELETE = 0, 1, 2
"""Message types (enum cntl_msg_types)."""
DUMP: Final = 0x300
"""Ask for the whole table (NLM_F_DUMP)."""
DONE: Final = 3
"""End of a table (NLMSG_DONE)."""

ORIGINAL, REPLY = 1, 2
"""Directions of a conversation (enum ctattr_type)."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Conversation:
    """One tracked UDP conversation.

    Attributes:
        asked: Where the client sends to.
        answered_by: Who answers.
        original: The kernel's own description of the client's direction.
    """

    asked: ServiceAddress
    answered_by: Backend
    original: bytes


def forget(services: Collection[ServiceAddress], is_stale: Callable[[Conversation], bool]) -> int:
    """Delete the conversations with some UDP Services for which `is_stale` holds; return how many.

    All others, such as a question to the name server for each connection that a pod opens, are
    passed over without a closer look: there may be tens of thousands.
    """
    addresses = {IPv4Address(one.ip).packed for one in services if one.protocol == "udp"}
    if not addresses:
        return 0
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as netlink:
            netlink.bind((0, 0))
            found = list(_conversations(netlink, addresses))
            stale = [known for known in found if is_stale(known)]
            for sequence, known in enumerate(stale, start=2):
                netlink.send(_message(DELETE, ACKNOWLEDGE, sequence, known.original))
                netlink.recv(1 << 16)  # gone already is as good as deleted
    except OSError as error:
        log.warning("udp conversations cannot be forgotten", extra={"reason": str(error)})
        return 0
    return len(stale)


def _message(kind: int, flags: int, sequence: int, body: bytes = b"") -> bytes:
    length, command = 20 + len(body), SUBSYSTEM << 8 | kind
    header = struct.pack("=IHHII", length, command, flags | REQUEST, sequence, 0)
    return header + struct.pack(">BBH", IPV4, 0, 0) + body


def _conversations(netlink: socket.socket, addresses: Collection[bytes]) -> Iterator[Conversation]:
    netlink.send(_message(GET, DUMP, 1))
    while True:
        data, start = netlink.recv(1 << 20), 0
        while len(data) - start >= 16:
            length, kind = struct.unpack_from("=IH", data, start)
            if kind == DONE:
                return
            if kind == ERROR:
                number = -struct.unpack_from("=i", data, start + 16)[0]
                raise OSError(number, "reading the connection table")
            body = data[start + 20 : start + length]
            if any(address in body for address in addresses) and (known := _read(body)):
                yield known
            start += (length + 3) & ~3


def _read(body: bytes) -> Conversation | None:
    """Return the UDP conversation a message describes, or None if it is something else."""
    directions = _attributes(body)
    asked, answered = _ends(directions.get(ORIGINAL)), _ends(directions.get(REPLY))
    if asked is None or answered is None:
        return None
    (_, (to, to_port)), ((back, back_port), _) = asked, answered
    original = directions[ORIGINAL]
    nested = struct.pack("=HH", len(original) + 4, ORIGINAL | 0x8000) + original
    return Conversation(ServiceAddress(to, to_port, "udp"), Backend(back, back_port), nested)


Ends = tuple[tuple[str, int], tuple[str, int]]


def _ends(tuple_: bytes | None) -> Ends | None:
    """Return ((source, port), (destination, port)) of one direction if it is UDP."""
    parts = _attributes(tuple_ or b"")
    addresses, ports = _attributes(parts.get(1, b"")), _attributes(parts.get(2, b""))
    if ports.get(1) != bytes([UDP]):
        return None
    source, destination = (str(IPv4Address(addresses[key])) for key in (1, 2))
    source_port, destination_port = (int.from_bytes(ports[key], "big") for key in (2, 3))
    if not source_port or not destination_port:
        return None
    return (source, source_port), (destination, destination_port)


def _attributes(data: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    while len(data) >= 4:
        length, kind = struct.unpack_from("=HH", data)
        found[kind & 0x3FFF] = data[4:length]
        data = data[(max(length, 4) + 3) & ~3 :]
    return found
