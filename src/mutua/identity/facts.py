"""What a person wants to know of a certificate, without the library that reads it.

Certificates come from anywhere (a file that somebody has at hand), so nothing in one is taken for
granted: what is missing or damaged is "", never an exception.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Final, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.x509.oid import SignatureAlgorithmOID

from mutua.identity.x509 import parse_certificates

PRIVATE_KEY: Final = re.compile(r"-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY-----")
"""Where a private key of any kind begins (RFC 7468 section 10; OpenSSL's older labels)."""

CURVES: Final = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
"""NIST's names of SEC's curves (RFC 8422 appendix A)."""

SIGNATURES: Final = {
    SignatureAlgorithmOID.ECDSA_WITH_SHA256: "ECDSA with SHA-256",
    SignatureAlgorithmOID.ECDSA_WITH_SHA384: "ECDSA with SHA-384",
    SignatureAlgorithmOID.ECDSA_WITH_SHA512: "ECDSA with SHA-512",
    SignatureAlgorithmOID.RSA_WITH_SHA1: "RSA with SHA-1",
    SignatureAlgorithmOID.RSA_WITH_SHA256: "RSA with SHA-256",
    SignatureAlgorithmOID.RSA_WITH_SHA384: "RSA with SHA-384",
    SignatureAlgorithmOID.RSA_WITH_SHA512: "RSA with SHA-512",
    SignatureAlgorithmOID.RSASSA_PSS: "RSA-PSS",
    SignatureAlgorithmOID.ED25519: "Ed25519",
    SignatureAlgorithmOID.ED448: "Ed448",
}
"""Signature algorithms in words; any other is shown as its number."""

Extension = TypeVar("Extension", bound=x509.ExtensionType)


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """One certificate in words.

    Attributes:
        serial_number: In hexadecimal, 32 digits.
        not_before: First instant at which it is valid.
        not_after: Last instant at which it is valid.
        subject: Whom it names (RFC 4514), "" when that is empty.
        issuer: Who signed it, likewise.
        uris: URIs among its alternative names: SPIFFE IDs.
        names: Its other alternative names: DNS names, addresses.
        is_authority: Whether it may sign certificates.
        key: Its key's algorithm and size.
        signature: The algorithm it was signed with.
        key_id: Subject key identifier, hexadecimal, "" without one.
        signer_key_id: Authority key identifier, likewise.
        fingerprint: SHA-256 of the whole certificate, hexadecimal.
    """

    serial_number: str
    not_before: datetime
    not_after: datetime
    subject: str
    issuer: str
    uris: tuple[str, ...]
    names: tuple[str, ...]
    is_authority: bool
    key: str
    signature: str
    key_id: str
    signer_key_id: str
    fingerprint: str

    def is_valid(self, now: datetime) -> bool:
        """Tell whether it is neither too early nor too late for it."""
        return self.not_before <= now <= self.not_after


def certificate_facts(pem: str) -> list[CertificateFacts]:
    """Return the facts of every certificate in a PEM text, in its order.

    Raises:
        Malformed: It is not PEM, or holds no certificate.
    """
    return [_facts(one) for one in parse_certificates(pem)]


def signed_by_next(pem: str) -> list[bool]:
    """Tell of every certificate of a chain but the last whether the next one signed it.

    Raises:
        Malformed: It is not PEM, or holds no certificate.
    """
    chain = parse_certificates(pem)
    return [_signed_by(one, above) for one, above in pairwise(chain)]


def is_self_signed(pem: str) -> bool:
    """Tell whether the last certificate of a PEM text signed itself, as roots do.

    Raises:
        Malformed: It is not PEM, or holds no certificate.
    """
    last = parse_certificates(pem)[-1]
    return _signed_by(last, last)


def count_private_keys(pem: str) -> int:
    """Return how many private keys a PEM text holds; none of them is read."""
    return len(PRIVATE_KEY.findall(pem))


def _facts(one: x509.Certificate) -> CertificateFacts:
    names = _extension(one, x509.SubjectAlternativeName)
    constraints = _extension(one, x509.BasicConstraints)
    own = _extension(one, x509.SubjectKeyIdentifier)
    signer = _extension(one, x509.AuthorityKeyIdentifier)
    signer_key = signer.key_identifier if signer else None
    return CertificateFacts(
        serial_number=f"{one.serial_number:032x}",
        not_before=one.not_valid_before_utc,
        not_after=one.not_valid_after_utc,
        subject=_name(one, "subject"),
        issuer=_name(one, "issuer"),
        uris=tuple(names.get_values_for_type(x509.UniformResourceIdentifier)) if names else (),
        names=tuple(_other_names(names)) if names else (),
        is_authority=bool(constraints and constraints.ca),
        key=_key(one),
        signature=_signature(one),
        key_id=own.digest.hex() if own else "",
        signer_key_id=signer_key.hex() if signer_key else "",
        fingerprint=one.fingerprint(hashes.SHA256()).hex(),
    )


def _extension(one: x509.Certificate, kind: type[Extension]) -> Extension | None:
    try:
        return one.extensions.get_extension_for_class(kind).value
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension):
        return None
    except x509.UnsupportedGeneralNameType:
        return None


def _name(one: x509.Certificate, which: str) -> str:
    try:
        name: x509.Name = getattr(one, which)
        return name.rfc4514_string()
    except ValueError:
        return ""


def _other_names(names: x509.SubjectAlternativeName) -> Sequence[str]:
    return [
        str(one.value)
        for one in names
        if isinstance(one, x509.DNSName | x509.IPAddress | x509.RFC822Name)
    ]


def _key(one: x509.Certificate) -> str:
    try:
        key = one.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return "unknown"
    match key:
        case ec.EllipticCurvePublicKey():
            return f"ECDSA {CURVES.get(key.curve.name, key.curve.name)}"
        case rsa.RSAPublicKey():
            return f"RSA {key.key_size}"
        case ed25519.Ed25519PublicKey():
            return "Ed25519"
        case ed448.Ed448PublicKey():
            return "Ed448"
        case dsa.DSAPublicKey():
            return f"DSA {key.key_size}"
        case _:
            return "unknown"


def _signature(one: x509.Certificate) -> str:
    oid = one.signature_algorithm_oid
    return SIGNATURES.get(oid, oid.dotted_string)


def _signed_by(one: x509.Certificate, other: x509.Certificate) -> bool:
    try:
        one.verify_directly_issued_by(other)
    except (InvalidSignature, ValueError, TypeError, UnsupportedAlgorithm):
        return False
    return True
