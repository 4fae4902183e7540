"""One daemon per mesh: who holds the lock, and is it alive?

The lock is an flock(2) on a file in the state directory.  The kernel drops it when the daemon
dies, however it dies, so a stale lock cannot exist; the pid in the file is only for people.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from typing import Final

from mutua.foundation.errors import Conflict
from mutua.foundation.layout import Layout

PATIENCE: Final = 1.0
"""Seconds to wait for the lock: `holder` takes a shared one for an instant, and a daemon that was
killed takes a moment to die."""


class AlreadyRunning(Conflict):
    """Another daemon serves this mesh."""

    code = "daemon.already_running"


def acquire(layout: Layout) -> int:
    """Take the lock and return its file descriptor; the lock lives as long as a copy is open.

    The caller is recorded at once, in place of a daemon that died: its pid may be somebody else's.

    Raises:
        AlreadyRunning: A daemon of this mesh runs.
    """
    fd = os.open(layout.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + PATIENCE
    while not _locked(fd):
        if time.monotonic() > deadline:
            pid = os.pread(fd, 32, 0).decode(errors="replace").strip()
            os.close(fd)
            raise AlreadyRunning(
                f"the mesh {layout.name!r} is already running (pid {pid or 'unknown'})",
                hint="use `mutua shell`, stop it with `mutua down`, or start another with --name",
            )
        time.sleep(PATIENCE / 50)
    record(fd, os.getpid())
    return fd


def _locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


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
