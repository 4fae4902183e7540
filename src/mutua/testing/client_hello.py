"""What a TLS client says first: the bytes, and what can be read from them."""

import ssl
import struct
from contextlib import suppress


def client_hello(server_name: str, *offered: str) -> bytes:
    """Return the first bytes of a TLS connection to a server of this name.

    Args:
        server_name: Its name.
        offered: ALPN tokens.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if offered:
        context.set_alpn_protocols(list(offered))
    outgoing = ssl.MemoryBIO()
    tunnel = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=server_name)
    with suppress(ssl.SSLWantReadError):  # it is the server's turn
        tunnel.do_handshake()
    return outgoing.read()


def read_client_hello(record: bytes) -> tuple[str, tuple[str, ...]]:
    """Return server name and ALPN tokens (RFC 8446 section 4.1.2, RFC 6066, RFC 7301)."""
    body = record[5 + 4 + 2 + 32 :]
    body = body[1 + body[0] :]  # session id
    body = body[2 + struct.unpack("!H", body[:2])[0] :]  # cipher suites
    body = body[1 + body[0] :][2:]  # compression methods, length of the extensions
    name, tokens = "", []
    while len(body) >= 4:
        kind, length = struct.unpack("!HH", body[:4])
        value, body = body[4 : 4 + length], body[4 + length :]
        if kind == 0:
            name = value[5:].decode()
        if kind == 16:
            rest = value[2:]
            while rest:
                tokens.append(rest[1 : 1 + rest[0]].decode())
                rest = rest[1 + rest[0] :]
    return name, tuple(tokens)
