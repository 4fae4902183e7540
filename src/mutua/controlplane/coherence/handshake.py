"""A second opinion on certificates: OpenSSL's, in a real TLS handshake.

The authority and its validator share a library; peers use another one.  So whether a certificate
is accepted under a trust bundle is found out by using it: both ends of a handshake in memory, or
one end and a pod's Envoy.
"""

import asyncio
import ssl
from dataclasses import dataclass
from typing import Any, Final

from mutua.controlplane.tls import mutual_tls
from mutua.foundation.errors import Denied, Unavailable
from mutua.identity.bundle import TrustBundle
from mutua.identity.x509 import Credential

ALPN: Final = ("istio-http/1.1", "istio", "istio-peer-exchange")
"""What a client of the mesh offers; PERMISSIVE servers tell it by that (istio-semantics 2.3)."""

TURNS: Final = 10
"""Messages between two ends in memory; a TLS 1.3 handshake takes three."""

TIMEOUT: Final = 3.0
"""Seconds for one connection to a pod of the same machine and its handshake."""

REFUSAL: Final = 0.3
"""Seconds a server gets to refuse our certificate.  In TLS 1.3 the client is done first, and a
server that accepts says nothing more, so silence means acceptance."""


class Refused(Denied):
    """One end did not accept the other."""

    code = "coherence.refused"


@dataclass(frozen=True, slots=True)
class Peer:
    """Who was at the other end.

    Attributes:
        uris: URIs that its certificate names.
        serial_number: Hexadecimal.
    """

    uris: tuple[str, ...]
    serial_number: str


def client_context(credential: Credential, bundle: TrustBundle) -> ssl.SSLContext:
    """Return a client that presents a certificate and verifies with a bundle.

    Raises:
        Refused: OpenSSL cannot even load them.
    """
    made = _context(ssl.PROTOCOL_TLS_CLIENT, credential, bundle)
    made.set_alpn_protocols(list(ALPN))
    return made


def handshake_in_memory(credential: Credential, bundle: TrustBundle) -> Peer:
    """Let two peers with the same certificate and the same bundle meet.

    Returns:
        Whom the server saw.

    Raises:
        Refused: They do not accept each other, and why.
    """
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context(credential, bundle).wrap_bio(to_client, to_server)
    server = _context(ssl.PROTOCOL_TLS_SERVER, credential, bundle).wrap_bio(
        to_server, to_client, server_side=True
    )
    waiting = [client, server]
    try:
        for _ in range(TURNS):
            waiting = [end for end in waiting if not _is_done(end)]
            if not waiting:
                return _peer(server.getpeercert())
    except ssl.SSLError as error:
        raise Refused(_reason(error)) from error
    raise Refused("the handshake does not come to an end")


async def handshake_with(address: str, port: int, context: ssl.SSLContext) -> Peer:
    """Meet a server.

    Returns:
        Who it is, once it has accepted us.

    Raises:
        Refused: It does not accept us, or is not acceptable.
        Unavailable: There was no handshake: nobody listens, or it takes too long.
    """
    try:
        async with asyncio.timeout(TIMEOUT):
            reader, writer = await asyncio.open_connection(address, port, ssl=context)
    except ssl.SSLCertVerificationError as error:
        raise Refused(f"its certificate is not acceptable: {error.verify_message}") from error
    except ssl.SSLError as error:
        raise _refusal(error) from error
    except OSError as error:  # TimeoutError is one
        raise Unavailable(f"no handshake with {address}:{port}: {error}") from error
    try:
        async with asyncio.timeout(REFUSAL):
            await reader.read(1)
    except ssl.SSLError as error:
        raise _refusal(error) from error
    except OSError:
        pass  # silent, or gone: it had no objection
    finally:
        writer.transport.abort()
    return _peer(writer.get_extra_info("ssl_object").getpeercert())


def _refusal(error: ssl.SSLError) -> Exception:
    """Tell an objection from a connection that broke."""
    if "ALERT" in (error.reason or ""):
        return Refused(f"it does not accept this mesh's certificates: {_reason(error)}")
    return Unavailable(f"the handshake broke: {_reason(error)}")


def _context(protocol: int, credential: Credential, bundle: TrustBundle) -> ssl.SSLContext:
    try:
        return mutual_tls(protocol, credential, bundle)
    except OSError as error:  # ssl.SSLError is one
        raise Refused(f"OpenSSL cannot load it: {error}") from error


def _is_done(end: ssl.SSLObject) -> bool:
    try:
        end.do_handshake()
    except ssl.SSLWantReadError:
        return False
    return True


def _peer(found: Any) -> Peer:
    names = found.get("subjectAltName", ())
    uris = tuple(value for kind, value in names if kind == "URI")
    return Peer(uris, str(found.get("serialNumber", "")).lower())


def _reason(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    return (error.reason or str(error)).replace("_", " ").lower()
