r"""The records of the issuance log: how they are written, chained, and checked.

    {"sequence":41,"kind":"issued","at":"…", … ,"previous":"<hash of 40>","hash":"<hash of 41>"}\n

The hash is SHA-256 over exactly the bytes of the line before `,"hash"`; they contain the hash of
the record before.  So no byte of any record can change, and no record can be removed, added or
moved, without the chain saying where.  What it cannot say is whether its end was cut off, or all
of it written anew: for that, note a `Head` somewhere else.

Pure: files are read and written by `issuance_log`.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from typing_extensions import override

from mutua.foundation.errors import Rejected

GENESIS: Final = "genesis"
"""Kind of the first record of all; it holds random bytes, so that no two logs are alike."""

SEGMENT: Final = "segment"
"""Kind of the first record of every file but the first."""

ISSUED: Final = "issued"
"""Kind of a record about one certificate."""

NO_HASH: Final = "0" * 64
"""What the genesis calls the hash of the record before it."""

_encode: Final = msgspec.json.Encoder().encode
"""Compact, and a tenth of the time that `json` takes."""

LINE: Final = re.compile(rb'(\{.*),"hash":"([0-9a-f]{64})"\}')

LONGEST_LINE: Final = 16 * 1024
"""Bytes; a record about a certificate has about 600."""


class BrokenChain(Rejected):
    """A record is not what was written, or not where it was written.

    Attributes:
        sequence: Which record should have been here.
    """

    code = "identity.issuance_log_broken"

    def __init__(self, sequence: int, reason: str) -> None:
        super().__init__(
            f"record {sequence} of the issuance log: {reason}",
            hint="see what is there: mutua ca audit verify",
        )
        self.sequence = sequence
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Head:
    """One record, by number and hash: with it goes everything before it."""

    sequence: int
    hash: str

    @classmethod
    def parse(cls, text: str) -> "Head":
        """Read `SEQUENCE:HASH`.

        Raises:
            Rejected: It is something else.
        """
        match = re.fullmatch(r"(\d{1,18}):([0-9a-f]{64})", text.strip())
        if match is None:
            raise Rejected(f"{text!r} is not SEQUENCE:HASH", hint="`mutua ca audit head` prints it")
        return cls(int(match[1]), match[2])

    @override
    def __str__(self) -> str:
        return f"{self.sequence}:{self.hash}"


START: Final = Head(0, NO_HASH)
"""Before the first record."""


@dataclass(frozen=True, slots=True)
class Record:
    """One line.

    Attributes:
        head: Its number and hash.
        kind: What it is about.
        fields: Everything in it.
    """

    head: Head
    kind: str
    fields: Mapping[str, Any]


def encode(after: Head, kind: str, fields: Mapping[str, Any]) -> tuple[bytes, Record]:
    """Return the line of the next record, and the record.

    Args:
        after: The record before.
        kind: What it is about.
        fields: JSON values; `sequence`, `kind`, `previous` and `hash` are not theirs to set.

    Raises:
        ValueError: The line is longer than `LONGEST_LINE`.
    """
    sequence = after.sequence + 1
    content = {"sequence": sequence, "kind": kind, **fields, "previous": after.hash}
    body = _encode(content)
    digest = hashlib.sha256(body[:-1]).hexdigest()
    line = b'%s,"hash":"%s"}\n' % (body[:-1], digest.encode())
    if len(line) > LONGEST_LINE:
        raise ValueError(f"record of {len(line)} bytes")
    return line, Record(Head(sequence, digest), kind, content)


def decode(line: bytes, after: Head) -> Record:
    """Read the record that follows `after`; the line is without its end.

    Raises:
        BrokenChain: It is damaged, or another record.
    """
    sequence = after.sequence + 1
    match = LINE.fullmatch(line) if len(line) <= LONGEST_LINE else None
    if match is None:
        raise BrokenChain(sequence, "not a record")
    digest = hashlib.sha256(match[1]).hexdigest()
    if digest != match[2].decode():
        raise BrokenChain(sequence, "its content does not have its hash")
    try:
        fields = json.loads(match[1] + b"}")
        head, kind = Head(fields["sequence"], digest), str(fields["kind"])
        previous = fields["previous"]
    except (ValueError, KeyError, TypeError) as error:
        raise BrokenChain(sequence, f"not a record: {error}") from None
    if head.sequence != sequence:
        raise BrokenChain(sequence, f"record {head.sequence} is in its place")
    if previous != after.hash:
        raise BrokenChain(sequence, "it does not follow the record before it")
    if (kind == GENESIS) != (after == START):
        raise BrokenChain(sequence, "only the first record is a genesis")
    return Record(head, kind, fields)


def decode_all(lines: Iterable[bytes], after: Head) -> Iterator[Record]:
    """Read records that follow each other.

    Raises:
        BrokenChain: See `decode`; raised by the iterator after the last good record.
    """
    for line in lines:
        record = decode(line, after)
        after = record.head
        yield record


def start_of(line: bytes) -> Head:
    """Return what the first record of a file says it follows, for a file that is read alone.

    Raises:
        BrokenChain: It is damaged.
    """
    try:
        match = LINE.fullmatch(line)
        fields = json.loads(match[1] + b"}") if match else {}
        return Head(int(fields["sequence"]) - 1, str(fields["previous"]))
    except (ValueError, KeyError, TypeError):
        raise BrokenChain(0, "the first line of the file is not a record") from None


def split(content: bytes) -> tuple[list[bytes], bytes]:
    """Return the complete lines of a file, and the torn line after them, b"" when there is none.

    A line is torn when a crash interrupted its writing: it has no end, and is less than a record.
    After a power cut the file may be longer than what reached the disk, filled up with zeros.  A
    whole record of which only the end of the line is missing is a line.
    """
    *lines, tail = content.split(b"\n")
    written = tail.rstrip(b"\0")
    if LINE.fullmatch(written):
        return [*lines, written], b""
    if LINE.match(written):  # more than a record: no crash did that
        return [*lines, tail], b""
    return lines, tail
