"""The TLS side of the certificate service's port: what it proves itself with, whom it believes.

Python's ssl reads certificates from files.  The key must not be in one, so all of it passes through
a file in memory, which only this process can open and which is gone when it is closed.
"""

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from mutua.identity.bundle import TrustBundle
from mutua.identity.x509 import Credential

SERVER_NAMES: Final = (
    "istiod.istio-system.svc",
    "istiod.istio-system.svc.cluster.local",
    "istiod.istio-system",
    "istiod",
)
"""What clients call the server.  Source: istio, the DNS names of istiod's own certificate."""

ALPN: Final = ("h2",)
"""gRPC is HTTP/2 (RFC 9113, section 3.2)."""


def server_context(server: Credential, bundle: TrustBundle) -> ssl.SSLContext:
    """Return the TLS settings of new connections.

    A client certificate is optional; one that is shown and does not verify ends the handshake.

    Args:
        server: The server's certificate chain and key.
        bundle: What client certificates are verified against.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_OPTIONAL
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    # A resumed session would not be verified against today's bundle.
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    context.set_alpn_protocols([*ALPN])
    with _memory_file(server.key.pem() + server.chain_pem) as path:
        context.load_cert_chain(path)
    with _memory_file(bundle.roots_pem + bundle.crl) as path:
        context.load_verify_locations(path)
    if bundle.crl:
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    return context


@contextmanager
def _memory_file(text: str) -> Iterator[str]:
    descriptor = os.memfd_create("tls", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
