"""Where a container's output goes: one file in CRI's log format, bounded by rotation.

    2026-01-02T03:04:05.123456789Z stdout F a whole line
    2026-01-02T03:04:05.123456790Z stderr P a piece of a line longer than 16 KiB

When the file reaches its bound it is renamed to `<name>.1` (replacing the previous one) and a
new one begins, so a container keeps at least the last LIMIT bytes and at most twice as many.
Losing log lines (a full disk) never stops the application.

Format: https://github.com/kubernetes/design-proposals-archive/blob/main/node/kubelet-cri-logging.md
"""

import os
import time
from typing import Final

LIMIT: Final = 10 * 1024 * 1024
"""Bytes per file (containerLogMaxSize of the kubelet)."""

PIECE: Final = 16 * 1024
"""Bytes of a line before it is split (max_container_log_line_size of containerd)."""

ROTATED: Final = ".1"
"""Suffix of the older file."""


class LogFile:
    """The log of one container, written by its first process."""

    def __init__(self, path: str, *, limit: int = LIMIT) -> None:
        """Open or create the log; the directories above it are created too.

        The directory stays open: the path itself is hidden from the container before the first
        line arrives.
        """
        directory, self._name = os.path.split(path)
        os.makedirs(directory, mode=0o700, exist_ok=True)  # noqa: PTH103 - pathlib costs memory
        self._directory = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._limit = limit
        self._pending = {"stdout": b"", "stderr": b""}
        self._file = -1
        self._open()

    def write(self, stream: str, data: bytes) -> None:
        """Append output of `stream`; what follows the last newline waits for its rest."""
        stamp = _stamp().encode()
        head = b"%s %s " % (stamp, stream.encode())
        *lines, rest = (self._pending[stream] + data).split(b"\n")
        pieces: list[bytes] = []
        for line in lines:
            _split(pieces, head, line)
        while len(rest) >= PIECE:
            pieces.append(b"%sP %s\n" % (head, rest[:PIECE]))
            rest = rest[PIECE:]
        self._pending[stream] = rest
        self._append(pieces)

    def finish(self) -> None:
        """Write what has no newline yet."""
        for stream, rest in self._pending.items():
            if rest:
                self.write(stream, b"\n")

    def close(self) -> None:
        """Close the log; nothing may be written afterwards."""
        self.finish()
        os.close(self._directory)
        if self._file >= 0:
            os.close(self._file)
        self._file = -1

    def _append(self, pieces: list[bytes]) -> None:
        start = 0
        for end, piece in enumerate(pieces):
            if self._size + len(piece) > self._limit and self._size:
                self._put(b"".join(pieces[start:end]))
                self._rotate()
                start = end
            self._size += len(piece)
        self._put(b"".join(pieces[start:]))

    def _put(self, data: bytes) -> None:
        try:
            while data and self._file >= 0:
                data = data[os.write(self._file, data) :]
        except OSError:
            return  # the disk is full, or the file system gone: the application goes on

    def _rotate(self) -> None:
        try:
            names = (self._name, self._name + ROTATED)
            os.rename(*names, src_dir_fd=self._directory, dst_dir_fd=self._directory)
        except OSError:
            os.truncate(self._file, 0)  # the bound holds even when the name was taken away
        os.close(self._file)
        self._open()

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        try:
            self._file = os.open(self._name, flags, 0o600, dir_fd=self._directory)
            self._size = os.fstat(self._file).st_size
        except OSError:
            self._file, self._size = -1, 0


def _split(pieces: list[bytes], head: bytes, line: bytes) -> None:
    while len(line) > PIECE:
        pieces.append(b"%sP %s\n" % (head, line[:PIECE]))
        line = line[PIECE:]
    pieces.append(b"%sF %s\n" % (head, line))


def _stamp() -> str:
    """Return now as RFC 3339 with nanoseconds, UTC."""
    seconds, nanoseconds = divmod(time.clock_gettime_ns(time.CLOCK_REALTIME), 1_000_000_000)
    day = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{day}.{nanoseconds:09d}Z"
