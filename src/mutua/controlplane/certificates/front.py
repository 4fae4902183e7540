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
from typing import Final

from mutua.controlplane.certificates.tls import ALPN
from mutua.foundation.errors import Unavailable

HANDSHAKE: Final = 5.0
"""Seconds a client gets for its TLS handshake."""

CONNECTIONS: Final = 1024
"""Open connections, over all clients: an agent holds one while it asks."""

CONNECTIONS_OF_ONE: Final = 64
"""Open connections of one address, that is one pod."""

CHUNK: Final = 64 * 1024
"""Bytes copied at once; TLS records carry at most 16 KiB."""

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
        self._writers: dict[str, asyncio.StreamWriter] = {}
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
                self._writers[name].transport.abort()

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
        writer: asyncio.StreamWriter | None = None
        try:
            reader, writer = await _handshake(accepted, tls)
            session = writer.get_extra_info("ssl_object")
            if session.selected_alpn_protocol() in ALPN:
                certificate = session.getpeercert(binary_form=True) or b""
                await self._pass_on(reader, writer, Peer(certificate, address))
        except (OSError, Unavailable) as error:  # ssl.SSLError and TimeoutError are OSErrors
            log.info("connection ended", extra={"address": address, "reason": str(error)})
        finally:
            accepted.close() if writer is None else writer.transport.abort()
            self._open[address] -= 1
            if not self._open[address]:
                del self._open[address]

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, peer: Peer
    ) -> None:
        name = f"mutua-ca-{secrets.token_hex(16)}"
        inner = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            inner.bind(f"\0{name}")
            await asyncio.get_running_loop().sock_connect(inner, str(self._backend))
            back_reader, back_writer = await asyncio.open_unix_connection(sock=inner)
        except BaseException:
            inner.close()
            raise
        self._peers[name], self._writers[name] = peer, writer
        try:
            async with asyncio.TaskGroup() as group:
                pumps = [
                    group.create_task(_pump(reader, back_writer)),
                    group.create_task(_pump(back_reader, writer)),
                ]
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
                for pump in pumps:
                    pump.cancel()
        except* OSError:
            pass  # one side is gone, and that is how connections end
        finally:
            del self._peers[name], self._writers[name]
            back_writer.transport.abort()


async def _handshake(
    accepted: socket.socket, tls: ssl.SSLContext
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=CHUNK, loop=loop)
    transport, protocol = await loop.connect_accepted_socket(
        lambda: asyncio.StreamReaderProtocol(reader, loop=loop),
        accepted,
        ssl=tls,
        ssl_handshake_timeout=HANDSHAKE,
    )
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(CHUNK):
        writer.write(data)
        await writer.drain()
