"""One daemon per mesh: who holds the lock, and is it alive?

The lock is an flock(2) on a file in the state directory.  The kernel drops it when the daemon
dies, however it dies, so a stale lock cannot exist; the pid in the file is only for people.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator

from mutua.foundation.errors import Conflict
from mutua.foundation.layout import Layout


class AlreadyRunning(Conflict):
    """Another daemon serves this mesh."""

    code = "daemon.already_running"


def acquire(layout: Layout) -> int:
    """Take the lock and return its file descriptor; the lock lives as long as a copy is open.

    Raises:
        AlreadyRunning: A daemon of this mesh runs.
    """
    fd = os.open(layout.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        pid = os.pread(fd, 32, 0).decode(errors="replace").strip()
        os.close(fd)
        raise AlreadyRunning(
            f"the mesh {layout.name!r} is already running (pid {pid or 'unknown'})",
            hint="use `mutua shell`, stop it with `mutua down`, or start another with --name",
        ) from error
    return fd


def record(fd: int, pid: int) -> None:
    """Write the daemon's pid into the lock file, for people and for `mutua down`."""
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{pid}\n".encode(), 0)


def holder(layout: Layout) -> int | None:
    """Return the pid of the running daemon, or None when none runs."""
    with _opened(layout) as fd:
        if fd is None:
            return None
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            text = os.pread(fd, 32, 0).decode(errors="replace").strip()
            return int(text) if text.isdigit() else None
        return None


@contextlib.contextmanager
def _opened(layout: Layout) -> Iterator[int | None]:
    try:
        fd = os.open(layout.lock, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield None
        return
    try:
        yield fd
    finally:
        os.close(fd)
