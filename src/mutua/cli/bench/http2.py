"""Calls of gRPC over HTTP/2, for simulated proxies: a few dozen microseconds per message.

A thousand proxies in one process must not be what a benchmark of the control plane measures, and
with gRPC's library a message costs its receiver as much as its sender.  So `h2` speaks HTTP/2 here,
and what gRPC adds to it is a length before each message.

Source: grpc.io "gRPC over HTTP2".
"""

import asyncio
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from h2.connection import H2Connection
from h2.events import ConnectionTerminated, DataReceived, StreamEnded, StreamReset
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings
from typing_extensions import override

from mutua.foundation.errors import Unavailable

HEAD: Final = struct.Struct("!?I")
"""Before a message: whether it is compressed, and its length in bytes."""

WINDOW: Final = 2**20
"""Bytes that the server may send ahead."""

ENDS: Final = (StreamEnded, StreamReset, ConnectionTerminated)
"""Events after which a call is over."""


class Connection(asyncio.Protocol):
    """A connection to a gRPC server; it is lost with an error once the server ends a call."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport
        self._http2 = H2Connection()
        self._calls: dict[int, _Call] = {}
        self.lost = asyncio.get_running_loop().create_future()
        """Raises why, once the connection is lost."""

    def call(self, path: str, first: list[bytes], answer: Callable[[bytes], bytes]) -> None:
        """Start a call.

        Args:
            path: Its method.
            first: Requests to begin with.
            answer: Returns the request by which a response is answered.
        """
        stream = self._http2.get_next_available_stream_id()
        header_fields = [
            (":method", "POST"),
            (":scheme", "http"),
            (":authority", "localhost"),
            (":path", path),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
        ]
        self._http2.send_headers(stream, header_fields)
        self._calls[stream] = _Call(answer, bytearray().join(map(_message, first)))
        self._send()

    def close(self) -> None:
        """End it."""
        self._transport.close()

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - a socket's
        self._transport = transport
        self._http2.local_settings = Settings(
            initial_values={SettingCodes.INITIAL_WINDOW_SIZE: WINDOW}
        )
        self._http2.initiate_connection()
        self._http2.increment_flow_control_window(WINDOW - self._http2.inbound_flow_control_window)
        self._send()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        if not self.lost.done():
            self.lost.set_exception(exc or Unavailable("the server closed the connection"))

    @override
    def data_received(self, data: bytes) -> None:
        try:
            events = self._http2.receive_data(data)
            for event in events:
                if isinstance(event, DataReceived):
                    size = event.flow_controlled_length
                    self._http2.acknowledge_received_data(size, event.stream_id)
                    self._calls[event.stream_id].take(event.data)
                elif isinstance(event, ENDS):
                    raise Unavailable(f"the server ended a call: {events}")
            self._send()
        except (ProtocolError, Unavailable) as ended:
            self.connection_lost(ended)
            self._transport.abort()

    def _send(self) -> None:
        """Write as much as the server takes now."""
        for stream, call in self._calls.items():
            while call.unsent and (window := self._http2.local_flow_control_window(stream)) > 0:
                size = min(window, self._http2.max_outbound_frame_size)
                self._http2.send_data(stream, bytes(call.unsent[:size]))
                del call.unsent[:size]
        self._transport.write(self._http2.data_to_send())


@dataclass(slots=True)
class _Call:
    """One stream.

    Attributes:
        answer: Returns the request by which a response is answered.
        unsent: Requests that wait for the server's window.
        unread: The beginning of a response.
    """

    answer: Callable[[bytes], bytes]
    unsent: bytearray
    unread: bytearray = field(default_factory=bytearray)

    def take(self, data: bytes) -> None:
        """Answer the responses that are complete."""
        self.unread += data
        while len(self.unread) >= HEAD.size:
            _, length = HEAD.unpack_from(self.unread)
            end = HEAD.size + length
            if len(self.unread) < end:
                break
            self.unsent += _message(self.answer(bytes(self.unread[HEAD.size : end])))
            del self.unread[:end]


def _message(content: bytes) -> bytes:
    return HEAD.pack(False, len(content)) + content
