"""The Linux system calls that Python 3.11's standard library lacks.

Thin on purpose: one function per call, names and constants as in the manual pages, failures as
OSError that name the call and its object.  Callers decide what a failure means.

Only the standard library: the shim, and with it every container's first process, carries this
module in memory.
"""

import ctypes
import os
import time
from typing import Final

CLONE_NEWNS: Final = 0x00020000
CLONE_NEWUTS: Final = 0x04000000
CLONE_NEWIPC: Final = 0x08000000
CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWPID: Final = 0x20000000
CLONE_NEWNET: Final = 0x40000000

MS_RDONLY: Final = 1
MS_NOSUID: Final = 2
MS_NODEV: Final = 4
MS_NOEXEC: Final = 8
MS_BIND: Final = 4096
MS_REC: Final = 16384
MS_PRIVATE: Final = 1 << 18
MS_SLAVE: Final = 1 << 19
MNT_DETACH: Final = 2

AT_FDCWD: Final = -100
AT_EMPTY_PATH: Final = 0x1000
AT_RECURSIVE: Final = 0x8000
OPEN_TREE_CLONE: Final = 1
OPEN_TREE_CLOEXEC: Final = os.O_CLOEXEC
MOVE_MOUNT_F_EMPTY_PATH: Final = 4
MOUNT_ATTR_RDONLY: Final = 1
RESOLVE_NO_MAGICLINKS: Final = 0x02
RESOLVE_BENEATH: Final = 0x08

PR_SET_DUMPABLE: Final = 4
PR_SET_NAME: Final = 15
PR_CAPBSET_DROP: Final = 24
PR_SET_SECUREBITS: Final = 28
PR_SET_NO_NEW_PRIVS: Final = 38
PR_CAP_AMBIENT: Final = 47
PR_CAP_AMBIENT_RAISE: Final = 2
PR_CAP_AMBIENT_CLEAR_ALL: Final = 4

_SYS_OPEN_TREE: Final = 428
_SYS_MOVE_MOUNT: Final = 429
_SYS_CLOSE_RANGE: Final = 436
_SYS_OPENAT2: Final = 437
_SYS_MOUNT_SETATTR: Final = 442
# Calls added since Linux 5.1 have one number on every architecture (Documentation/process/
# adding-syscalls.rst); the C library of Debian 12 has no wrappers for some of them.

_SYS_RT_SIGACTION: Final = 13 if os.uname().machine == "x86_64" else 134
"""An older call: each architecture has its own number (x86-64; arm64 has the generic one)."""

_CAPABILITY_VERSION_3: Final = 0x20080522
"""linux/capability.h: 64 capabilities in two 32-bit words."""

_libc: Final = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def _syscall(what: str, number: int, *arguments: object) -> int:
    wide = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    return _check(int(_libc.syscall(ctypes.c_long(number), *wide)), what)


def reason(error: OSError) -> str:
    """Return why a call failed, as the end of a sentence."""
    return os.strerror(error.errno or 0).lower()


def unshare(flags: int) -> None:
    """Move the calling process (for PID: its children) into new namespaces."""
    _check(_libc.unshare(ctypes.c_int(flags)), f"unshare {flags:#x}")


def setns(descriptor: int, flags: int) -> None:
    """Join the namespace(s) behind a namespace file or a pidfd."""
    _check(_libc.setns(ctypes.c_int(descriptor), ctypes.c_int(flags)), f"setns {flags:#x}")


def mount(source: str, target: str, kind: str, flags: int = 0, data: str = "") -> None:
    """Mount a file system, or change the propagation of a mount."""
    code = _libc.mount(
        source.encode(),
        os.fsencode(target),
        kind.encode() or None,
        ctypes.c_ulong(flags),
        data.encode() or None,
    )
    _check(code, f"mount {kind or 'flags'} on {target}")


def umount(target: str, flags: int = 0) -> None:
    """Detach a mount."""
    _check(_libc.umount2(os.fsencode(target), ctypes.c_int(flags)), f"umount {target}")


def pivot_root(new_root: str, put_old: str) -> None:
    """Make `new_root` the root of the mount namespace."""
    code = _libc.pivot_root(os.fsencode(new_root), os.fsencode(put_old))
    _check(code, f"pivot_root {new_root}")


def open_beneath(directory: int, path: str) -> int:
    """Open (as O_PATH) what is at `path`, unless a symbolic link leads out of the directory."""
    how = (ctypes.c_uint64 * 3)(  # struct open_how: flags, mode, resolve
        os.O_PATH | os.O_CLOEXEC, 0, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS
    )
    arguments = (directory, os.fsencode(path), ctypes.byref(how), ctypes.sizeof(how))
    return _syscall(f"openat2 {path}", _SYS_OPENAT2, *arguments)


def clone_mount(path: str, *, directory: int = AT_FDCWD) -> int:
    """Return a descriptor of a detached copy of what is at `path`, submounts included.

    With "" as path, of what `directory` is, which then may be a file too.
    """
    flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE | (0 if path else AT_EMPTY_PATH)
    return _syscall(f"open_tree {path}", _SYS_OPEN_TREE, directory, os.fsencode(path), flags)


def attach_mount(tree: int, target: str) -> None:
    """Attach a detached mount at `target`."""
    arguments = (tree, b"", AT_FDCWD, os.fsencode(target), MOVE_MOUNT_F_EMPTY_PATH)
    _syscall(f"move_mount to {target}", _SYS_MOVE_MOUNT, *arguments)


def make_read_only(tree: int = AT_FDCWD, path: str = "", *, recursive: bool = True) -> None:
    """Make a mount read-only, by descriptor (with "" as path) or by path."""
    attr = (ctypes.c_uint64 * 4)(MOUNT_ATTR_RDONLY, 0, 0, 0)  # struct mount_attr: set, clear, …
    flags = (0 if path else AT_EMPTY_PATH) | (AT_RECURSIVE if recursive else 0)
    size = ctypes.sizeof(attr)
    arguments = (tree, os.fsencode(path), flags, ctypes.byref(attr), size)
    _syscall(f"mount_setattr {path}", _SYS_MOUNT_SETATTR, *arguments)


def close_range(first: int, last: int) -> None:
    """Close every descriptor from `first` to `last`, both included."""
    if first <= last:
        _syscall("close_range", _SYS_CLOSE_RANGE, first, last, 0)


def prctl(option: int, argument: int = 0, third: int = 0) -> int:
    """Operate on the calling process."""
    values = (ctypes.c_ulong(value) for value in (argument, third, 0, 0))
    return _check(int(_libc.prctl(ctypes.c_int(option), *values)), f"prctl {option}")


def set_process_name(name: str) -> None:
    """Set what ps shows as the command's name (15 bytes at most)."""
    buffer = ctypes.create_string_buffer(name.encode()[:15])
    _check(int(_libc.prctl(ctypes.c_int(PR_SET_NAME), buffer, 0, 0, 0)), "prctl PR_SET_NAME")


def set_capabilities(*, permitted: int, inheritable: int) -> None:
    """Replace the calling thread's capability sets; effective becomes `permitted`."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    sets = (permitted, permitted, inheritable)
    words = [value >> shift & 0xFFFFFFFF for shift in (0, 32) for value in sets]
    data = (ctypes.c_uint32 * 6)(*words)
    _check(_libc.capset(header, data), "capset")


def last_capability() -> int:
    """Return the highest capability number this kernel knows."""
    number = 0
    while _libc.prctl(ctypes.c_int(23), ctypes.c_ulong(number + 1), 0, 0, 0) >= 0:
        number += 1  # PR_CAPBSET_READ fails with EINVAL past the last one
    return number


def realtime() -> float:
    """Return Unix seconds, for the shim, which is too small to carry a Clock.

    What it returns is only recorded, never compared.
    """
    return time.clock_gettime(time.CLOCK_REALTIME)


RESERVED_SIGNALS: Final = (32, 33)
"""Signals that the C library keeps for its threads: Python and sigaction(3) refuse to touch them,
but a parent can have left them ignored, and exec(2) hands that down (nptl(7))."""

_SIGACTION_BYTES: Final = 32
"""Size of the kernel's struct sigaction on 64-bit machines: handler, flags, restorer, mask."""


def reset_reserved_signals() -> None:
    """Give the C library's own signals their default disposition again."""
    default = (ctypes.c_char * _SIGACTION_BYTES)()
    for number in RESERVED_SIGNALS:
        action = ctypes.addressof(default)
        _syscall(f"rt_sigaction {number}", _SYS_RT_SIGACTION, number, action, 0, 8)
