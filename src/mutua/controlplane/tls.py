"""TLS settings in Python's terms: what one proves oneself with, whom one believes.

Python's ssl reads certificates from files.  A key must not be in one, so all of it passes through
a file in memory, which only this process can open and which is gone when it is closed.
"""

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

from mutua.identity.bundle import TrustBundle
from mutua.identity.x509 import Credential


def mutual_tls(protocol: int, credential: Credential, bundle: TrustBundle) -> ssl.SSLContext:
    """Return settings with which both sides show certificates, as proxies of the mesh do.

    Args:
        protocol: `ssl.PROTOCOL_TLS_CLIENT` or `ssl.PROTOCOL_TLS_SERVER`.
        credential: Certificate chain and key of this side.
        bundle: What the other side is verified with; its name is the caller's to check.

    Raises:
        OSError: OpenSSL cannot load them; ssl.SSLError is one.
    """
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False  # peers are known by SPIFFE ID
    context.verify_mode = ssl.CERT_REQUIRED
    with _memory_file(credential.key.pem() + credential.chain_pem) as path:
        context.load_cert_chain(path)
    with _memory_file(bundle.roots_pem + bundle.crl) as path:
        context.load_verify_locations(path)
    if bundle.crl:
        # Where some authority has no list, OpenSSL would refuse every chain through it.
        context.verify_flags |= (
            ssl.VERIFY_CRL_CHECK_CHAIN if bundle.checks_authorities else ssl.VERIFY_CRL_CHECK_LEAF
        )
    return context


@contextmanager
def _memory_file(text: str) -> Iterator[str]:
    descriptor = os.memfd_create("tls", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
