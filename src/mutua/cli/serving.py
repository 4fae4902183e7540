"""Where does the daemon run: in the background, or below this command until Ctrl-C?

Either way the daemon is a child that tells its progress on a pipe, and a start that fails or is
interrupted leaves nothing behind; only pods that ran before stay, for the next `mutua up`.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import click

from mutua.cli import lock
from mutua.cluster.settings import DaemonSettings
from mutua.foundation.errors import MutuaError, Unavailable
from mutua.foundation.layout import Layout
from mutua.identity.data_key import DataKey

PATIENCE: Final = 10.0
"""Seconds a daemon that is no longer wanted gets between SIGTERM and SIGKILL."""

ASKED_TO_STOP: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class Start:
    """What a daemon starts with.

    Attributes:
        settings: What it is told; not secret.
        listener: The API's.
        lock_fd: The mesh's lock, held.
        data_key: Opens what is sealed; it goes through a pipe, never through argv or environment.
    """

    settings: DaemonSettings
    listener: socket.socket
    lock_fd: int
    data_key: DataKey


def start_daemon(start: Start, timeout: float) -> dict[str, str]:
    """Start the daemon in the background and return its facts once it is ready.

    Raises:
        Unavailable: It did not become ready; it has been stopped.
    """
    settings, log_path = start.settings, start.settings.layout.daemon_log
    with _undone_on_failure(settings.layout) as started:
        reader, writer = os.pipe2(os.O_CLOEXEC)
        fds = (start.listener.fileno(), writer, start.lock_fd)
        argv = [sys.executable, "-m", "mutua", "daemon"]
        names = ("--listener-fd", "--progress-fd", "--lock-fd")
        argv += [text for name, fd in zip(names, fds, strict=True) for text in (name, str(fd))]
        argv += ["--settings", settings.to_json()]
        with log_path.open("ab") as log:
            process = subprocess.Popen(  # noqa: S603 - ourselves
                argv,
                pass_fds=fds,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd="/",
            )
        os.close(writer)
        started.append(process.pid)
        process.returncode = 0  # it outlives us: not ours to wait for
        assert process.stdin is not None  # noqa: S101 - we asked for a pipe
        with contextlib.suppress(BrokenPipeError), process.stdin as pipe:
            pipe.write(start.data_key.to_json().encode())  # a daemon that died says so below
        try:
            with os.fdopen(reader) as lines, _alarm(timeout):
                return _follow(lines)
        except _TooSlow as error:
            raise Unavailable(
                f"the mesh was not ready after {timeout:g} s",
                hint=f"read {log_path}, or give it longer with --timeout",
            ) from error
        except Unavailable as error:
            error.hint = error.hint or f"read {log_path}"
            raise


def serve_here(start: Start) -> int:
    """Run the daemon below this process until it is asked to stop; return the exit status.

    Ctrl-C stops the mesh with its pods.  A daemon that dies leaves them to the next `mutua up`.

    Raises:
        Unavailable: It did not become ready; it has been stopped.
    """
    from mutua.cli.down import stop_shim
    from mutua.cluster import daemon
    from mutua.cluster.progress import Progress

    layout = start.settings.layout
    with _undone_on_failure(layout) as started:
        reader, writer = os.pipe2(os.O_CLOEXEC)
        child = os.fork()
        if child == 0:  # it moves into other namespaces; this process stays to clean up
            status = 70
            try:
                os.close(reader)
                os.setsid()  # Ctrl-C is the parent's to hear
                lock.record(start.lock_fd, os.getpid())
                progress = Progress(writer)
                status = daemon.run(start.settings, start.listener, progress, start.data_key)
            finally:
                os._exit(status)
        started.append(child)
        os.close(writer)
        start.listener.close()
        with os.fdopen(reader) as lines:
            ready = _follow(lines)
        asked = _forward(child)  # before anybody is told of it
        click.echo(
            f"mesh {layout.name!r} is up, API at {ready['server']}; Ctrl-C stops it", err=True
        )
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        started.clear()
    if status and not asked:
        raise Unavailable(
            f"the daemon ended with status {status}; its pods keep running",
            hint="`mutua up` adopts them, `mutua down` stops them",
        )
    click.echo("stopping the pods", err=True)
    stop_shim(layout)
    click.echo(f"mesh {layout.name!r} is down", err=True)
    return 0


def _forward(child: int) -> list[int]:
    """Pass requests to stop on to the daemon, the second one as SIGKILL; return those heard."""
    asked: list[int] = []

    def stop(signum: int, _frame: object) -> None:
        asked.append(signum)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGTERM if len(asked) == 1 else signal.SIGKILL)

    for signum in ASKED_TO_STOP:
        signal.signal(signum, stop)
    return asked


@contextlib.contextmanager
def _undone_on_failure(layout: Layout) -> Iterator[list[int]]:
    """Yield a list for the daemon's pid; stop that one, and a shim it started, on any failure."""
    from mutua.cli.down import stop_shim
    from mutua.runtime.enter import shim_alive

    had_pods = shim_alive(layout)
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    started: list[int] = []
    try:
        yield started
    except BaseException:
        for signum in ASKED_TO_STOP:  # undoing is not to be interrupted
            signal.signal(signum, signal.SIG_IGN)
        for pid in started:
            _end(pid)
        if started and not had_pods:
            with contextlib.suppress(MutuaError):
                stop_shim(layout, grace=0)
        raise
    finally:
        if signal.getsignal(signal.SIGTERM) is not signal.SIG_IGN:
            signal.signal(signal.SIGTERM, before)


def _end(pid: int) -> None:
    """End a child and wait for it."""
    signal.signal(signal.SIGALRM, lambda *_: os.kill(pid, signal.SIGKILL))
    signal.setitimer(signal.ITIMER_REAL, PATIENCE)
    with contextlib.suppress(ProcessLookupError, ChildProcessError):
        os.kill(pid, signal.SIGTERM)
        os.waitpid(pid, 0)
    signal.setitimer(signal.ITIMER_REAL, 0)


class _TooSlow(Exception):
    pass


@contextlib.contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    def too_slow(*_: object) -> None:
        raise _TooSlow

    signal.signal(signal.SIGALRM, too_slow)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _follow(lines: Any) -> dict[str, str]:
    """Show the daemon's progress; return its facts once it is ready."""
    for line in lines:
        message: dict[str, Any] = json.loads(line)
        if "step" in message:
            click.echo(f"  {message['step']}", err=True)
        if "error" in message:
            raise Unavailable(message["error"], hint=message.get("hint", ""))
        if "ready" in message:
            facts: dict[str, str] = message["ready"]
            return facts
    raise Unavailable("the daemon ended before it was ready")
