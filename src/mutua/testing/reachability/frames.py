"""As much HTTP/2 as asking and answering one question takes.

Header compression is avoided: what is written uses only literals and the static table, and of what
is read only the status matters, which is the first field of every response (RFC 9113, section
8.3.2; RFC 7541, appendix A).
"""

from dataclasses import dataclass
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

HEADER_LENGTH: Final = 9
"""Bytes before a frame's payload."""

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY = 0, 1, 3, 4, 6, 7
ACK: Final = 0x1
END_STREAM: Final = 0x1
END_HEADERS: Final = 0x4

STATUS_200: Final = 0x88
"""The static table's `:status: 200`."""

SIZE_UPDATE: Final = 0x20
"""How a change of the table's size begins, which may precede the first field."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame."""

    kind: int
    flags: int
    stream: int
    payload: bytes = b""

    def __bytes__(self) -> bytes:
        head = len(self.payload).to_bytes(3) + bytes([self.kind, self.flags])
        return head + self.stream.to_bytes(4) + self.payload


def parse_header(head: bytes) -> tuple[int, Frame]:
    """Return the length of a frame's payload, and the frame without it."""
    stream = int.from_bytes(head[5:9]) & 0x7FFF_FFFF
    return int.from_bytes(head[:3]), Frame(head[3], head[4], stream)


def request(authority: str) -> bytes:
    """Return everything a client says to GET / on stream 1."""
    # :method GET, :path /, :scheme http, :authority
    fields = b"\x82\x84\x86\x01" + _text(authority)
    headers = Frame(HEADERS, END_STREAM | END_HEADERS, 1, fields)
    return PREFACE + bytes(Frame(SETTINGS, 0, 0)) + bytes(headers)


def response(stream: int, body: bytes) -> bytes:
    """Return a server's whole answer to a request."""
    length = b"\x0f\x0d" + _text(str(len(body)))  # content-length
    headers = Frame(HEADERS, END_HEADERS, stream, bytes([STATUS_200]) + length)
    return bytes(headers) + bytes(Frame(DATA, END_STREAM, stream, body))


def is_ok(headers: Frame) -> bool:
    """Tell whether a response's headers say 200."""
    fields = headers.payload
    while fields and fields[0] & 0xE0 == SIZE_UPDATE:
        fields = fields[1:]
    return fields[:1] == bytes([STATUS_200])


def reply_to(frame: Frame) -> bytes:
    """Return what the protocol demands as an answer to a frame of the connection, "" for none."""
    if frame.kind in {SETTINGS, PING} and not frame.flags & ACK:
        return bytes(Frame(frame.kind, ACK, 0, frame.payload if frame.kind == PING else b""))
    return b""


def _text(value: str) -> bytes:
    """Return a field's value as it is; it has at most 126 bytes."""
    return bytes([len(value)]) + value.encode()
