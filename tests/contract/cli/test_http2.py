"""The simulated proxies of the benchmark against the server that real ones talk to."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import grpc
import pytest

from mutua.cli.bench.http2 import Connection
from mutua.foundation.errors import Unavailable
from mutua.xds.server import serve_workload

LARGE: Final = 3 * 1024 * 1024
"""Bytes: beyond every window of both sides."""


def echo() -> grpc.GenericRpcHandler:
    async def stream(requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext) -> None:
        async for request in requests:
            if not request:
                await context.abort(grpc.StatusCode.INTERNAL, "asked for")
            await context.write(request)

    method = grpc.stream_stream_rpc_method_handler(stream)
    return grpc.method_handlers_generic_handler("t.Echo", {"Echo": method})


async def connect(socket: Path) -> Connection:
    _, connection = await asyncio.get_running_loop().create_unix_connection(Connection, str(socket))
    return connection


async def test_messages_of_all_sizes_come_and_go_on_several_calls(tmp_path: Path) -> None:
    server = await serve_workload({tmp_path / "s": [echo()]})
    found: list[int] = []
    complete = asyncio.Event()

    def answer(response: bytes) -> bytes:
        found.append(len(response))
        if len(found) >= 40:
            complete.set()
        return response

    connection = await connect(tmp_path / "s")
    try:
        connection.call("/t.Echo/Echo", [bytes(1), bytes(100_000)], answer)
        connection.call("/t.Echo/Echo", [bytes(LARGE)], answer)
        async with asyncio.timeout(30):
            await complete.wait()
            while LARGE not in found:
                await asyncio.sleep(0.01)
    finally:
        connection.close()
        await server.stop()
    assert set(found) == {1, 100_000, LARGE}


async def test_a_call_that_ends_ends_the_connection(tmp_path: Path) -> None:
    server = await serve_workload({tmp_path / "s": [echo()]})
    connection = await connect(tmp_path / "s")
    connection.call("/t.Echo/Echo", [b""], lambda response: response)
    try:
        with pytest.raises(Unavailable, match=r"the server ended a call: .*asked for"):
            async with asyncio.timeout(10):
                await connection.lost
    finally:
        await server.stop()
