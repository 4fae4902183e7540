"""What did a container print?  Reads the files that its first process writes.

The format and the rotation are described at mutua.runtime.shim.logfile.  A reader that follows
holds the file it is in, so a rotation under its feet loses nothing: it finishes the old file, then
goes on with the next.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final

from mutua.runtime.shim.logfile import ROTATED

CHUNK: Final = 65536

POLL: Final = 0.1
"""Seconds between two looks at a file that is followed; a person cannot tell it from at once."""

STAMP_LENGTH: Final = len("2026-01-02T03:04:05.123456789Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class LogQuery:
    """Which part of a log, and how.

    Attributes:
        follow: Keep yielding until the container has ended.
        tail: Only the last so many lines; None for all.
        since: Only what was written at or after this instant.
        timestamps: Keep the time stamp in front of every line.
        limit_bytes: Stop after so many bytes.
    """

    follow: bool = False
    tail: int | None = None
    since: datetime | None = None
    timestamps: bool = False
    limit_bytes: int | None = None


async def read_log(
    path: Path, query: LogQuery, *, is_live: Callable[[], Awaitable[bool]]
) -> AsyncIterator[bytes]:
    """Yield a log as text, in chunks.

    Args:
        path: The newest file, as in ContainerSpec.log_path.
        query: Which part.
        is_live: Asked when the end is reached while following: may more come?

    Raises:
        FileNotFoundError: There is no log.
    """
    shown = _Shown(query)
    with _Files(path) as files:
        if query.tail is not None:
            files.skip_all_but(query.tail)
        while not shown.is_full():
            live = query.follow and await is_live()
            for chunk in files.read():
                if text := shown.render(chunk):
                    yield text
                if shown.is_full():
                    return
                await asyncio.sleep(0)  # a long log must not starve the loop
            if not live:
                return
            await asyncio.sleep(POLL)


class _Files:
    """The rotated sequence of files, read as one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._older = path.with_name(path.name + ROTATED)
        self._rest = b""
        current = path.open("rb")
        self._queue: list[BinaryIO] = [current]
        older = _open(self._older)
        if older is not None and _identity(older) == _identity(current):
            older.close()  # rotated between the two opens: what follows is found while reading
        elif older is not None:
            self._queue.insert(0, older)

    def __enter__(self) -> "_Files":
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._queue:
            file.close()

    def read(self) -> Iterator[list[bytes]]:
        """Yield what there is now, as lists of whole lines."""
        while self._queue:
            if data := self._queue[0].read(CHUNK):
                *lines, self._rest = (self._rest + data).split(b"\n")
                yield lines
            elif len(self._queue) > 1:
                self._queue.pop(0).close()
            elif not self._advance():
                return

    def skip_all_but(self, count: int) -> None:
        """Go to where only `count` lines follow."""
        for index in range(len(self._queue) - 1, -1, -1):
            count -= _seek_back(self._queue[index], count)
            if count <= 0:
                for file in self._queue[:index]:
                    file.close()
                del self._queue[:index]
                return

    def _advance(self) -> bool:
        """Queue what follows the current, finished file; False when nothing does (yet)."""
        current = self._queue[0]
        successor = _open(self._path)
        if successor is None:
            return False
        if _identity(successor) == _identity(current):
            successor.close()
            if os.fstat(current.fileno()).st_size < current.tell():
                current.seek(0)  # emptied in place, because it could not be renamed
                return True
            return False
        older = _open(self._older)
        if older is not None and _identity(older) != _identity(current):
            self._queue.append(older)  # two rotations since the last look
        elif older is not None:
            older.close()
        self._queue.append(successor)
        return True


def _open(path: Path) -> BinaryIO | None:
    try:
        return path.open("rb")
    except FileNotFoundError:
        return None


def _identity(file: BinaryIO) -> tuple[int, int]:
    status = os.fstat(file.fileno())
    return status.st_dev, status.st_ino


def _seek_back(file: BinaryIO, count: int) -> int:
    """Place `file` before its last `count` lines; return how many lines follow now."""
    position = file.seek(0, os.SEEK_END)
    found = 0
    while position > 0:
        start = max(position - CHUNK, 0)
        file.seek(start)
        block = file.read(position - start)
        newlines = block.count(b"\n")
        if found + newlines > count:
            pieces = block.split(b"\n")
            keep = count - found  # whole lines wanted from this block
            cut = sum(len(piece) + 1 for piece in pieces[: len(pieces) - 1 - keep])
            file.seek(start + cut)
            return count
        found += newlines
        position = start
    file.seek(0)
    return found


class _Shown:
    """Lines of the file, as the user asked to see them."""

    def __init__(self, query: LogQuery) -> None:
        self._query = query
        self._left = query.limit_bytes
        self._since = b""
        self._continues = False
        if query.since is not None:
            instant = query.since.astimezone(UTC)
            self._since = instant.strftime("%Y-%m-%dT%H:%M:%S.%f000Z").encode()

    def is_full(self) -> bool:
        """Tell whether the limit is reached."""
        return self._left is not None and self._left <= 0

    def render(self, lines: list[bytes]) -> bytes:
        """Return the text of some lines."""
        text = b"".join(self._line(line) for line in lines)
        if self._left is not None:
            text = text[: self._left]
            self._left -= len(text)
        return text

    def _line(self, line: bytes) -> bytes:
        stamp, _, rest = line.partition(b" ")
        _, _, rest = rest.partition(b" ")
        tag, _, content = rest.partition(b" ")
        if len(stamp) != STAMP_LENGTH or tag not in {b"F", b"P"}:
            return b""  # cut short by a full disk
        if stamp < self._since:
            return b""
        head = stamp + b" " if self._query.timestamps and not self._continues else b""
        self._continues = tag == b"P"
        return head + content + (b"" if self._continues else b"\n")
