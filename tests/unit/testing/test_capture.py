"""Reading TLS versions off the wire: against a real handshake of the standard library."""

import ssl

import pytest

from mutua.testing.capture import classify


def first_flights(version: ssl.TLSVersion) -> tuple[bytes, bytes]:
    """Return the client's and the server's first bytes of a handshake in memory."""
    from datetime import timedelta

    from mutua.foundation.clock import SystemClock
    from mutua.identity.x509 import self_signed_ca, server_certificate

    clock = SystemClock()
    ca = self_signed_ca("t", lifetime=timedelta(days=1), clock=clock)
    made = server_certificate(ca, names=["localhost"], lifetime=timedelta(hours=1), clock=clock)
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    import tempfile

    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
        file.write(made.key.pem() + made.chain_pem)
        file.flush()
        server_context.load_cert_chain(file.name)
    server_context.maximum_version = version
    client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client_context.check_hostname = False
    client_context.verify_mode = ssl.CERT_NONE
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(to_client, to_server)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    hello = to_server.read()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    incoming.write(hello)
    server = server_context.wrap_bio(incoming, outgoing, server_side=True)
    with pytest.raises(ssl.SSLWantReadError):
        server.do_handshake()
    return hello, outgoing.read()


@pytest.mark.parametrize(
    ("version", "name"),
    [(ssl.TLSVersion.TLSv1_3, "TLSv1.3"), (ssl.TLSVersion.TLSv1_2, "TLSv1.2")],
)
def test_the_negotiated_version_is_read_from_the_server_hello(version, name) -> None:
    client, server = first_flights(version)

    assert classify("a:1", "b:2", client).says == "client hello"
    seen = classify("b:2", "a:1", server)
    assert (seen.says, seen.version) == ("server hello", name)


def test_a_request_in_the_clear_is_plaintext() -> None:
    seen = classify("a:1", "b:2", b"GET /headers HTTP/1.1\r\n")

    assert (seen.says, seen.text) == ("plaintext", "GET /headers HTTP/1.1\r\n")
