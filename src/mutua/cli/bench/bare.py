"""The floor of propagation: streams and bytes as in `hub`, and nothing that decides about them.

    python -m mutua.cli.bench.bare DIRECTORY PROXIES SERVICES

It is asked and answers like `hub`.  What a control plane costs on top of this is its own; what
this costs is gRPC's, and no control plane in Python that speaks gRPC to its proxies can do better.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import grpc
import grpc.aio

from mutua.cli.bench.hub import answer_lines, bind_to_one_core, say, socket_of
from mutua.lifecycle.garbage import collect_seldom
from mutua.xds.resource import LISTENER, resource
from mutua.xds.server import ADS, METHODS, serve_workload
from mutua.xds.subscription import Response
from mutua.xds.wire import encode_response

SUBSCRIPTIONS: Final = 4
"""Requests by which a proxy of `fleet` opens its stream."""

SIZE: Final = 6100
"""Bytes of a response: as many as a listener for one port takes."""

RESPONSE: Final = encode_response(
    Response(type_url=LISTENER, nonce="1", resources=(resource("l", bytes(SIZE)),), removed=()),
    version="1",
)


class Bare:
    """Streams to which one response each is written, and from which one request each is read."""

    def __init__(self, proxies: int) -> None:
        """Wait for that many streams."""
        self._proxies = proxies
        self._contexts: list[grpc.aio.ServicerContext[bytes, bytes]] = []
        self._answers = 0
        self._complete = asyncio.Event()

    def handler(self) -> grpc.GenericRpcHandler:
        """Return the handler of one proxy's server."""
        method = grpc.stream_stream_rpc_method_handler(self._serve)
        return grpc.method_handlers_generic_handler(ADS, {METHODS[ADS]: method})

    async def wait_complete(self) -> None:
        """Return once every stream is open, or has answered again."""
        await self._complete.wait()
        self._complete.clear()

    async def write(self, _line: str) -> dict[str, float]:
        """Write to everybody, and say what it took until all had answered."""
        begin, spent = time.monotonic(), time.process_time()
        async with asyncio.TaskGroup() as group:
            for context in self._contexts:
                group.create_task(context.write(RESPONSE))
        await self.wait_complete()
        return {"seconds": time.monotonic() - begin, "cpu": time.process_time() - spent}

    async def _serve(
        self, requests: AsyncIterator[bytes], context: "grpc.aio.ServicerContext[bytes, bytes]"
    ) -> None:
        for _ in range(SUBSCRIPTIONS):
            await anext(requests)
        self._contexts.append(context)
        self._answer()
        async for _ in requests:
            self._answer()

    def _answer(self) -> None:
        self._answers += 1
        if self._answers % self._proxies == 0:
            self._complete.set()


async def serve(directory: Path, proxies: int) -> None:
    """Serve until standard input ends."""
    bare = Bare(proxies)
    servers = [
        await serve_workload({socket_of(directory, number): [bare.handler()]})
        for number in range(proxies)
    ]
    say({"serving": True})
    await bare.wait_complete()
    say({"ready": True})
    await answer_lines(bare.write)
    for server in servers:
        await server.stop()


def main() -> None:
    """Serve until standard input ends."""
    bind_to_one_core()
    collect_seldom()
    asyncio.run(serve(Path(sys.argv[1]), int(sys.argv[2])))


if __name__ == "__main__":
    main()
