"""The server that benchmark requests end at: as little as HTTP/1.1 keep-alive allows.

python -m mutua.cli.bench.server PORT
"""

import asyncio
import sys
from typing import Final

from typing_extensions import override

BODY: Final = b"x" * 1024
"""1 kB, the size that published mesh benchmarks use."""

ANSWER: Final = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(BODY), BODY)


class _Connection(asyncio.Protocol):
    """Answer every request head with the same bytes; bodies are not expected."""

    def __init__(self) -> None:
        self._pending = b""
        self._transport: asyncio.Transport | None = None

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - asyncio's own contract
        self._transport = transport

    @override
    def data_received(self, data: bytes) -> None:
        *heads, self._pending = (self._pending + data).split(b"\r\n\r\n")
        if heads and self._transport is not None:
            self._transport.write(ANSWER * len(heads))


async def _serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(_Connection, "0.0.0.0", port)  # noqa: S104
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
