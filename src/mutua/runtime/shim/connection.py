"""One daemon's connection, seen from the shim: bytes in, bytes out, never waiting.

The shim has one thread, so a slow or hostile peer must cost it nothing: what a peer does not read
is buffered up to a bound and then its connection is dropped.  A dropped peer reconnects and asks
for `containers`; no state depends on a connection.
"""

import array
import contextlib
import os
import socket
from typing import Final

from mutua.runtime.shim.protocol import (
    MAX_DESCRIPTORS,
    Decoder,
    Message,
    ProtocolViolation,
    encode,
)

READ_SIZE: Final = 65536

MAX_UNREAD: Final = 16 * 1024 * 1024
"""Bytes a peer may leave unread: four of the largest messages."""

MAX_QUEUED_DESCRIPTORS: Final = 64
"""Descriptors received ahead of the requests that use them."""


class Connection:
    """A connected peer that passed the credentials check."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._decoder = Decoder()
        self._unsent = bytearray()
        self._descriptors: list[int] = []

    def receive(self) -> list[Message] | None:
        """Read what has arrived; None when the peer has gone.

        Raises:
            ProtocolViolation: The peer does not speak the protocol.
        """
        space = socket.CMSG_SPACE(MAX_DESCRIPTORS * 4)
        try:
            flags = socket.MSG_CMSG_CLOEXEC
            data, ancillary, got, _ = self.sock.recvmsg(READ_SIZE, space, flags)
        except (BlockingIOError, InterruptedError):
            return []
        except OSError:
            return None
        for level, kind, payload in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                numbers = array.array("i")
                numbers.frombytes(payload[: len(payload) - len(payload) % numbers.itemsize])
                self._descriptors += numbers
        if got & socket.MSG_CTRUNC or len(self._descriptors) > MAX_QUEUED_DESCRIPTORS:
            raise ProtocolViolation("too many file descriptors")
        return self._decoder.feed(data) if data else None

    def take_descriptors(self, count: object) -> list[int]:
        """Return the descriptors that came with a request; they are the caller's to close.

        Raises:
            ProtocolViolation: Fewer than `count` came.
        """
        if type(count) is not int or not 0 <= count <= len(self._descriptors):
            raise ProtocolViolation("file descriptors are missing")
        taken, self._descriptors = self._descriptors[:count], self._descriptors[count:]
        return taken

    def send(self, message: Message) -> bool:
        """Queue a message and send what fits; False when the peer leaves too much unread."""
        self._unsent += encode(message)
        return self.flush() and len(self._unsent) <= MAX_UNREAD

    def flush(self) -> bool:
        """Send what fits; False when the peer has gone."""
        try:
            while self._unsent:
                del self._unsent[: self.sock.send(self._unsent)]
        except (BlockingIOError, InterruptedError):
            return True
        except OSError:
            return False
        return True

    @property
    def has_unsent(self) -> bool:
        """Whether to call `flush` when the socket is writable."""
        return bool(self._unsent)

    def close(self) -> None:
        """Close the socket and what it delivered."""
        for number in self._descriptors:
            with contextlib.suppress(OSError):
                os.close(number)
        self._descriptors = []
        self.sock.close()
