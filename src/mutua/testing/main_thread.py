"""Stop the main thread of a process, and no other: a proxy that serves, and hears nothing.

Envoy's workers go on with what they have; its main thread takes up no configuration, confirms
none, and does not connect again.  Done with ptrace(2), by one thread, as that demands.
"""

import ctypes
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

ATTACH: Final = 16
DETACH: Final = 17
ALL_THREADS: Final = 0x40000000
"""`__WALL` of waitpid(2)."""

_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def deaf(pid: int) -> Iterator[None]:
    """Stop a process's main thread inside.

    Raises:
        OSError: It cannot be stopped.
    """
    held, over = threading.Event(), threading.Event()
    failures: list[OSError] = []

    def hold() -> None:
        try:
            _trace(ATTACH, pid)
            os.waitpid(pid, ALL_THREADS)
        except OSError as error:
            failures.append(error)
            return
        finally:
            held.set()
        over.wait()
        _trace(DETACH, pid)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    try:
        if failures:
            raise failures[0]
        yield
    finally:
        over.set()
        thread.join()


def _trace(request: int, pid: int) -> None:
    if _libc.ptrace(ctypes.c_long(request), ctypes.c_long(pid), None, None) == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
