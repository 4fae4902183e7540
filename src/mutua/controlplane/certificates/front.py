"""TLS in front of the certificate service's gRPC server.

    client ══TLS══ front ──unix socket── gRPC server
                    │                        │
                    └─ name of the socket ───┘  who is on the other side?

Why not gRPC's own TLS: from Python it either demands a client certificate or never asks for one,
and this port takes both kinds of callers; nor can it be told to forget a root.  Here each
connection is accepted with the context of that moment.  It is then copied, bytes as they are, into
a connection of its own to the gRPC server; that connection's socket has a random name, never used
twice, which gRPC reports as the peer and `peer` translates back.
"""

import asyncio
import logging
import secrets
import socket
import ssl
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from typing_extensions import override

from mutua.controlplane.certificates.tls import ALPN

HANDSHAKE: Final = 5.0
"""Seconds a client gets for its TLS handshake."""

CONNECTIONS: Final = 1024
"""Open connections, over all clients: an agent holds one while it asks."""

CONNECTIONS_OF_ONE: Final = 64
"""Open connections of one address, that is one pod."""

PAUSE: Final = 0.1
"""Seconds without accepting after the system had no descriptor left."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Peer:
    """The other side of one connection.

    Attributes:
        certificate: Its verified certificate, DER; empty when it showed none.
        address: Where it called from.
    """

    certificate: bytes
    address: str


class TlsFront:
    """Accepts TLS connections and passes them on."""

    def __init__(self, backend: Path) -> None:
        """Accept nothing yet.

        Args:
            backend: The gRPC server's unix socket.
        """
        self._backend = backend
        self._context: ssl.SSLContext | None = None
        self._peers: dict[str, Peer] = {}
        self._transports: dict[str, asyncio.Transport] = {}
        self._open: Counter[str] = Counter()

    @property
    def is_open(self) -> bool:
        """Whether there is a context: without one every connection is closed at once."""
        return self._context is not None

    def adopt(self, context: ssl.SSLContext) -> None:
        """Use other TLS settings from now on.

        Connections that showed a certificate end: whether it still counts is decided anew when
        their clients connect again.
        """
        self._context = context
        for name, peer in self._peers.items():
            if peer.certificate:
                self._transports[name].abort()

    def peer(self, name: str) -> Peer | None:
        """Return who is behind a peer of the gRPC server, None when they are gone.

        Args:
            name: As `grpc.aio.ServicerContext.peer` returns it.
        """
        return self._peers.get(name.removeprefix("unix-abstract:"))

    async def serve(self, listener: socket.socket) -> None:
        """Accept on a listening socket until cancelled."""
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as group:
            while True:
                try:
                    accepted, (address, _port) = await loop.sock_accept(listener)
                except OSError as error:
                    log.warning("connection not accepted", extra={"error": str(error)})
                    await asyncio.sleep(PAUSE)
                    continue
                if self._context is None or self._is_full(address):
                    accepted.close()
                    continue
                self._open[address] += 1
                group.create_task(self._converse(accepted, address, self._context))

    def _is_full(self, address: str) -> bool:
        full = self._open.total() >= CONNECTIONS or self._open[address] >= CONNECTIONS_OF_ONE
        if full:
            log.warning("too many connections", extra={"address": address})
        return full

    async def _converse(self, accepted: socket.socket, address: str, tls: ssl.SSLContext) -> None:
        end, transport = _End(), None
        try:
            transport, _ = await asyncio.get_running_loop().connect_accepted_socket(
                lambda: end, accepted, ssl=tls, ssl_handshake_timeout=HANDSHAKE
            )
            session = transport.get_extra_info("ssl_object")
            if session.selected_alpn_protocol() in ALPN:
                certificate = session.getpeercert(binary_form=True) or b""
                await self._pass_on(transport, end, Peer(certificate, address))
        except OSError as error:  # ssl.SSLError and TimeoutError are OSErrors
            log.info("connection ended", extra={"address": address, "reason": str(error)})
        finally:
            accepted.close() if transport is None else transport.abort()
            self._open[address] -= 1
            if not self._open[address]:
                del self._open[address]

    async def _pass_on(self, front: asyncio.Transport, end: "_End", peer: Peer) -> None:
        name = f"mutua-ca-{secrets.token_hex(16)}"
        loop, back_end = asyncio.get_running_loop(), _End()
        inner = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            inner.bind(f"\0{name}")
            await loop.sock_connect(inner, str(self._backend))
            back, _ = await loop.create_unix_connection(lambda: back_end, sock=inner)
        except BaseException:
            inner.close()
            raise
        self._peers[name], self._transports[name] = peer, front
        try:
            end.join(back)
            back_end.join(front)
            await asyncio.wait((end.lost, back_end.lost), return_when=asyncio.FIRST_COMPLETED)
        finally:
            del self._peers[name], self._transports[name]
            back.abort()


class _End(asyncio.Protocol):
    """One of two connections: what arrives on it is written to the other one at once.

    Callbacks and no streams: those would wake a task of their own for every few hundred bytes.
    Nothing is read before there is another one, nor while too much waits to be written here.
    """

    def __init__(self) -> None:
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._transport: asyncio.Transport
        self._other: asyncio.Transport

    def join(self, other: asyncio.Transport) -> None:
        self._other = other
        self._transport.resume_reading()

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.pause_reading()

    @override
    def data_received(self, data: bytes) -> None:
        self._other.write(data)

    @override
    def pause_writing(self) -> None:
        self._other.pause_reading()

    @override
    def resume_writing(self) -> None:
        self._other.resume_reading()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(None)
