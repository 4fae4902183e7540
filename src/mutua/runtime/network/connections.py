"""Which TCP connections does a pod's proxy hold, and how are they ended from outside?

Envoy checks a peer's certificate once, when a connection begins.  The kernel ends a connection at
any time (SOCK_DESTROY): its owner reads an error, and the other end gets a reset.  A proxy's
connections with other pods are told from everything else in its network namespace by what capture
gave them: it dials with a firewall mark that nobody else can set, and accepts on its own port.

Acts on the network namespace of the calling thread.
Source: linux/inet_diag.h, sock_diag(7); net/ipv4/tcp.c `tcp_abort`.
"""

import errno
import os
import socket
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Final

from mutua.foundation.errors import Unavailable
from mutua.runtime.network.capture import ENVOY_MARK, INBOUND_PORT

NETLINK_SOCK_DIAG: Final = 4
"""The netlink family that describes sockets (linux/netlink.h)."""
BY_FAMILY, DESTROY = 20, 21
"""Message types (linux/sock_diag.h: SOCK_DIAG_BY_FAMILY, SOCK_DESTROY)."""
REQUEST, ACKNOWLEDGE, DUMP = 1, 4, 0x300
"""Flags (NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP)."""
ERROR, DONE = 2, 3
"""Message types of answers (NLMSG_ERROR, NLMSG_DONE)."""

MARK: Final = 15
"""The attribute with a socket's firewall mark (INET_DIAG_MARK); only for who may set marks."""

LIVE: Final = sum(1 << state for state in (1, 2, 3, 4, 5, 8, 9))
"""States of a connection that carries, or may yet carry, bytes: ESTABLISHED, SYN_SENT, SYN_RECV,
FIN_WAIT1, FIN_WAIT2, CLOSE_WAIT, LAST_ACK (net/tcp_states.h)."""

TIMEOUT: Final = 5.0
"""Seconds the kernel gets for an answer; it takes microseconds."""


class CannotEnd(Unavailable):
    """The kernel cannot end connections from outside."""

    code = "network.cannot_end_connections"


@dataclass(frozen=True, slots=True)
class Connection:
    """One TCP connection of a pod's proxy with another pod, or with its own.

    Attributes:
        dialled: The proxy opened it; else it accepted it.
        local: Port on this side; `INBOUND_PORT` if accepted.
        peer: IPv4 address of the other side.
        port: Port on the other side.
        cookie: The kernel's name for this socket: never used twice until the machine restarts.
        identity: The kernel's own description of it.
    """

    dialled: bool
    local: int
    peer: str
    port: int
    cookie: int
    identity: bytes


Meant = Callable[[Connection], bool]
"""Chooses connections."""


def proxy_connections() -> list[Connection]:
    """Return the connections of this pod's proxy with other pods and the world outside.

    Raises:
        OSError: The kernel does not tell.
    """
    with _netlink() as netlink:
        return [found for found in _sockets(netlink) if found is not None]


def end(is_meant: Meant) -> int:
    """End the proxy's connections for which `is_meant` holds; return how many.

    Raises:
        CannotEnd: The kernel was built without CONFIG_INET_DIAG_DESTROY.
        OSError: The kernel does not tell, or does not allow it.
    """
    ended = 0
    with _netlink() as netlink:
        for connection in [found for found in _sockets(netlink) if found and is_meant(found)]:
            netlink.send(_message(DESTROY, ACKNOWLEDGE, _request(connection.identity)))
            ended += _acknowledged(netlink.recv(1 << 16))
    return ended


def _acknowledged(answer: bytes) -> bool:
    number = -struct.unpack_from("=i", answer, 16)[0]
    if number in {errno.ENOENT, errno.ESTALE}:
        return False  # it ended by itself
    if number == errno.EOPNOTSUPP:
        raise CannotEnd(
            "this kernel cannot end connections from outside",
            hint="it needs CONFIG_INET_DIAG_DESTROY",
        )
    if number:
        raise OSError(number, f"ending a connection: {os.strerror(number)}")
    return True


def _netlink() -> socket.socket:
    netlink = socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_SOCK_DIAG
    )
    netlink.settimeout(TIMEOUT)
    netlink.bind((0, 0))
    return netlink


def _message(kind: int, flags: int, body: bytes) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, flags | REQUEST, 1, 0) + body


def _request(identity: bytes = bytes(48), states: int = LIVE) -> bytes:
    """Return struct inet_diag_req_v2 for TCP over IPv4."""
    header = struct.pack("=BBBBI", socket.AF_INET, socket.IPPROTO_TCP, 0, 0, states)
    return header + identity


def _sockets(netlink: socket.socket) -> Iterator[Connection | None]:
    netlink.send(_message(BY_FAMILY, DUMP, _request()))
    while True:
        data = netlink.recv(1 << 20)
        while len(data) >= 16:
            length, kind = struct.unpack_from("=IH", data)
            if kind == DONE:
                return
            if kind == ERROR:
                number = -struct.unpack_from("=i", data, 16)[0]
                raise OSError(number, f"listing connections: {os.strerror(number)}")
            yield _read(data[16:length])
            data = data[(length + 3) & ~3 :]


def _read(body: bytes) -> Connection | None:
    """Return the connection that a message describes, or None if it is not the proxy's."""
    # 4 bytes of family, state, timer and retransmits, then struct inet_diag_sockid of 48.
    identity = body[4:52]
    local, port = struct.unpack_from(">HH", identity)
    peer = str(IPv4Address(identity[20:24]))
    cookie = struct.unpack_from("=Q", identity, 40)[0]
    dialled = _mark(body[72:]) == ENVOY_MARK
    if not dialled and local != INBOUND_PORT:
        return None
    return Connection(dialled, local, peer, port, cookie, identity)


def _mark(data: bytes) -> int:
    while len(data) >= 4:
        length, kind = struct.unpack_from("=HH", data)
        if kind == MARK:
            return int(struct.unpack_from("=I", data, 4)[0])
        data = data[(max(length, 4) + 3) & ~3 :]
    return 0
