"""Signing requests: made where the workload is, read where the authority is.

A request proves one thing only: that its sender holds the private key.  Whatever names it asks for
are ignored by the authority, which takes the identity from the authenticated caller; the agent
still writes its SPIFFE ID into the request, because other authorities (and people) read it.
"""

from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from mutua.foundation.spiffe import SpiffeId
from mutua.identity.keys import (
    KeyAlgorithm,
    Malformed,
    PrivateKey,
    PublicKey,
    new_key,
    require_supported,
    signature_hash,
)
from mutua.identity.x509 import subject_name

MAX_CSR_CHARACTERS: Final = 16 * 1024
"""Longest request that is parsed at all; an RSA-4096 request with a SPIFFE ID of 2048 bytes has
less than 6,000 characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningRequest:
    """What the agent keeps (the key) and what it sends (the request).

    Attributes:
        key: The private key; stays here.
        csr_pem: The request.
    """

    key: PrivateKey
    csr_pem: str


def new_request(identity: SpiffeId, algorithm: KeyAlgorithm = KeyAlgorithm.P256) -> SigningRequest:
    """Make a fresh key and a signing request for it."""
    key = new_key(algorithm)
    name = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(str(identity))])
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(subject_name("", []))
        .add_extension(name, critical=True)
        .sign(key.signer, signature_hash(key))
    )
    return SigningRequest(
        key=key, csr_pem=request.public_bytes(serialization.Encoding.PEM).decode()
    )


def proven_key(csr_pem: str) -> PublicKey:
    """Return the public key whose possession the request proves.

    Raises:
        Malformed: Not a request, not signed by its own key, or a key too weak to certify.
    """
    if len(csr_pem) > MAX_CSR_CHARACTERS:
        raise Malformed(f"the signing request is longer than {MAX_CSR_CHARACTERS} characters")
    try:
        request = x509.load_pem_x509_csr(csr_pem.encode())
        key = request.public_key()
        proven = request.is_signature_valid
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise Malformed(f"not a signing request: {error}") from error
    if not proven:
        raise Malformed("the signing request is not signed by its own key")
    return require_supported(key)
