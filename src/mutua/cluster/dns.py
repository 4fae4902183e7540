"""The cluster's DNS server: who is `httpbin.foo`?

Answers from memory, over UDP and TCP, on the node's DNS address; pods reach it because their
resolv.conf names it.  Search domains are the resolver's job, and so is trying elsewhere: pods have
no way out, so every other name does not exist, said at once rather than after a timeout.

Bounded against its clients: message sizes, questions per second and per client, TCP connections,
questions per connection, silence.  A question beyond the rate is dropped like a lost packet.
"""

import asyncio
import logging
import socket
import struct
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

from typing_extensions import override

from mutua.cluster.dns_wire import MAX_TCP, Answer, Target, parse_question, write_answer

__all__ = ["Answer", "DnsServer", "RateLimit", "Target"]

TTL: Final = 5
"""Seconds a client may remember an answer (CoreDNS's default for cluster names)."""

RATE: Final = 5000.0
"""Questions per second one client may ask in the long run.  A program that resolves anew for each
connection asks twice per connection, and a dropped question costs it its resolver's time-out
(5 s in glibc), so the bound is only there to leave the others their share of this process."""
BURST: Final = 10_000.0
"""Questions one client may ask at once."""
CLIENTS: Final = 4096
"""Clients remembered for the rate; the least recent one is forgotten."""

MAX_QUESTION: Final = 1024
"""Bytes of one question over TCP; the longest sensible one has about 300."""
MAX_CONNECTIONS: Final = 64
"""Open TCP connections."""
MAX_QUESTIONS: Final = 100
"""Questions per TCP connection."""
IDLE: Final = 10.0
"""Seconds a TCP client may take for its next question (RFC 7766 section 6.2.3)."""

Lookup = Callable[[str], Answer | None]

log = logging.getLogger(__name__)


class RateLimit:
    """A token bucket per client, for a bounded number of clients.  Pure."""

    def __init__(self, *, rate: float = RATE, burst: float = BURST, clients: int = CLIENTS) -> None:
        self._rate = rate
        self._burst = burst
        self._clients = clients
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def admits(self, client: str, now: float) -> bool:
        """Return whether `client` may ask one more question at `now` (monotonic seconds)."""
        tokens, since = self._buckets.pop(client, (self._burst, now))
        tokens = min(self._burst, tokens + max(now - since, 0.0) * self._rate)
        admitted = tokens >= 1
        self._buckets[client] = (tokens - 1 if admitted else tokens, now)
        if len(self._buckets) > self._clients:
            self._buckets.popitem(last=False)
        return admitted


class DnsServer:
    """Answers questions with what `lookup` knows.

    Args:
        lookup: From a lower-case name without final dot to its answer; None if it does not exist.
        address: Where to listen.
        port: UDP and TCP port; 0 lets the kernel choose.
    """

    def __init__(self, lookup: Lookup, *, address: str = "10.96.0.10", port: int = 53) -> None:
        self._lookup = lookup
        self._address = address
        self._port = port
        self._limit = RateLimit()
        self._turn = 0
        self._connections: set[asyncio.StreamWriter] = set()

    @property
    def port(self) -> int:
        """The port it listens on, once serving."""
        return self._port

    async def serve(self, ready: Callable[[], None]) -> None:
        """Answer until cancelled."""
        loop = asyncio.get_running_loop()
        tcp, udp = self._bind()
        transport, _ = await loop.create_datagram_endpoint(
            lambda: _Datagrams(self._respond), sock=udp
        )
        try:
            server = await asyncio.start_server(self._converse, sock=tcp, limit=MAX_QUESTION + 2)
            try:
                ready()
                await loop.create_future()
            finally:
                server.close()
                for writer in self._connections:
                    writer.transport.abort()
        finally:
            transport.close()

    def _bind(self) -> tuple[socket.socket, socket.socket]:
        tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tcp.bind((self._address, self._port))
            self._port = tcp.getsockname()[1]
            udp.bind((self._address, self._port))
        except BaseException:
            tcp.close()
            udp.close()
            raise
        return tcp, udp

    def _respond(self, data: bytes, client: str, *, over_udp: bool) -> bytes | None:
        """Return the response to one message, or None to stay silent."""
        if not self._limit.admits(client, asyncio.get_running_loop().time()):
            return None
        question = parse_question(data)
        if question is None:
            return None
        answer = self._rotated(self._lookup(question.name)) if question.code == 0 else None
        limit = question.limit if over_udp else MAX_TCP
        return write_answer(question, answer, ttl=TTL, limit=limit)

    def _rotated(self, answer: Answer | None) -> Answer | None:
        """Start a list of addresses at another one each time, so that clients spread."""
        if answer is None or len(answer.addresses) < 2:
            return answer
        self._turn += 1
        start = self._turn % len(answer.addresses)
        addresses = answer.addresses[start:] + answer.addresses[:start]
        return Answer(addresses, answer.alias, answer.targets)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._connections) >= MAX_CONNECTIONS:
            writer.transport.abort()
            return
        self._connections.add(writer)
        try:
            for _ in range(MAX_QUESTIONS):
                async with asyncio.timeout(IDLE):
                    if not await self._turn_of(reader, writer):
                        break
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            log.debug("dns client left", exc_info=True)
        finally:
            self._connections.discard(writer)
            writer.close()

    async def _turn_of(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one question; return whether the client may ask another."""
        (length,) = struct.unpack(">H", await reader.readexactly(2))
        if length > MAX_QUESTION:
            return False
        data = await reader.readexactly(length)
        client = writer.get_extra_info("peername")[0]
        response = self._respond(data, client, over_udp=False)
        if response is None:
            return False
        writer.write(struct.pack(">H", len(response)) + response)
        await writer.drain()
        return True


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, respond: Callable[..., bytes | None]) -> None:
        self._respond = respond
        self._transport: asyncio.DatagramTransport | None = None

    @override
    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    @override
    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        response = self._respond(data, addr[0], over_udp=True)
        if response is not None and self._transport is not None:
            self._transport.sendto(response, addr)
