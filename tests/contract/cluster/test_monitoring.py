"""Port 15014 over a real socket: what it serves, what it refuses, whom it gets rid of."""

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest

from mutua.cluster.monitoring import Monitoring
from mutua.foundation.clock import SystemClock
from mutua.telemetry.metrics import Metrics

ADDRESS = "127.0.150.14"
"""Nobody's connections begin here, which might take a port between two looks at it."""


async def serving(body: Callable[[int], Awaitable[None]]) -> None:
    with socket.socket() as free:
        free.bind((ADDRESS, 0))
        port = free.getsockname()[1]
    metrics = Metrics(version="1.2", started_at=0.0, now=lambda: 60.0)
    endpoint = Monitoring(metrics, SystemClock(), address=ADDRESS, port=port, version="1.2")
    ready = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(endpoint.run(ready.set))
        await ready.wait()
        await body(port)
        task.cancel()


async def ask(port: int, request: str) -> str:
    reader, writer = await asyncio.open_connection(ADDRESS, port)
    writer.write(f"{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer.decode()


async def test_it_serves_three_pages_to_whoever_reads() -> None:
    async def body(port: int) -> None:
        metrics = await ask(port, "GET /metrics")
        assert metrics.startswith("HTTP/1.1 200")
        assert "istiod_uptime_seconds 60.0" in metrics
        assert (await ask(port, "GET /ready")).startswith("HTTP/1.1 200")
        assert (await ask(port, "GET /version")).endswith("1.2\n")
        assert (await ask(port, "GET /debug/config_dump")).startswith("HTTP/1.1 404")
        assert (await ask(port, "DELETE /metrics")).startswith("HTTP/1.1 405")
        assert (await ask(port, "GET /ready\r\nX: " + "x" * 10_000)).startswith("HTTP/1.1 4")

    await serving(body)


async def test_another_control_plane_cannot_have_the_port() -> None:
    async def body(port: int) -> None:
        metrics = Metrics(version="1.2", started_at=0.0, now=lambda: 60.0)
        other = Monitoring(metrics, SystemClock(), address=ADDRESS, port=port, version="1.2")
        with pytest.raises(OSError, match="in use"):
            await other.run(lambda: None)

    await serving(body)
