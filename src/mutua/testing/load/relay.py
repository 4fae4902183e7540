"""Between an Envoy and the control plane: delay what it confirms, or cut it off.

A proxy's socket is moved aside, and this listens in its place.  Envoy comes over when it next
connects; so the relay is put there before, or Envoy is restarted.
"""

import selectors
import socket
import threading
import time
from collections import deque
from pathlib import Path
from typing import Final

CHUNK: Final = 65536
TICK: Final = 0.005
"""Seconds between two looks at what is due."""


class Relay:
    """One proxy's way to the control plane.

    Attributes:
        delay: Seconds by which everything the proxy says arrives later.
    """

    def __init__(self, path: Path) -> None:
        """Take the place of the socket at `path`."""
        self.delay = 0.0
        self._real = path.with_name("real")
        path.rename(self._real)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        path.chmod(0o600)
        self._listener.listen()
        self._cut = False
        self._links: list[tuple[socket.socket, socket.socket]] = []
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def cut(self) -> None:
        """Break every connection, and take no new ones."""
        self._cut = True
        self._break()

    def mend(self) -> None:
        """Let the proxy connect again."""
        self._cut = False

    def stop(self) -> None:
        """Break everything and end."""
        self._stopped.set()
        self._listener.close()
        self._break()

    def _break(self) -> None:
        for pair in self._links:
            for one in pair:
                try:
                    one.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue
        self._links.clear()

    def _accept(self) -> None:
        while not self._stopped.is_set():
            try:
                proxy, _ = self._listener.accept()
            except OSError:
                return
            if self._cut:
                proxy.close()
                continue
            plane = socket.socket(socket.AF_UNIX)
            plane.connect(str(self._real))
            self._links.append((proxy, plane))
            for pump in ((proxy, plane, True), (plane, proxy, False)):
                threading.Thread(target=self._pump, args=pump, daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, delayed: bool) -> None:  # noqa: FBT001
        """Copy, each chunk when it is due."""
        due: deque[tuple[float, bytes]] = deque()
        is_open = True
        with selectors.DefaultSelector() as selector:
            selector.register(source, selectors.EVENT_READ)
            while is_open or due:
                try:
                    if is_open and selector.select(TICK if due else None):
                        data = source.recv(CHUNK)
                        is_open = bool(data)
                        due.append((time.monotonic() + (self.delay if delayed else 0.0), data))
                    while due and due[0][0] <= time.monotonic():
                        sink.sendall(due.popleft()[1])
                except OSError:
                    break
        for one in (source, sink):
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
