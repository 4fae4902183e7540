"""An application that says what reached it: HTTP, some text, TLS it was not meant to get, nothing.

HTTP request      200, the request's path and headers as JSON
a TLS handshake   remembered, connection closed
anything else     "echo:" and the bytes
and, when it greets, "hello" before the client has said anything
"""

import json
import socket
import threading
from typing import Final

BACKLOG: Final = 64
"""Connections that may wait to be accepted."""

FIRST_BYTES: Final = 65536
"""Most bytes read of a request; requests of tests are far smaller."""

TLS_HANDSHAKE: Final = b"\x16\x03"
"""How every TLS connection begins: record type 22, version 3.x (RFC 8446, section 5.1)."""


class Application:
    """Listens on a free port of 127.0.0.1 until closed.

    Attributes:
        port: Where it listens.
        handshakes: How many TLS handshakes it was given.
    """

    def __init__(self, *, greets: bool = False) -> None:
        self.handshakes = 0
        self._greets = greets
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            try:
                if self._greets:
                    connection.sendall(b"hello")
                self._reply(connection, connection.recv(FIRST_BYTES))
            except OSError:
                return  # the peer is gone, which is its right

    def _reply(self, connection: socket.socket, request: bytes) -> None:
        if request.startswith(TLS_HANDSHAKE):
            self.handshakes += 1
        elif b"HTTP/1.1" in request:
            body = json.dumps(_headers(request)).encode()
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            connection.sendall(head.encode() + body)
        elif request:
            connection.sendall(b"echo:" + request)


def _headers(request: bytes) -> dict[str, str]:
    first, *lines = request.split(b"\r\n\r\n")[0].decode().split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return {":path": first.split()[1], **{name.lower(): value.strip() for name, _, value in pairs}}
