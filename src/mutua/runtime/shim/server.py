"""The shim's one thread: an event loop over the control socket, its children and their pipes.

Every request is answered, sooner or later, on the connection it came from.  Nothing a peer sends
may stop the loop: a violation of the protocol costs the peer its connection, a bug in here costs
one traceback in the shim's log.
"""

import contextlib
import os
import selectors
import signal
import socket
import struct
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict
from typing import Final

from mutua.foundation.errors import MutuaError, Rejected
from mutua.runtime.shim.connection import Connection
from mutua.runtime.shim.executions import Executions
from mutua.runtime.shim.pipe import CHUNK
from mutua.runtime.shim.protocol import Message, ProtocolViolation
from mutua.runtime.shim.requests import Request, Requests
from mutua.runtime.shim.table import Table
from mutua.runtime.spec import ContainerState

STOP_GRACE: Final = 5.0
"""Seconds containers get when the machine, not the daemon, asks the shim to end (SIGTERM)."""

MAX_GRACE: Final = 3600.0
"""Seconds a shutdown may wait; JSON can say Infinity, epoll_wait(2) cannot."""

MAX_CONNECTIONS: Final = 64
"""Peers at once; one daemon needs one."""


class Server:
    """Serves the control socket until told to shut down."""

    def __init__(self, listener: socket.socket) -> None:
        """Take over the signals of this process, and a listening socket."""
        self._selector = selectors.DefaultSelector()
        self._listener = listener
        self._connections: set[Connection] = set()
        self._table = Table(self._watch, self._announce)
        self._executions = Executions(self._watch, self._table)
        self._requests = Requests(self._table, self._executions, self._shut_down)
        self._deadline: float | None = None
        listener.settimeout(0)
        self._watch(listener.fileno(), self._accept)
        self._wake, wakeup = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._watch(self._wake, self._woken)
        signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._shut_down(STOP_GRACE))

    def serve(self) -> None:
        """Serve; return when shut down and every container has ended."""
        while self._deadline is None or self._table.alive:
            patience = None
            if self._deadline is not None:
                patience = max(self._deadline - time.monotonic(), 0)
            for key, mask in self._selector.select(patience):
                self._guard(key.data, mask)
            if self._deadline is not None and time.monotonic() >= self._deadline:
                self._table.signal_all(signal.SIGKILL)
                self._deadline = time.monotonic() + STOP_GRACE

    def _guard(self, callback: Callable[[int], None], mask: int) -> None:
        try:
            callback(mask)
        except Exception:  # noqa: BLE001 - the loop outlives every bug: all pods depend on it
            _complain(traceback.format_exc())

    def _watch(self, descriptor: int, callback: Callable[[], None] | None) -> None:
        if callback is None:
            self._selector.unregister(descriptor)
        else:
            react = callback
            self._selector.register(descriptor, selectors.EVENT_READ, lambda _mask: react())

    def _accept(self) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionError):
            sock, _ = self._listener.accept()
            if not _is_trusted(sock) or len(self._connections) >= MAX_CONNECTIONS:
                sock.close()
                return
            sock.settimeout(0)
            one = Connection(sock)
            self._connections.add(one)
            self._selector.register(sock, selectors.EVENT_READ, lambda mask: self._ready(one, mask))

    def _ready(self, one: Connection, mask: int) -> None:
        if one not in self._connections:
            return  # dropped by an earlier callback of the same round
        try:
            if mask & selectors.EVENT_WRITE and not one.flush():
                self._drop(one)
                return
            self._expect_writability(one)
            messages = one.receive() if mask & selectors.EVENT_READ else []
            if messages is None:
                self._drop(one)
                return
            for message in messages:
                self._handle(one, message)
        except ProtocolViolation as error:
            _complain(f"dropped a connection: {error}")
            self._drop(one)

    def _drop(self, one: Connection) -> None:
        if one in self._connections:
            self._connections.remove(one)
            self._selector.unregister(one.sock)
            one.close()
            self._executions.abandon(one)

    def _send(self, one: Connection, message: Message) -> None:
        if one not in self._connections:
            return
        if one.send(message):
            self._expect_writability(one)
        else:
            self._drop(one)

    def _expect_writability(self, one: Connection) -> None:
        key = self._selector.get_key(one.sock)
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if one.has_unsent else 0)
        if key.events != events:
            self._selector.modify(one.sock, events, key.data)

    def _announce(self, state: ContainerState) -> None:
        for one in list(self._connections):
            self._send(one, {"event": "exit", "container": asdict(state)})

    def _handle(self, one: Connection, message: Message) -> None:
        number = message.get("id")

        def answer(value: object) -> None:
            if isinstance(value, MutuaError):
                self._send(one, {"id": number, "code": value.code, "error": str(value)})
            else:
                self._send(one, {"id": number, "ok": value})

        descriptors = one.take_descriptors(message.get("fds", 0))
        try:
            self._requests.perform(Request(message, one, descriptors), answer)
        except MutuaError as error:
            answer(error)
        except Exception as error:  # noqa: BLE001 - answered and logged: the peer must not wait
            _complain(traceback.format_exc())
            answer(Rejected(f"cannot do that: {error!r}"))
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def _shut_down(self, grace: float) -> None:
        """Ask every container to end; `serve` kills what is left after `grace` seconds."""
        self._requests.is_closing = True
        bounded = min(grace, MAX_GRACE) if grace > 0 else 0.0  # NaN is not above zero
        self._deadline = time.monotonic() + bounded
        self._table.signal_all(signal.SIGTERM)

    def _woken(self) -> None:
        """Reap every dead child (and every orphan that ended up here)."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake, CHUNK)
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if not self._table.reaped(pid, status):
                told = self._executions.reaped(pid, status)
                if told is not None:
                    self._send(*told)


def _complain(text: str) -> None:
    """Write to the shim's log, if it can be written to: a full disk must not end the mesh."""
    with contextlib.suppress(OSError):
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


def _is_trusted(sock: socket.socket) -> bool:
    """Tell whether a peer may control the mesh.

    It must run under the user that owns the mesh (0 in this user namespace, everybody else is
    the overflow uid), and outside of the mesh: a process without a pid in this PID namespace,
    shown as 0.  A container runs under the same user, but always has a pid here.
    """
    credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, uid, _ = struct.unpack("3i", credentials)
    return bool(uid == os.getuid() == 0 and pid == 0)
