"""As much of HTTP/2 and gRPC as a simulated proxy needs, at a few dozen microseconds per message.

A thousand proxies in one process must not be what a benchmark of the control plane measures, and
with gRPC's library a message costs its receiver as much as its sender.  So this is a client's half
of the protocol by hand: one connection, calls that stream both ways, flow control in both
directions, pings.  Whatever else happens ends it.

Source: RFC 9113 (frames), RFC 7541 (header fields), grpc.io "gRPC over HTTP2".
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from typing_extensions import override

from mutua.foundation.errors import Unavailable

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA, HEADERS, SETTINGS, PING, WINDOW_UPDATE = 0, 1, 4, 6, 8
"""Types of frames."""

END_STREAM, ACK, END_HEADERS = 1, 1, 4
"""Flags of frames."""

FRAME_HEAD: Final = 9
"""Bytes before a frame's payload: length (3), type, flags, stream (4)."""

MESSAGE_HEAD: Final = 5
"""Bytes before a message of gRPC: not compressed, length (4)."""

MAX_FRAME: Final = 16_384
"""Bytes of payload that every peer takes."""

INITIAL_WINDOW_SIZE: Final = 4
"""Number of the setting."""

DEFAULT_WINDOW: Final = 65_535
"""Bytes that a peer may send ahead before it is told otherwise."""

WINDOW: Final = 2**20
"""Bytes that the server may send ahead."""


class Connection(asyncio.Protocol):
    """A connection to a gRPC server; it is lost with an error when anything unexpected happens."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport
        self._calls: dict[int, _Call] = {}
        self._unread = b""
        self._window = self._initial_window = DEFAULT_WINDOW
        self._taken = 0
        self.lost = asyncio.get_running_loop().create_future()
        """Raises Unavailable once the connection is lost."""

    def call(self, path: str, first: list[bytes], answer: Callable[[bytes], bytes]) -> None:
        """Start a call.

        Args:
            path: Its method.
            first: Requests to begin with.
            answer: Returns the request by which a response is answered.
        """
        stream = 2 * len(self._calls) + 1
        self._calls[stream] = call = _Call(stream, answer, self._initial_window)
        self._transport.write(_frame(HEADERS, END_HEADERS, stream, _header_fields(path)))
        call.unsent += b"".join(map(_message, first))
        self._send(call)

    def close(self) -> None:
        """End it."""
        self._transport.close()

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - a socket's
        self._transport = transport
        ahead = INITIAL_WINDOW_SIZE.to_bytes(2, "big") + WINDOW.to_bytes(4, "big")
        more = _window_update(0, WINDOW - DEFAULT_WINDOW)
        transport.write(PREFACE + _frame(SETTINGS, 0, 0, ahead) + more)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        if not self.lost.done():
            self.lost.set_exception(exc or Unavailable("the server closed the connection"))

    @override
    def data_received(self, data: bytes) -> None:
        unread, position = self._unread + data, 0
        while len(unread) >= position + FRAME_HEAD:
            payload = position + FRAME_HEAD
            end = payload + int.from_bytes(unread[position : position + 3], "big")
            if len(unread) < end:
                break
            kind, flags = unread[position + 3], unread[position + 4]
            stream = int.from_bytes(unread[position + 5 : payload], "big")
            self._take(kind, flags, stream, unread[payload:end])
            position = end
        self._unread = unread[position:]

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == DATA and not flags & END_STREAM:
            self._receive(self._calls[stream], payload)
        elif kind == WINDOW_UPDATE:
            self._open(stream, int.from_bytes(payload, "big"))
        elif kind == SETTINGS and not flags & ACK:
            self._adopt(payload)
        elif kind == PING and not flags & ACK:
            self._transport.write(_frame(PING, ACK, 0, payload))
        elif kind not in {SETTINGS, PING, HEADERS} or (kind == HEADERS and flags & END_STREAM):
            self.lost.set_exception(Unavailable(f"the server sent a frame of type {kind}"))
            self._transport.abort()

    def _receive(self, call: "_Call", payload: bytes) -> None:
        self._taken += len(payload)
        call.taken += len(payload)
        call.unread += payload
        for message in call.messages():
            call.unsent += _message(call.answer(message))
        if call.taken > WINDOW // 2:
            self._transport.write(_window_update(call.stream, call.taken))
            call.taken = 0
        if self._taken > WINDOW // 2:
            self._transport.write(_window_update(0, self._taken))
            self._taken = 0
        self._send(call)

    def _send(self, call: "_Call") -> None:
        """Write as much as the server takes now."""
        while size := min(len(call.unsent), call.window, self._window, MAX_FRAME):
            self._transport.write(_frame(DATA, 0, call.stream, bytes(call.unsent[:size])))
            del call.unsent[:size]
            call.window -= size
            self._window -= size

    def _open(self, stream: int, more: int) -> None:
        if stream:
            self._calls[stream].window += more
        else:
            self._window += more
        for call in self._calls.values():
            self._send(call)

    def _adopt(self, settings: bytes) -> None:
        for position in range(0, len(settings), 6):
            number = int.from_bytes(settings[position : position + 2], "big")
            if number == INITIAL_WINDOW_SIZE:
                value = int.from_bytes(settings[position + 2 : position + 6], "big")
                for call in self._calls.values():
                    call.window += value - self._initial_window
                self._initial_window = value
        self._transport.write(_frame(SETTINGS, ACK, 0, b""))
        for call in self._calls.values():
            self._send(call)


@dataclass(slots=True)
class _Call:
    """One stream.

    Attributes:
        stream: Its number.
        answer: Returns the request by which a response is answered.
        window: Bytes that the server takes now.
        unsent: Requests that wait for it.
        unread: The beginning of a response.
        taken: Bytes that arrived since the server was last told that it may send more.
    """

    stream: int
    answer: Callable[[bytes], bytes]
    window: int
    unsent: bytearray = field(default_factory=bytearray)
    unread: bytearray = field(default_factory=bytearray)
    taken: int = 0

    def messages(self) -> list[bytes]:
        """Return the responses that are complete."""
        found = []
        while len(self.unread) >= MESSAGE_HEAD:
            end = MESSAGE_HEAD + int.from_bytes(self.unread[1:MESSAGE_HEAD], "big")
            if len(self.unread) < end:
                break
            found.append(bytes(self.unread[MESSAGE_HEAD:end]))
            del self.unread[:end]
        return found


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    head = len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big")
    return head + payload


def _window_update(stream: int, more: int) -> bytes:
    return _frame(WINDOW_UPDATE, 0, stream, more.to_bytes(4, "big"))


def _message(content: bytes) -> bytes:
    return b"\0" + len(content).to_bytes(4, "big") + content


def _header_fields(path: str) -> bytes:
    """Return a call's header fields, in literals of less than 127 bytes that nobody remembers."""
    fields = (
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "localhost"),
        (":path", path),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
    )
    return b"".join(b"\0" + _literal(name) + _literal(value) for name, value in fields)


def _literal(text: str) -> bytes:
    return bytes((len(text),)) + text.encode()
