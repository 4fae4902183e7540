"""A TLS server on loopback around any handler, in the test's own event loop."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from mutua.cluster.apiserver.connection import Limits
from mutua.cluster.apiserver.credentials import prepare_credentials
from mutua.cluster.apiserver.http import serve_http, tls_context
from mutua.cluster.apiserver.message import Handler
from mutua.foundation.clock import SystemClock


@dataclass
class Peer:
    """A client that writes bytes and reads bytes."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, text: str) -> None:
        self.writer.write(text.encode().replace(b"\n", b"\r\n"))
        await self.writer.drain()

    async def response(self) -> tuple[int, str]:
        """Read one response with a Content-Length."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        lines = head.lower().split("\r\n")
        (length,) = (int(line.split(":")[1]) for line in lines if line.startswith("content-length"))
        return int(head.split()[1]), (await self.reader.readexactly(length)).decode()


@dataclass
class Serving:
    """The address of the server and ways to connect to it."""

    port: int
    authority: str
    owner_file: Path

    @asynccontextmanager
    async def connect(self, *, as_owner: bool = False) -> AsyncIterator[Peer]:
        context = ssl.create_default_context(cadata=self.authority)
        if as_owner:
            context.load_cert_chain(self.owner_file)
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, ssl=context)
        try:
            yield Peer(reader, writer)
        finally:
            writer.transport.abort()


Serve = Callable[..., AbstractAsyncContextManager[Serving]]


@pytest.fixture
def serve(tmp_path: Path) -> Serve:
    @asynccontextmanager
    async def serving(handler: Handler, limits: Limits | None = None) -> AsyncIterator[Serving]:
        clock = SystemClock()
        credentials = prepare_credentials(tmp_path / "pki", clock)
        owner_file = tmp_path / "owner.pem"
        owner_file.write_text(credentials.admin.key.pem() + credentials.admin.chain_pem)
        listener = socket.create_server(("127.0.0.1", 0))
        up = asyncio.Event()
        async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
            task = tasks.create_task(
                serve_http(
                    listener,
                    handler,
                    tls=tls_context(
                        credentials.server_file,
                        credentials.authority_pem,
                        password=credentials.server_password,
                    ),
                    clock=clock,
                    limits=limits,
                    ready=up.set,
                )
            )
            await up.wait()
            try:
                yield Serving(listener.getsockname()[1], credentials.authority_pem, owner_file)
            finally:
                task.cancel()

    return serving
