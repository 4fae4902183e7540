"""What the TLS front of the certificate service does with bytes: all of them, and not too many."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path

import pytest

from mutua.controlplane.certificates.front import TlsFront
from mutua.controlplane.certificates.serving import ServingCertificate
from mutua.controlplane.certificates.tls import SERVER_NAMES
from mutua.foundation.clock import SystemClock
from mutua.identity.authority import Authority
from mutua.identity.x509 import self_signed_ca

MUCH = bytes(range(256)) * 4 * 32 * 1024
"""32 MiB: more than all buffers on the way together."""

CHUNK = 64 * 1024

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def connection(
    folder: Path, backend: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
) -> AsyncIterator[Stream]:
    clock = SystemClock()
    ca = self_signed_ca("", lifetime=timedelta(days=1), clock=clock)
    context = ServingCertificate(Authority(ca, "cluster.local", clock), clock).renewed()
    assert context is not None
    front = TlsFront(folder / "backend.sock")
    front.adopt(context)
    trust = ssl.create_default_context(cadata=ca.chain_pem)
    trust.set_alpn_protocols(["h2"])
    accepted: list[asyncio.StreamWriter] = []

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.append(writer)
        await backend(reader, writer)

    server = await asyncio.start_unix_server(converse, folder / "backend.sock")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        serving = asyncio.create_task(front.serve(listener))
        reader, writer = await asyncio.open_connection(
            *listener.getsockname(), ssl=trust, server_hostname=SERVER_NAMES[0]
        )
        try:
            yield reader, writer
        finally:
            server.close()
            serving.cancel()
            for one in (writer, *accepted):
                one.transport.abort()
            await asyncio.wait((serving, *(asyncio.ensure_future(gone(one)) for one in accepted)))


async def gone(writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        await writer.wait_closed()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(CHUNK):
        writer.write(data)
        await writer.drain()
    writer.close()


async def send(writer: asyncio.StreamWriter) -> None:
    for begin in range(0, len(MUCH), CHUNK):
        writer.write(MUCH[begin : begin + CHUNK])
        await writer.drain()


async def test_all_bytes_arrive_in_both_directions(tmp_path: Path) -> None:
    async with asyncio.timeout(60), connection(tmp_path, echo) as (reader, writer):
        writer.write(MUCH)

        assert await reader.readexactly(len(MUCH)) == MUCH


async def test_a_client_that_sends_more_than_is_read_has_to_wait(tmp_path: Path) -> None:
    async def deaf(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await writer.wait_closed()

    async with asyncio.timeout(60), connection(tmp_path, deaf) as (_, writer):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(send(writer), timeout=1)


async def test_a_client_that_does_not_read_gets_no_more(tmp_path: Path) -> None:
    held_back: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def loud(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(MUCH)
        with suppress(TimeoutError):
            await asyncio.wait_for(writer.drain(), timeout=1)
        held_back.set_result(writer.transport.get_write_buffer_size())

    async with asyncio.timeout(60), connection(tmp_path, loud):
        assert await held_back > len(MUCH) / 2


async def test_the_client_is_told_when_the_backend_ends(tmp_path: Path) -> None:
    async def curt(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with asyncio.timeout(60), connection(tmp_path, curt) as (reader, _):
        assert await reader.read() == b""
