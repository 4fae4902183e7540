"""A proxy that lies, floods or stalls on its log does not take the others' turn."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import grpc
import grpc.aio
import pytest

from mutua.xds.proto import StreamAccessLogsMessage
from mutua.xds.reports import FOREIGN_TLS, REFUSED, decode_log
from mutua.xds.server import ACCESS_LOG, LOG_PACE, LOG_PIECE, LogReader, serve_workload
from mutua.xds.sighting import Sighting, Speaks

FLOOD = 40_000
"""Entries of one message that take eight seconds: a busy machine may need some of them."""

METHOD = f"/{ACCESS_LOG}/StreamAccessLogs"


def message(log: str, *hosts: str, source: str = "10.244.0.7") -> bytes:
    """Return what a proxy sends: an HTTP entry per host, a TCP entry when there is none."""
    common = {
        "downstream_direct_remote_address": {
            "socket_address": {"address": source, "port_value": 40000}
        },
        "downstream_local_address": {
            "socket_address": {"address": "10.244.0.2", "port_value": 8080}
        },
    }
    entries = [{"common_properties": common, "request": {"authority": host}} for host in hosts]
    content: dict[str, Any] = {"http_logs": {"log_entry": entries}}
    if not hosts:
        content = {"tcp_logs": {"log_entry": [{"common_properties": common}]}}
    made = StreamAccessLogsMessage(identifier={"log_name": log}, **content)
    return bytes(made.SerializeToString())


@asynccontextmanager
async def streams(*sockets: Path) -> AsyncIterator[list[Any]]:
    async with asyncio.timeout(30):
        channels = [grpc.aio.insecure_channel(f"unix:{socket}") for socket in sockets]
        try:
            yield [channel.stream_unary(METHOD)() for channel in channels]
        finally:
            for channel in channels:
                await channel.close()


async def test_a_flood_of_one_proxy_does_not_delay_a_refusal_of_another(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("l")
    reader, heard, refused = LogReader(), [0], asyncio.Event()

    def count(_sighting: Sighting) -> None:
        heard[0] += 1

    server = await serve_workload({
        folder / "loud": [reader.handler(count)],
        folder / "other": [reader.handler(lambda _sighting: refused.set())],
    })  # fmt: skip
    flood = message("plaintext", *["web"] * FLOOD)
    try:
        async with streams(folder / "loud", folder / "other") as (loud, other):
            begun = monotonic()
            await loud.write(flood)
            while not heard[0]:
                await asyncio.sleep(LOG_PACE)
            await other.write(message(REFUSED))
            await refused.wait()
            took = monotonic() - begun
            assert heard[0] < FLOOD, "it waited for the flood"
            assert heard[0] * LOG_PACE < took + LOG_PIECE * LOG_PACE, "the flood was not paced"
    finally:
        await server.stop()


async def test_what_is_no_log_ends_the_stream_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder, heard = tmp_path_factory.mktemp("l"), []
    server = await serve_workload({folder / "S": [LogReader().handler(heard.append)]})
    try:
        async with streams(folder / "S", folder / "S") as (bad, good):
            await bad.write(b"\xff\xff nonsense")
            with pytest.raises(grpc.aio.AioRpcError) as refusal:
                await bad
            assert refusal.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            await good.write(message("plaintext", "web"))
            await good.done_writing()
            await good
    finally:
        await server.stop()

    assert [one.host for one in heard] == ["web"]


def test_the_log_a_stream_is_comes_with_its_first_message() -> None:
    log, [first] = decode_log(message(FOREIGN_TLS), "")
    _, [second] = decode_log(message(""), log)

    assert (first.speaks, second.speaks) == (Speaks.TLS, Speaks.TLS)


@pytest.mark.parametrize(
    ("host", "kept"),
    [("web:8000", "web:8000"), ("x" * 300, "x" * 253), ("a\x1b[31mb", ""), ("w\u202eb", "")],
)
def test_what_a_peer_calls_a_host_is_bounded_and_can_be_printed(host: str, kept: str) -> None:
    _, [sighting] = decode_log(message("plaintext", host), "")

    assert sighting.host == kept
