"""One client connection: HTTP/1.1 requests in, replies out, until somebody hangs up.

h11 knows the protocol; this module moves bytes and keeps the peer honest: every wait has a
limit, and nothing the peer sends is kept beyond a constant.

    idle ──request──> handler ──Response──> idle
                         ├──Stream──> chunks until done, or until the client closes ──> idle
                         └──Upgrade──> the socket leaves HTTP, then closes
"""

import asyncio
import contextlib
import logging
import socket
from contextlib import aclosing
from dataclasses import dataclass
from email.utils import format_datetime
from typing import Final

import h11

from mutua.cluster.apiserver.message import Handler, Reply, Request, Response, Stream, Upgrade
from mutua.foundation.clock import Clock
from mutua.foundation.errors import MutuaError

log = logging.getLogger(__name__)

READ_SIZE: Final = 65536
"""Bytes read at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one client may cost.

    Attributes:
        connections: With a client certificate, at the same time.  Source: `kubectl` in a loop plus
            a watch per view of a dashboard; each costs about 300 KB of buffers at worst.
        strangers: Connections without a client certificate, at the same time; counted apart, so
            that other users of the machine cannot lock the owner out.
        head: Bytes of request line and headers.  Source: room for an exec command line of 32 KB.
        body: Bytes of a request body.  Source: kube-apiserver's MaxRequestBodyBytes (3 MiB).
        stranger_body: The same without a client certificate.  Source: room for a TokenReview.
        handshake: Seconds for TLS.
        idle: Seconds between two requests.
        request: Seconds from the first byte of a request to its last.
        write: Seconds for the peer to take a chunk.
        buffer: Bytes buffered in each direction before the other side has to wait.
    """

    connections: int = 512
    strangers: int = 64
    head: int = 65536
    body: int = 3 * 1024 * 1024
    stranger_body: int = 65536
    handshake: float = 10.0
    idle: float = 300.0
    request: float = 30.0
    write: float = 30.0
    buffer: int = 65536


class Disconnected(Exception):
    """The client is gone; there is nobody to tell."""


class BodyTooLarge(Exception):
    """The client sends more than the limit."""


class Connection:
    """Serves one client."""

    def __init__(
        self,
        streams: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        handler: Handler,
        *,
        limits: Limits,
        clock: Clock,
    ) -> None:
        """Take over an accepted connection.

        Args:
            streams: Both directions of it.
            handler: Answers requests.
            limits: What the client may cost.
            clock: For the Date header, which kubectl's caches insist on.
        """
        self._reader, self._writer = streams
        self._handler = handler
        self._limits = limits
        self._clock = clock
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=limits.head)
        self._writer.transport.set_write_buffer_limits(high=limits.buffer)
        # asyncio does this only when the listener was made with proto=IPPROTO_TCP; without it a
        # reply waits 40 ms for the peer's delayed acknowledgement.
        connection = self._writer.get_extra_info("socket")
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._certificate = peer_certificate(self._writer)
        self._body_limit = limits.body if self._certificate else limits.stranger_body

    async def serve(self) -> None:
        """Serve until either side closes; never raises for what the peer does."""
        try:
            with contextlib.suppress(Disconnected, TimeoutError, ConnectionError):
                await self._converse()
        finally:
            self._writer.close()
            with contextlib.suppress(Exception):  # whatever TLS says of a peer that is leaving
                async with asyncio.timeout(self._limits.write):
                    await self._writer.wait_closed()
            # Python before 3.11.4 aborts a TLS connection that is closed already over None.
            with contextlib.suppress(AttributeError):
                self._writer.transport.abort()

    async def _converse(self) -> None:
        while (request := await self._receive_or_refuse()) is not None:
            reply = await self._answer(request)
            match reply:
                case Upgrade():
                    await self._upgrade(reply)
                    return
                case Stream():
                    await self._stream(reply)
                case Response():
                    await self._send(reply)
            if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
                return
            self._http.start_next_cycle()

    async def _answer(self, request: Request) -> Reply:
        try:
            return await self._handler(request)
        except Exception:
            log.exception("request failed", extra={"method": request.method, "path": request.path})
            return _plain(500, "internal error: see the daemon's log")

    async def _receive_or_refuse(self) -> Request | None:
        """Return the next request; refuse a malformed one and return None to close."""
        try:
            return await self._receive()
        except h11.RemoteProtocolError as error:
            refusal = _plain(error.error_status_hint, str(error))
        except BodyTooLarge:
            refusal = _plain(413, f"Request entity too large: limit is {self._body_limit}")
        if self._http.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            await self._send(refusal, close=True)
        return None

    async def _receive(self) -> Request | None:
        async with asyncio.timeout(self._limits.idle):
            head = await self._event()
        if not isinstance(head, h11.Request):
            return None
        body = bytearray()
        async with asyncio.timeout(self._limits.request):
            while isinstance(part := await self._event(), h11.Data):
                body += part.data
                if len(body) > self._body_limit:
                    raise BodyTooLarge
        return Request(
            method=head.method.decode("ascii"),
            target=head.target.decode("latin-1"),
            headers=tuple((bytes(name), bytes(value)) for name, value in head.headers),
            body=bytes(body),
            certificate=self._certificate,
        )

    async def _event(self) -> h11.Event | type[h11.PAUSED]:
        """Return the next event; PAUSED and ConnectionClosed end a conversation."""
        while True:
            event = self._http.next_event()
            if event is not h11.NEED_DATA:
                return event  # type: ignore[return-value]  # NEED_DATA is excluded
            if self._http.they_are_waiting_for_100_continue:
                await self._write(h11.InformationalResponse(status_code=100, headers=[]))
            self._http.receive_data(await self._read())

    async def _read(self) -> bytes:
        data = await self._reader.read(READ_SIZE)
        if not data and self._http.their_state is h11.IDLE:
            raise Disconnected
        return data

    async def _send(self, response: Response, *, close: bool = False) -> None:
        extra = [("Content-Length", str(len(response.body)))]
        if close:
            extra.append(("Connection", "close"))
        headers = self._headers(response.content_type, (*response.headers, *extra))
        await self._write(
            h11.Response(status_code=response.status, headers=headers),
            h11.Data(data=response.body),
            h11.EndOfMessage(),
        )

    async def _stream(self, stream: Stream) -> None:
        """Send chunks; stop as soon as the client hangs up, even between two chunks."""
        is_gone = False
        try:
            async with asyncio.TaskGroup() as tasks:
                watch = tasks.create_task(self._until_closed())
                await self._send_chunks(stream)
                watch.cancel()
        except* (Disconnected, TimeoutError, ConnectionError):
            is_gone = True
        if is_gone:
            raise Disconnected

    async def _send_chunks(self, stream: Stream) -> None:
        headers = self._headers(stream.content_type, stream.headers)
        is_committed = False
        async with aclosing(stream.chunks) as chunks:  # type: ignore[type-var]  # handlers give generators
            try:
                async for chunk in chunks:
                    if not is_committed:
                        await self._write(h11.Response(status_code=200, headers=headers))
                        is_committed = True
                    if chunk:
                        await self._write(h11.Data(data=chunk))
            except MutuaError as error:
                if is_committed:
                    log.warning("stream broke off", extra={"error": str(error)})
                    raise Disconnected from error
                await self._send(stream.refuse(error))
                return
        if not is_committed:
            await self._write(h11.Response(status_code=200, headers=headers))
        await self._write(h11.EndOfMessage())

    async def _until_closed(self) -> None:
        """Wait for the end of input; keep one early request, as HTTP pipelining allows."""
        data = await self._reader.read(READ_SIZE)
        if not data:
            raise Disconnected
        self._http.receive_data(data)

    async def _upgrade(self, upgrade: Upgrade) -> None:
        if self._http.trailing_data[0]:
            await self._send(_plain(400, "data before the protocol was switched"), close=True)
            return
        try:
            await upgrade.take(self._reader, self._writer)
        except MutuaError as error:
            await self._send(upgrade.refuse(error), close=True)

    def _headers(
        self, content_type: str, extra: tuple[tuple[str, str], ...]
    ) -> list[tuple[str, str]]:
        date = format_datetime(self._clock.now(), usegmt=True)
        default = [("Date", date), ("Content-Type", content_type)]
        if not any(name == "Cache-Control" for name, _ in extra):
            default.append(("Cache-Control", "no-cache, private"))
        return [*default, *extra]

    async def _write(self, *events: h11.Event) -> None:
        # One write, hence one TLS record and one segment for an ordinary reply.
        if data := b"".join(self._http.send(event) or b"" for event in events):
            self._writer.write(data)
        async with asyncio.timeout(self._limits.write):
            await self._writer.drain()


def peer_certificate(writer: asyncio.StreamWriter) -> bytes | None:
    """Return the DER of the certificate that the peer proved to hold, None without one."""
    tls = writer.get_extra_info("ssl_object")
    certificate: bytes | None = tls.getpeercert(binary_form=True) if tls else None
    return certificate


def _plain(status: int, text: str) -> Response:
    return Response(status=status, body=f"{text}\n".encode(), content_type="text/plain")
