"""How does the daemon get into its mesh's namespaces?

The shim owns a user namespace U (which maps the caller to 0 and nobody else), a PID namespace P,
a mount namespace M and a network namespace N.  The daemon starts the shim when there is none, and
joins U, M and N of a live one: it lives in the host's PID namespace, its files and packets in
the mesh's.
"""

import os
import socket
import struct
import subprocess
from pathlib import Path
from typing import Final

from mutua.foundation.errors import Unavailable
from mutua.foundation.layout import Layout
from mutua.runtime import linux

PATIENCE: Final = 20.0
"""Seconds a new shim may take; two interpreter starts on a machine that is swapping."""

SHIM_LOG: Final = "shim.log"
"""In the mesh's state directory: what the shim has to say besides its answers."""

JOINED: Final = linux.CLONE_NEWUSER | linux.CLONE_NEWNS | linux.CLONE_NEWNET

_MAIN: Final = Path(__file__).with_name("shim") / "__main__.py"


class NoShim(Unavailable):
    """No shim of ours answers."""

    code = "runtime.no_shim"


def start_shim(layout: Layout, *, python: str) -> int:
    """Start the shim in new namespaces and return its pid once its socket answers.

    A shim that is alive already is kept: its pid is returned.

    Args:
        layout: The mesh's directories; `run` and `state` must exist.
        python: The interpreter to run it with.

    Raises:
        Unavailable: User namespaces are not available (the message says why in one line), or the
            shim did not come up.
    """
    if shim_alive(layout):
        return _peer(layout)[0]
    outcome, ready = os.pipe2(os.O_CLOEXEC)
    try:
        _launch(layout, python, ready)
        answer = os.read(outcome, 4096).decode(errors="replace").strip("\n")
    finally:
        os.close(outcome)
    if answer != "ready":
        log = layout.state / SHIM_LOG
        reason, _, hint = answer.partition("\t")
        raise Unavailable(reason or "the shim did not start", hint=hint or f"read {log}")
    return _peer(layout)[0]


def _launch(layout: Layout, python: str, ready: int) -> None:
    """Run the first stage to its end; close `ready`, so that reading ends with the shim's word."""
    arguments = [python, "-I", "-S", str(_MAIN), "launch", str(layout.run), str(ready)]
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    log = os.open(layout.state / SHIM_LOG, flags, 0o600)
    try:
        subprocess.run(  # noqa: S603 - our own interpreter and program
            arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=(ready,),
            start_new_session=True, cwd="/", env={}, check=False, timeout=PATIENCE,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"the shim did not start: {error}") from error
    finally:
        os.close(log)
        os.close(ready)


def enter_shim(layout: Layout) -> None:
    """Join the user, mount and network namespaces of the live shim.

    The caller must be single-threaded (setns(2)), so call it before any import that starts a
    thread.  Its working directory is kept.

    Raises:
        Unavailable: There is no live shim, or it belongs to somebody else.
    """
    directory = Path.cwd()
    pid, connection = _peer(layout, keep=True)
    try:
        pidfd = os.pidfd_open(pid)
        connection.getpeername()  # still connected, so `pid` still was the shim's when opened
        linux.setns(pidfd, JOINED)
        os.close(pidfd)
    except OSError as error:
        raise NoShim(f"cannot enter the mesh's namespaces: {error.strerror}") from error
    finally:
        connection.close()
    os.chdir(directory)


def shim_pid(layout: Layout) -> int:
    """Return the live shim's pid, as seen from here.

    Raises:
        Unavailable: There is no live shim, or it belongs to somebody else.
    """
    return _peer(layout)[0]


def shim_alive(layout: Layout) -> bool:
    """Tell whether a shim of ours answers on the mesh's control socket."""
    try:
        _peer(layout)
    except Unavailable:
        return False
    return True


def _peer(layout: Layout, *, keep: bool = False) -> tuple[int, socket.socket]:
    """Return the shim's pid and a connection to it, open only with `keep`."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        connection.connect(str(layout.shim_socket))
        size = struct.calcsize("3i")
        raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
        pid, uid, _ = struct.unpack("3i", raw)
        if uid != os.geteuid():
            raise NoShim(f"the shim at {layout.shim_socket} belongs to uid {uid}")
    except OSError as error:
        connection.close()
        reason = f"no shim answers at {layout.shim_socket}: {error.strerror}"
        raise NoShim(reason) from error
    except NoShim:
        connection.close()
        raise
    if not keep:
        connection.close()
    return pid, connection
