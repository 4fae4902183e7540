"""DNS messages as bytes: read a question, write an answer (RFC 1035, RFC 6891, RFC 2782).

Pure, and only what a cluster's resolver needs.  Any bytes either parse, or are answered with an
error code, or are dropped; nothing else can happen.

    question   one per message, no compression, up to 255 bytes of name
    answer     A, CNAME, SRV; everything else is an empty answer with the zone's SOA
"""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from ipaddress import IPv4Address
from typing import Final

TYPE_A, TYPE_CNAME, TYPE_SOA, TYPE_AAAA, TYPE_SRV, TYPE_OPT, TYPE_ANY = 1, 5, 6, 28, 33, 41, 255
CLASS_IN, CLASS_ANY = 1, 255

MAX_NAME: Final = 255
"""Longest name in bytes on the wire (RFC 1035 section 2.3.4)."""
MAX_UDP: Final = 512
"""Longest UDP answer for a client without EDNS, in bytes (RFC 1035 section 2.3.4)."""
MAX_UDP_EDNS: Final = 1232
"""Longest UDP answer for any client, in bytes (DNS flag day 2020)."""
MAX_TCP: Final = 65535
"""Longest answer at all, in bytes: TCP's length prefix has 16 bits."""

ZONE: Final = "cluster.local"
"""The zone this server is authoritative for."""

QR, OPCODE, AUTHORITATIVE, TRUNCATED, RECURSION_DESIRED = 0x8000, 0x7800, 0x0400, 0x0200, 0x0100
RECURSION_AVAILABLE: Final = 0x0080
"""Bits of the header's flags (RFC 1035 section 4.1.1)."""


class Code(IntEnum):
    """Response codes (RFC 1035 section 4.1.1, RFC 6891 section 9)."""

    OK = 0
    MALFORMED = 1
    NO_SUCH_NAME = 3
    NOT_IMPLEMENTED = 4
    REFUSED = 5
    BAD_VERSION = 16


@dataclass(frozen=True, slots=True)
class Target:
    """Where a named port is: one SRV record.

    Attributes:
        name: Host name of the server.
        port: Its port.
    """

    name: str
    port: int


@dataclass(frozen=True, slots=True)
class Answer:
    """Everything known about a name that exists.

    Attributes:
        addresses: IPv4 addresses, dotted quad.
        alias: The name to ask for instead (CNAME), or "".
        targets: Servers of a named port (SRV).
    """

    addresses: tuple[str, ...] = ()
    alias: str = ""
    targets: tuple[Target, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One parsed query.

    Attributes:
        ident: Echoed to the client.
        flags: The query's header flags.
        raw: The question section as it came, echoed to the client.
        name: Lower case, without the final dot.
        kind: Record type.
        limit: Bytes the client accepts over UDP.
        extended: Whether the query used EDNS.
        code: Not OK if the query cannot be looked up.
    """

    ident: int
    flags: int = 0
    raw: bytes = b""
    name: str = ""
    kind: int = TYPE_A
    limit: int = MAX_UDP
    extended: bool = False
    code: Code = Code.OK


class _Malformed(Exception):
    """The bytes are no DNS query."""


def parse_question(data: bytes) -> Question | None:
    """Read a query; None if it deserves no answer at all (too short, or itself an answer)."""
    if len(data) < 12:
        return None
    ident, flags, questions, answers, authorities, additional = struct.unpack_from(">6H", data)
    if flags & QR:
        return None
    if flags & OPCODE:
        return Question(ident=ident, flags=flags, code=Code.NOT_IMPLEMENTED)
    try:
        if questions != 1 or answers or authorities or additional > 1:
            raise _Malformed
        name, offset = _read_name(data, 12)
        kind, group = _unpack(">HH", data, offset)
        raw = data[12 : offset + 4]
        limit, extended, code = _read_options(data, offset + 4, additional)
    except _Malformed:
        return Question(ident=ident, flags=flags, code=Code.MALFORMED)
    if code is Code.OK and group not in {CLASS_IN, CLASS_ANY}:
        code = Code.REFUSED
    return Question(
        ident=ident,
        flags=flags,
        raw=raw,
        name=name,
        kind=kind,
        limit=limit,
        extended=extended,
        code=code,
    )


def _unpack(layout: str, data: bytes, offset: int) -> tuple[int, ...]:
    try:
        return struct.unpack_from(layout, data, offset)
    except struct.error as error:
        raise _Malformed from error


def _read_name(data: bytes, offset: int) -> tuple[str, int]:
    """Return the name in lower case and the offset behind it."""
    labels: list[str] = []
    start = offset
    while True:
        (length,) = _unpack(">B", data, offset)
        offset += 1
        if length == 0:
            return ".".join(labels), offset
        if length > 63 or offset + length - start >= MAX_NAME or offset + length > len(data):
            raise _Malformed
        label = data[offset : offset + length].decode("latin-1").lower()
        if "." in label:
            raise _Malformed
        labels.append(label)
        offset += length


def _read_options(data: bytes, offset: int, additional: int) -> tuple[int, bool, Code]:
    """Return (UDP limit, EDNS used, code) from the additional section."""
    if not additional:
        return MAX_UDP, False, Code.OK
    name, offset = _read_name(data, offset)
    kind, size, extension, _ = _unpack(">HHIH", data, offset)
    if name or kind != TYPE_OPT:
        return MAX_UDP, False, Code.OK
    version = extension >> 16 & 0xFF
    limit = min(max(size, MAX_UDP), MAX_UDP_EDNS)
    return limit, True, Code.BAD_VERSION if version else Code.OK


def write_answer(
    question: Question, answer: Answer | None, *, ttl: int, limit: int = MAX_TCP
) -> bytes:
    """Return the response to `question`.

    Args:
        question: As parsed.
        answer: What is known about its name; None if the name does not exist.
        ttl: Seconds clients may remember it.
        limit: Bytes it may take; a longer one becomes an invitation to ask over TCP.
    """
    code = question.code
    if code is Code.OK and answer is None:
        code = Code.NO_SUCH_NAME
    sections = _Sections()
    if code is Code.OK and answer is not None:
        sections.answers.extend(_records(question.kind, answer, ttl))
    if code in {Code.OK, Code.NO_SUCH_NAME} and not sections.answers and _in_zone(question.name):
        sections.authorities.append(_authority(ttl))
    if question.extended:
        sections.additional.append(_options(code))
    message = _assemble(question, code, sections, truncated=False)
    if len(message) <= limit:
        return message
    return _assemble(question, code, _Sections(additional=sections.additional), truncated=True)


@dataclass(slots=True)
class _Sections:
    answers: list[bytes] = field(default_factory=list)
    authorities: list[bytes] = field(default_factory=list)
    additional: list[bytes] = field(default_factory=list)


def _assemble(question: Question, code: Code, sections: _Sections, *, truncated: bool) -> bytes:
    flags = QR | AUTHORITATIVE | RECURSION_AVAILABLE | question.flags & (OPCODE | RECURSION_DESIRED)
    flags |= (TRUNCATED if truncated else 0) | code & 0xF
    counts = (
        1 if question.raw else 0,
        len(sections.answers),
        len(sections.authorities),
        len(sections.additional),
    )
    header = struct.pack(">6H", question.ident, flags, *counts)
    records = (*sections.answers, *sections.authorities, *sections.additional)
    return header + question.raw + b"".join(records)


SAME_NAME: Final = b"\xc0\x0c"
"""A pointer to the question's name, which always starts at byte 12 (RFC 1035 section 4.1.4)."""


def _records(kind: int, answer: Answer, ttl: int) -> Iterator[bytes]:
    if answer.alias:
        yield _record(SAME_NAME, TYPE_CNAME, ttl, write_name(answer.alias))
        return
    if kind in {TYPE_A, TYPE_ANY}:
        for address in answer.addresses:
            yield _record(SAME_NAME, TYPE_A, ttl, IPv4Address(address).packed)
    if kind in {TYPE_SRV, TYPE_ANY}:
        weight = 100 // max(len(answer.targets), 1)
        for target in answer.targets:
            place = struct.pack(">3H", 0, weight, target.port & 0xFFFF)
            yield _record(SAME_NAME, TYPE_SRV, ttl, place + write_name(target.name))


def _record(name: bytes, kind: int, ttl: int, data: bytes) -> bytes:
    return name + struct.pack(">HHIH", kind, CLASS_IN, ttl, len(data)) + data


def _in_zone(name: str) -> bool:
    return name == ZONE or name.endswith("." + ZONE)


def _authority(ttl: int) -> bytes:
    """The zone's SOA: lets clients remember for `ttl` seconds that there is nothing."""
    times = struct.pack(">5I", 1, 7200, 1800, 86400, ttl)
    data = write_name(f"ns.dns.{ZONE}") + write_name(f"hostmaster.{ZONE}") + times
    return _record(write_name(ZONE), TYPE_SOA, ttl, data)


def _options(code: Code) -> bytes:
    return b"\0" + struct.pack(">HHIH", TYPE_OPT, MAX_UDP_EDNS, code >> 4 << 24, 0)


def write_name(name: str) -> bytes:
    """Encode a host name."""
    labels: Iterable[str] = name.rstrip(".").split(".")
    encoded = (label.encode("latin-1", "replace")[:63] for label in labels)
    return b"".join(bytes([len(label)]) + label for label in encoded if label) + b"\0"
