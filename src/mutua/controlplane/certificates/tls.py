"""The TLS side of the certificate service's port: what it proves itself with, whom it believes."""

import ssl
from typing import Final

from mutua.controlplane.tls import mutual_tls
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
    context = mutual_tls(ssl.PROTOCOL_TLS_SERVER, server, bundle)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    # A resumed session would not be verified against today's bundle.
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    context.set_alpn_protocols([*ALPN])
    return context
