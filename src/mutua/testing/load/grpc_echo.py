"""A gRPC echo server, or a client with one long bidirectional stream and one call per request.

    grpc_echo.py serve PORT
    grpc_echo.py call HOST:PORT

The client prints the same JSON lines as client.py: runs of equal outcomes.  Outcomes are "ok", or
what went wrong.  Connections that end in order (drained) do not end calls or streams.  A stream
that ends all the same says how, and after how many seconds: "UNAVAILABLE after 23.4 s".
"""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio

CALL, STREAM = "/echo.Echo/Call", "/echo.Echo/Stream"
PATIENCE, PAUSE, LONGEST, GAP = 30.0, 0.02, 1.0, 0.05


async def serve(port: int) -> None:
    """Serve until killed."""

    async def call(request: bytes, _: Any) -> bytes:
        return request

    async def stream(requests: AsyncIterator[bytes], _: Any) -> AsyncIterator[bytes]:
        async for request in requests:
            yield request

    handlers = {
        "Call": grpc.unary_unary_rpc_method_handler(call),
        "Stream": grpc.stream_stream_rpc_method_handler(stream),
    }
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("echo.Echo", handlers),))
    server.add_insecure_port(f"0.0.0.0:{port}")
    await server.start()
    await server.wait_for_termination()


class Runs:
    """Prints runs of equal outcomes."""

    def __init__(self, stream: str) -> None:
        self.stream = stream
        self.run = ("", 0.0, 0.0, 0, 0.0)

    def note(self, outcome: str, began: float) -> None:
        """Add an outcome to the run, or begin another."""
        before, first, last, count, _ = self.run
        ended = time.monotonic()
        if outcome == before and began - first < LONGEST and began - last < GAP:
            self.run = (before, first, began, count + 1, ended)
            return
        if count:
            sys.stdout.write(json.dumps([self.stream, *self.run]) + "\n")
            sys.stdout.flush()
        self.run = (outcome, began, began, 1, ended)


async def calls(channel: grpc.aio.Channel) -> None:
    """One call after the other."""
    runs, call = Runs("grpc-calls"), channel.unary_unary(CALL)
    while True:
        began = time.monotonic()
        try:
            outcome = "ok" if await call(b"x", timeout=PATIENCE) == b"x" else "wrong"
        except grpc.aio.AioRpcError as error:
            outcome = f"{error.code().name}: {error.details()}"
        runs.note(outcome, began)
        await asyncio.sleep(PAUSE)


async def messages(channel: grpc.aio.Channel) -> None:
    """Message after message on one stream that never ends by itself."""
    runs, opened = Runs("grpc-stream"), channel.stream_stream(STREAM)
    stream, since = opened(), time.monotonic()
    while True:
        began = time.monotonic()
        try:
            async with asyncio.timeout(PATIENCE):
                await stream.write(b"x")
                outcome = "ok" if await stream.read() == b"x" else "ended"
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError, TimeoutError) as error:
            code = error.code().name if isinstance(error, grpc.aio.AioRpcError) else ""
            outcome = code or type(error).__name__
        if outcome != "ok":
            outcome += f" after {time.monotonic() - since:.1f} s"
            stream.cancel()
            stream, since = opened(), time.monotonic()
        runs.note(outcome, began)
        await asyncio.sleep(PAUSE)


async def main() -> None:
    """Serve or call."""
    what, where = sys.argv[1:3]
    if what == "serve":
        await serve(int(where))
        return
    async with grpc.aio.insecure_channel(where) as channel, asyncio.TaskGroup() as group:
        group.create_task(calls(channel))
        group.create_task(messages(channel))


if __name__ == "__main__":
    asyncio.run(main())
