"""Is this certificate what we meant to sign?  The second opinion on every issued leaf.

The authority builds a template and signs it; this module re-reads the signed bytes and checks them
against the SPIFFE X.509-SVID rules and the request, sharing no code with the template.  A leaf
that fails never leaves the authority: a bug in the template becomes an outage that is seen, not a
certificate that should not exist.

Sources: SPIFFE X509-SVID sections 2 to 5; RFC 5280 section 4; istio-semantics 4.3.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from mutua.foundation.errors import Denied
from mutua.foundation.spiffe import SpiffeId
from mutua.identity.keys import PublicKey

EXTENSIONS: Final = frozenset(
    {
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
        ExtensionOID.SUBJECT_KEY_IDENTIFIER,
        ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
    }
)
"""All a leaf has, each exactly once: what is not understood here is not issued."""

CRITICAL: Final = frozenset(
    {
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.KEY_USAGE,
        # The subject is empty, hence RFC 5280 section 4.2.1.6 wants the name critical.
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
    }
)
"""Those a peer must understand."""

PURPOSES: Final = frozenset({ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH})
"""A workload is client and server at once (X509-SVID section 4.4)."""

USAGES: Final = frozenset({"digital_signature", "key_encipherment"})
"""Key usages of a leaf; in particular neither key_cert_sign nor crl_sign (section 4.3)."""

SIGNERS: Final = 16
"""Signers whose keys stay in memory: an authority has one or two at a time."""

MAX_SERIAL_BITS: Final = 159
"""Twenty octets with the sign bit clear (RFC 5280 section 4.1.2.2)."""

MAX_BACKDATE: Final = timedelta(minutes=2)
"""How far notBefore may lie in the past.  Source: istio ClockSkewGracePeriod."""


class InvalidSvid(Denied):
    """A signed leaf breaks a rule, and was not issued.

    Attributes:
        violations: Every rule it breaks.
    """

    code = "identity.invalid_svid"

    def __init__(self, violations: tuple[str, ...]) -> None:
        super().__init__("the signed certificate breaks the rules: " + "; ".join(violations))
        self.violations = violations


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What the leaf must say.

    Attributes:
        identity: The caller's authenticated identity.
        public_key: The key whose possession the request proved.
        signer: The certificate of whoever signed.
        now: The instant of signing, UTC.
        ttl: The longest lifetime after `now`.
    """

    identity: SpiffeId
    public_key: PublicKey
    signer: x509.Certificate
    now: datetime
    ttl: timedelta


def require_valid_svid(pem: str, expected: Expectation) -> x509.Certificate:
    """Re-read a signed leaf and return it.

    Raises:
        InvalidSvid: It breaks at least one rule.
    """
    try:
        certificates = x509.load_pem_x509_certificates(pem.encode())
        leaf = certificates[0]
        violations = [*_violations(leaf, expected)]
    except (ValueError, x509.DuplicateExtension) as error:
        raise InvalidSvid((f"unreadable: {error}",)) from error
    if len(certificates) != 1:
        violations.append(f"{len(certificates)} certificates where one leaf belongs")
    if violations:
        raise InvalidSvid(tuple(violations))
    return leaf


def _violations(leaf: x509.Certificate, expected: Expectation) -> Iterator[str]:
    extensions = [*leaf.extensions]
    yield from _shape(leaf, extensions)
    if {e.oid for e in extensions} == EXTENSIONS:
        yield from _name(leaf, expected.identity)
        yield from _purpose(leaf)
        yield from _identifiers(leaf, expected.signer)
    yield from _validity(leaf, expected)
    yield from _signature(leaf, expected.signer)
    key = leaf.public_key()
    if key != expected.public_key:
        yield "the public key is not the request's"
    if key == _key_of(expected.signer):
        yield "the public key is the signer's own"


def _shape(leaf: x509.Certificate, extensions: Sequence[x509.Extension[Any]]) -> Iterator[str]:
    if leaf.version is not x509.Version.v3:
        yield "not an X.509 v3 certificate"
    if not 0 < leaf.serial_number < 1 << MAX_SERIAL_BITS:
        yield "serial number out of range"
    if leaf.subject.rdns:
        yield "the subject is not empty"
    present = {e.oid for e in extensions}
    if present != EXTENSIONS:
        odd = ", ".join(sorted(oid.dotted_string for oid in present ^ EXTENSIONS))
        yield f"missing or unexpected extensions: {odd}"
    critical = {e.oid for e in extensions if e.critical}
    if critical != CRITICAL:
        odd = ", ".join(sorted(oid.dotted_string for oid in critical ^ CRITICAL))
        yield f"wrong criticality of extensions: {odd}"


def _name(leaf: x509.Certificate, identity: SpiffeId) -> Iterator[str]:
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    if len(uris) != 1:
        yield f"{len(uris)} URI names where exactly one belongs"
    if len([*names]) != len(uris):
        yield "names of other types than URI"
    if str(identity) not in uris:
        yield "the URI name is not the caller's identity"


def _purpose(leaf: x509.Certificate) -> Iterator[str]:
    constraints = leaf.extensions.get_extension_for_class(x509.BasicConstraints).value
    if constraints.ca or constraints.path_length is not None:
        yield "the leaf is an authority"
    usage = leaf.extensions.get_extension_for_class(x509.KeyUsage).value
    granted = {name for name in _USAGE_NAMES if getattr(usage, name)}
    if granted != USAGES:
        yield f"wrong key usage: {', '.join(sorted(granted)) or 'none'}"
    purposes = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    if {*purposes} != PURPOSES:
        yield "wrong extended key usage"


_USAGE_NAMES: Final = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
)


def _identifiers(leaf: x509.Certificate, signer: x509.Certificate) -> Iterator[str]:
    authority = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    if authority.key_identifier != _identifier_of(signer):
        yield "the authority key identifier is not the signer's"


# What is read of the signer, once per authority and not once per signature.


@lru_cache(maxsize=SIGNERS)
def _identifier_of(signer: x509.Certificate) -> bytes:
    try:
        return signer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    except x509.ExtensionNotFound:  # an authority that somebody else made
        return x509.SubjectKeyIdentifier.from_public_key(signer.public_key()).digest


@lru_cache(maxsize=SIGNERS)
def _key_of(signer: x509.Certificate) -> object:
    return signer.public_key()


def _validity(leaf: x509.Certificate, expected: Expectation) -> Iterator[str]:
    first, last = leaf.not_valid_before_utc, leaf.not_valid_after_utc
    if not first <= expected.now < last:
        yield "not valid at the instant of signing"
    # Certificates count whole seconds, so an instant may be rounded down by less than one.
    if first <= expected.now - MAX_BACKDATE - timedelta(seconds=1):
        yield "valid too early"
    if last > expected.now + expected.ttl:
        yield "valid for longer than allowed"
    if last > expected.signer.not_valid_after_utc or first < expected.signer.not_valid_before_utc:
        yield "valid beyond the signer"


def _signature(leaf: x509.Certificate, signer: x509.Certificate) -> Iterator[str]:
    if not isinstance(leaf.signature_hash_algorithm, hashes.SHA256 | hashes.SHA384):
        yield "weak signature hash"
    try:
        _verify(leaf, signer)
    except (InvalidSignature, ValueError, TypeError):
        yield "not signed by the signer"


def _verify(leaf: x509.Certificate, signer: x509.Certificate) -> None:
    key, algorithm = _key_of(signer), leaf.signature_hash_algorithm
    if not isinstance(key, ec.EllipticCurvePublicKey) or algorithm is None:
        return leaf.verify_directly_issued_by(signer)
    # The same, without reading the signer's key out of its certificate each time.
    if leaf.issuer != signer.subject:
        raise ValueError("the issuer is not the signer's subject")
    return key.verify(leaf.signature, leaf.tbs_certificate_bytes, ec.ECDSA(algorithm))
