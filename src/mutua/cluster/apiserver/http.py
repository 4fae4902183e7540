"""An HTTP/1.1 server over TLS on a socket that somebody else opened.

The socket is an argument, because it was made in the host's network namespace before the daemon
moved into the mesh's.  Connections are tasks of one group: when `serve_http` is cancelled they
all end, and one that fails takes nobody with it.
"""

import asyncio
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

from mutua.cluster.apiserver.connection import Connection, Limits, peer_certificate
from mutua.cluster.apiserver.message import Handler
from mutua.foundation.clock import Clock

log = logging.getLogger(__name__)

BACKLOG: Final = 128
"""Connections the kernel queues before we accept them."""


def tls_context(server_file: Path, authority_pem: str, *, password: str) -> ssl.SSLContext:
    """Return the server side of TLS 1.3, asking for a client certificate but not insisting.

    Whoever presents none is anonymous and gets 401 from the API server, which kubectl explains
    better than a failed handshake.

    Args:
        server_file: PEM file with the server's key and certificate chain.
        authority_pem: Who signs client certificates.
        password: Decrypts the server's key.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(server_file, password=password)
    context.load_verify_locations(cadata=authority_pem)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.set_alpn_protocols(["http/1.1"])
    return context


async def serve_http(
    listener: socket.socket,
    handler: Handler,
    *,
    tls: ssl.SSLContext | None,
    clock: Clock,
    limits: Limits | None = None,
    ready: Callable[[], None] = lambda: None,
) -> None:
    """Serve until cancelled.

    Args:
        listener: A listening or bound stream socket; closed at the end.
        handler: Answers requests.
        tls: See `tls_context`; None for plain HTTP.
        clock: For the Date header.
        limits: What a client may cost.
        ready: Called once connections are accepted.

    Cancellation:
        Open connections are cancelled and closed.
    """
    limits = limits or Limits()
    open_connections: Counter[bool] = Counter()
    allowed = {False: limits.connections, True: limits.strangers}

    async def serve(
        streams: tuple[asyncio.StreamReader, asyncio.StreamWriter], *, is_stranger: bool
    ) -> None:
        open_connections[is_stranger] += 1
        try:
            await Connection(streams, handler, limits=limits, clock=clock).serve()
        except Exception:
            log.exception("connection failed")
        finally:
            open_connections[is_stranger] -= 1

    async with asyncio.TaskGroup() as tasks:

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            is_stranger = peer_certificate(writer) is None
            if open_connections[is_stranger] >= allowed[is_stranger]:
                log.warning("too many connections", extra={"stranger": is_stranger})
                writer.transport.abort()
                return
            tasks.create_task(serve((reader, writer), is_stranger=is_stranger))

        server = await asyncio.start_server(
            accept,
            sock=listener,
            ssl=tls,
            backlog=BACKLOG,
            limit=limits.buffer,
            ssl_handshake_timeout=limits.handshake if tls else None,
        )
        async with server:
            ready()
            await server.serve_forever()
