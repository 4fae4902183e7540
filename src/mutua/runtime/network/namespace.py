"""How does the daemon act inside a pod's network namespace without leaving its own?

Namespaces belong to threads, so a thread is born for each errand, joins the pod's namespace, does
the work and dies.  It never goes back: a thread that failed half-way cannot haunt a pool.

A pod's namespace has no process of its own; a bind mount of its handle keeps it alive:

    create    thread unshares -> mounts /proc/thread-self/ns/net on <directory>/<pod uid>
    destroy   unmount and unlink; the kernel frees it with its last socket
"""

import errno
import fcntl
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from mutua.foundation.errors import Unavailable
from mutua.runtime import linux

T = TypeVar("T")

GET_NAMESPACE_TYPE: Final = 0xB703
"""ioctl that names the type of a namespace handle (NS_GET_NSTYPE, linux/nsfs.h)."""

THIS_NAMESPACE: Final = "/proc/thread-self/ns/net"
"""Handle of the calling thread's network namespace."""


def is_namespace(path: Path) -> bool:
    """Return whether `path` is a mounted network namespace, not the bare mount point."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return fcntl.ioctl(handle, GET_NAMESPACE_TYPE) == linux.CLONE_NEWNET
    except OSError:
        return False
    finally:
        os.close(handle)


def call_inside(path: Path, work: Callable[[], T]) -> T:
    """Return what `work` returns when a thread inside the namespace at `path` calls it.

    Raises:
        Unavailable: There is no such namespace.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise Unavailable(f"no network namespace for pod {path.name}") from error

    def joined() -> T:
        linux.setns(handle, linux.CLONE_NEWNET)
        return work()

    try:
        return _call_in_new_thread(joined)
    finally:
        os.close(handle)


def create(path: Path, prepare: Callable[[], None]) -> None:
    """Make a network namespace at `path`; `prepare` runs inside before anybody else can."""

    def born() -> None:
        linux.unshare(linux.CLONE_NEWNET)
        prepare()
        path.touch(mode=0o600)
        linux.mount(THIS_NAMESPACE, str(path), "", linux.MS_BIND)

    _call_in_new_thread(born)


def destroy(path: Path) -> None:
    """Let go of the namespace at `path`; a path without one is fine."""
    try:
        linux.umount(str(path), linux.MNT_DETACH)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOENT}:
            raise
    path.unlink(missing_ok=True)


def _call_in_new_thread(work: Callable[[], T]) -> T:
    outcome: list[T] = []
    failure: list[BaseException] = []

    def errand() -> None:
        try:
            outcome.append(work())
        except BaseException as error:  # noqa: BLE001 - raised again by the caller
            failure.append(error)

    thread = threading.Thread(target=errand, name="netns-errand")
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return outcome[0]
