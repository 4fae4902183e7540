"""What crosses the control socket: length-prefixed JSON objects, and file descriptors.

    frame   = length (4 bytes, big endian) + that many bytes of UTF-8 JSON, an object
    request = {"id": n, "op": "…", …}                     daemon -> shim
    answer  = {"id": n, "ok": …}
            | {"id": n, "code": "…", "error": "…"}        shim -> daemon, in any order
    event   = {"event": "exit", "container": {…}}
            | {"event": "exec", "exec": n, "code": n}     shim -> daemon, unasked

Descriptors (SCM_RIGHTS) travel with the first byte of the request that uses them.
"""

import json
from typing import Any, Final

from mutua.foundation.errors import Rejected

MAX_FRAME: Final = 4 * 1024 * 1024
"""Bytes of JSON in one frame.

Twice what execve(2) takes as arguments and environment (a quarter of an 8 MiB stack), so whatever
can be started can be asked for.
"""

MAX_DESCRIPTORS: Final = 3
"""Descriptors per request: stdin, stdout, stderr."""

Message = dict[str, Any]


class ProtocolViolation(Rejected):
    """The other side does not speak this protocol."""

    code = "runtime.protocol"


def encode(message: Message) -> bytes:
    """Return the frame of one message.

    Raises:
        ProtocolViolation: It is larger than the other side accepts.
    """
    body = json.dumps(message, separators=(",", ":")).encode()
    if len(body) > MAX_FRAME:
        raise ProtocolViolation(f"message of {len(body)} bytes, at most {MAX_FRAME} are allowed")
    return len(body).to_bytes(4, "big") + body


class Decoder:
    """Turns received bytes into messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Message]:
        """Take received bytes; return the messages they complete.

        Raises:
            ProtocolViolation: A frame is too large, or not a JSON object.
        """
        self._buffer += data
        messages = []
        while (message := self._next()) is not None:
            messages.append(message)
        return messages

    def _next(self) -> Message | None:
        if len(self._buffer) < 4:
            return None
        length = int.from_bytes(self._buffer[:4], "big")
        if length > MAX_FRAME:
            raise ProtocolViolation(f"frame of {length} bytes, at most {MAX_FRAME} are allowed")
        if len(self._buffer) < 4 + length:
            return None
        body = bytes(self._buffer[4 : 4 + length])
        del self._buffer[: 4 + length]
        try:
            message = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise ProtocolViolation("frame is not JSON") from error
        if not isinstance(message, dict):
            raise ProtocolViolation("frame is not a JSON object")
        return message
