"""Put nftables messages into force: all of them, or none.

The kernel handles a batch before `send` returns, so its answers are already in the socket: an
error for each message that failed, and the acknowledgement of the last one.  Acts on the network
namespace of the calling thread.
"""

import errno
import os
import socket
import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from mutua.foundation.errors import Unavailable
from mutua.runtime.network.nft import IPV4, Message

NETLINK_NETFILTER: Final = 12
"""The netlink family of netfilter (linux/netlink.h)."""
NFTABLES: Final = 10
"""The subsystem of nf_tables (NFNL_SUBSYS_NFTABLES)."""
BATCH_BEGIN, BATCH_END = 0x10, 0x11
"""Control messages around a transaction (linux/netfilter/nfnetlink.h)."""
REQUEST, ACKNOWLEDGE = 1, 4
"""Netlink flags (NLM_F_REQUEST, NLM_F_ACK)."""
ERROR: Final = 2
"""Message type of an answer (NLMSG_ERROR); error number 0 acknowledges."""

BUFFER: Final = 4 * 1024 * 1024
"""Send buffer asked for, in bytes: a transaction must fit; the kernel grants up to wmem_max."""
RESERVE: Final = 4096
"""Bytes of the granted buffer the kernel keeps for itself, generously."""


class NftablesRefused(Unavailable):
    """The kernel refused a transaction; nothing of it is in force."""

    code = "network.nftables_refused"


def commit(messages: Sequence[Message]) -> None:
    """Put `messages` into force in one transaction.

    Raises:
        NftablesRefused: The kernel refused one of them, or they do not fit one transaction.
    """
    with _netlink() as netlink:
        _send(netlink, messages)


def commit_in_groups(first: Sequence[Message], rest: Iterable[Sequence[Message]]) -> None:
    """Put `first` into force, with as many groups of `rest` as fit the same transaction.

    What does not fit follows in further transactions; a group is never torn apart.
    """
    with _netlink() as netlink:
        limit = netlink.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) - RESERVE
        batch, size = list(first), _size(first)
        for group in rest:
            if batch and size + _size(group) > limit:
                _send(netlink, batch)
                batch, size = [], 0
            batch += group
            size += _size(group)
        if batch:
            _send(netlink, batch)


def _netlink() -> socket.socket:
    try:
        netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
    except OSError as error:
        raise Unavailable(
            "this kernel has no netfilter netlink",
            hint="mutua needs a kernel with nf_tables: load the module nf_tables",
        ) from error
    netlink.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
    netlink.bind((0, 0))
    return netlink


def _size(messages: Sequence[Message]) -> int:
    return sum(20 + len(message.body) for message in messages)


def _send(netlink: socket.socket, messages: Sequence[Message]) -> None:
    last = len(messages)
    frames = [_frame(BATCH_BEGIN, 0, 0, NFTABLES)]
    for sequence, message in enumerate(messages, start=1):
        flags = message.flags | (ACKNOWLEDGE if sequence == last else 0)
        frames.append(_frame(NFTABLES << 8 | message.kind, flags, sequence, 0, message.body))
    frames.append(_frame(BATCH_END, 0, last + 1, NFTABLES))
    try:
        netlink.send(b"".join(frames))
    except OSError as error:
        raise NftablesRefused(f"nftables: cannot send {last} messages: {error}") from error
    _check(netlink, messages)


def _frame(kind: int, flags: int, sequence: int, resource: int, body: bytes = b"") -> bytes:
    family = IPV4 if kind >> 8 else 0
    header = struct.pack("=IHHII", 20 + len(body), kind, flags | REQUEST, sequence, 0)
    return header + struct.pack(">BBH", family, 0, resource) + body


def _check(netlink: socket.socket, messages: Sequence[Message]) -> None:
    acknowledged = False
    for sequence, error in _answers(netlink):
        if error:
            which = f"message {sequence} of {len(messages)}"
            if 0 < sequence <= len(messages):
                which += f" (type {messages[sequence - 1].kind})"
            raise NftablesRefused(f"nftables refused {which}: {os.strerror(error)}")
        acknowledged = acknowledged or sequence == len(messages)
    if not acknowledged:
        raise NftablesRefused("nftables did not acknowledge a transaction")


def _answers(netlink: socket.socket) -> Iterator[tuple[int, int]]:
    """Yield (sequence, error number) of every answer that is waiting."""
    while True:
        try:
            data = netlink.recv(1 << 16, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError as error:
            yield 0, error.errno or errno.EIO
            return
        while len(data) >= 20:
            length, kind, _, sequence, _ = struct.unpack_from("=IHHII", data)
            if kind == ERROR:
                yield sequence, -struct.unpack_from("=i", data, 16)[0]
            data = data[(length + 3) & ~3 :]
