"""An application that speaks whatever it is spoken to, on many ports at once.

    python -m mutua.testing.reachability.server CERTIFICATE KEY CLIENTS PORTS GREETING_PORTS

    HTTP/1.1          200, JSON: the pod, and the identity that the proxy vouches for
    HTTP/2            200, JSON: the pod, and null, since reading headers is beyond it
    TLS               this application's own certificate, and inside of it all of the above, with
                      whom the client has proved to be: the common name in its certificate
    any other bytes   "echo", the pod, whom the client has proved to be or "-", and the bytes
    nothing at all    nothing; but on a greeting port "hello" and the pod before anything else

PORTS are lists of numbers with commas between them.
"""

import json
import os
import signal
import socket
import ssl
import sys
import threading
from collections.abc import Callable
from typing import Any, Final

from mutua.testing.reachability import frames

TLS_HANDSHAKE: Final = b"\x16\x03"
"""How every TLS connection begins: record type 22, version 3.x (RFC 8446, section 5.1)."""

IDENTITY: Final = "x-forwarded-client-cert"

BACKLOG: Final = 256
"""Connections that may wait to be accepted; a probe opens them all at once."""

POD: Final = os.uname().nodename


def _serve(listener: socket.socket, tls: ssl.SSLContext, *, greets: bool) -> None:
    """Answer every connection to a port, until killed."""
    while True:
        peer, _ = listener.accept()
        _in_background(_converse, peer, tls, greets=greets)


def _in_background(function: Callable[..., None], *args: Any, **options: Any) -> None:
    threading.Thread(target=function, args=args, kwargs=options, daemon=True).start()


def _converse(peer: socket.socket, tls: ssl.SSLContext, *, greets: bool) -> None:
    with peer:
        try:
            if greets:
                peer.sendall(f"hello {POD}\n".encode())
            start = peer.recv(len(TLS_HANDSHAKE), socket.MSG_PEEK | socket.MSG_WAITALL)
            if start != TLS_HANDSHAKE:
                _answer(peer)
                return
            with tls.wrap_socket(peer, server_side=True) as tunnel:
                _answer(tunnel, _common_name(tunnel))
        except OSError:
            return  # the peer is gone, or none for this certificate


def _common_name(tunnel: ssl.SSLSocket) -> str:
    """Return whom a client has proved to be, "" when it has shown no certificate."""
    shown: Any = tunnel.getpeercert() or {}
    names = {name: value for part in shown.get("subject", ()) for name, value in part}
    return str(names.get("commonName", ""))


def _answer(peer: socket.socket, proved: str = "") -> None:
    said = peer.recv(65536)
    if frames.PREFACE.startswith(said[: len(frames.PREFACE)]) and said:
        _answer_http2(peer, said, proved)
    elif b" HTTP/1." in said:
        _answer_http1(peer, said, proved)
    elif said:
        peer.sendall(f"echo {POD} {proved or '-'} ".encode() + said)


def _answer_http1(peer: socket.socket, said: bytes, proved: str) -> None:
    while b"\r\n\r\n" not in said:
        said += peer.recv(65536) or b"\r\n\r\n"
    lines = said.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)}
    body = _body(headers.get(IDENTITY, ""), proved)
    head = f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
    peer.sendall(head.encode() + body)


def _body(identity: str | None, proved: str) -> bytes:
    return json.dumps({"pod": POD, "identity": identity, "proved": proved}).encode()


def _answer_http2(peer: socket.socket, said: bytes, proved: str) -> None:
    """Answer every request of a connection until the client closes it."""
    stream = _Stream(peer, said)
    stream.read(len(frames.PREFACE))
    peer.sendall(bytes(frames.Frame(frames.SETTINGS, 0, 0)))
    while True:
        length, frame = frames.parse_header(stream.read(frames.HEADER_LENGTH))
        payload = stream.read(length)
        if frame.kind == frames.HEADERS:
            peer.sendall(frames.response(frame.stream, _body(None, proved)))
        peer.sendall(frames.reply_to(frames.Frame(frame.kind, frame.flags, 0, payload)))


class _Stream:
    """Bytes of a socket, some of which were read already."""

    def __init__(self, peer: socket.socket, read: bytes) -> None:
        self._peer = peer
        self._read = read

    def read(self, count: int) -> bytes:
        """Return exactly `count` bytes.

        Raises:
            ConnectionError: The peer has closed.
        """
        while len(self._read) < count:
            more = self._peer.recv(65536)
            if not more:
                raise ConnectionError
            self._read += more
        taken, self._read = self._read[:count], self._read[count:]
        return taken


def main() -> None:
    """Serve until killed."""
    certificate, key, clients, ports, greeting = sys.argv[1:]
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    tls.load_verify_locations(clients)
    tls.verify_mode = ssl.CERT_OPTIONAL
    # One after another: whoever reaches the last port reaches them all.
    for numbers, greets in ((ports, False), (greeting, True)):
        for number in numbers.split(","):
            listener = socket.create_server(("", int(number)), backlog=BACKLOG)
            _in_background(_serve, listener, tls, greets=greets)
    signal.pause()


if __name__ == "__main__":
    main()
