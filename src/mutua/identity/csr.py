"""Signing requests: made where the workload is, read where the authority is.

A request proves one thing only: that its sender holds the private key.  Whatever names it asks for
are ignored by the authority, which takes the identity from the authenticated caller; the agent
still writes its SPIFFE ID into the request, because other authorities (and people) read it.
"""

from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from mutua.foundation.spiffe import SpiffeId
from mutua.identity.x509 import Malformed, PrivateKey, new_key, subject_name

MAX_CSR_CHARACTERS: Final = 16 * 1024
"""Longest request that is parsed at all; an RSA-4096 request with a SPIFFE ID of 2048 bytes has
less than 6,000 characters."""

MIN_RSA_BITS: Final = 2048
"""Shortest RSA key that is certified.  Source: istio WORKLOAD_RSA_KEY_SIZE minimum."""

CURVES: Final = (ec.SECP256R1, ec.SECP384R1)
"""Curves that are certified.  Source: istio ECC_CURVE."""

PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningRequest:
    """What the agent keeps (the key) and what it sends (the request).

    Attributes:
        key: The private key; stays here.
        csr_pem: The request.
    """

    key: PrivateKey
    csr_pem: str


def new_request(identity: SpiffeId) -> SigningRequest:
    """Make a fresh key and a signing request for it."""
    key = new_key()
    name = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(str(identity))])
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(subject_name("", []))
        .add_extension(name, critical=True)
        .sign(key.signer, hashes.SHA256())
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
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, CURVES):
        return key
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= MIN_RSA_BITS:
        return key
    raise Malformed(
        "the signing request's key is not certified here",
        hint=f"use P-256, P-384, or RSA with at least {MIN_RSA_BITS} bits",
    )
