"""Is this certificate what we meant to sign?  The second opinion on all that the CA signs.

    workload's leaf       against the SPIFFE X.509-SVID rules and the request
    server's leaf         against the names that clients dial
    root, intermediate    against what an authority may do, and for how long

The authority builds a template and signs it; this module re-reads the signed bytes, sharing no code
with the template.  What fails never leaves the CA: a bug in the template becomes an outage that is
seen, not a certificate that should not exist.

Sources: SPIFFE X509-SVID sections 2 to 5; RFC 5280 section 4; istio-semantics 4.3.
"""

from collections.abc import Callable, Iterator, Sequence, Set
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

AUTHORITY_USAGES: Final = frozenset({"key_cert_sign", "crl_sign"})
"""Key usages of an authority: it signs, and proves itself to nobody (section 4.3)."""

SIGNERS: Final = 16
"""Signers whose keys stay in memory: an authority has one or two at a time."""

MAX_SERIAL_BITS: Final = 159
"""Twenty octets with the sign bit clear (RFC 5280 section 4.1.2.2)."""

MAX_BACKDATE: Final = timedelta(minutes=2)
"""How far notBefore may lie in the past.  Source: istio ClockSkewGracePeriod."""

MAX_AUTHORITY_BACKDATE: Final = timedelta(days=1)
"""The same for an authority, whose first boot's clock may have been hours off."""


class InvalidCertificate(Denied):
    """A signed certificate breaks a rule, and was not issued.

    Attributes:
        violations: Every rule it breaks.
    """

    code = "identity.invalid_certificate"

    def __init__(self, violations: tuple[str, ...]) -> None:
        super().__init__("the signed certificate breaks the rules: " + "; ".join(violations))
        self.violations = violations


class InvalidSvid(InvalidCertificate):
    """The same of a workload's leaf."""

    code = "identity.invalid_svid"


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
    return _require(pem, lambda leaf: _violations(leaf, expected), InvalidSvid)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerExpectation:
    """What the leaf of one of the control plane's own servers must say.

    Attributes:
        names: DNS names and IP addresses that clients dial.
        public_key: Of the key that was made for it.
        signer: The certificate of whoever signed.
        now: The instant of signing, UTC.
        ttl: The longest lifetime after `now`.
    """

    names: Sequence[str]
    public_key: PublicKey
    signer: x509.Certificate
    now: datetime
    ttl: timedelta


def require_valid_server(pem: str, expected: ServerExpectation) -> x509.Certificate:
    """Re-read the leaf of a server and return it.

    Raises:
        InvalidCertificate: It breaks at least one rule.
    """
    return _require(pem, lambda leaf: _server_violations(leaf, expected))


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorityExpectation:
    """What a root, or an intermediate below it, must say.

    Attributes:
        public_key: Of the key that was made for it.
        signer: The certificate of the root above; None for a root.
        now: The instant of signing, UTC.
        ttl: The longest lifetime after `now`.
    """

    public_key: PublicKey
    signer: x509.Certificate | None
    now: datetime
    ttl: timedelta


def require_valid_authority(pem: str, expected: AuthorityExpectation) -> x509.Certificate:
    """Re-read the certificate of an authority and return it.

    Raises:
        InvalidCertificate: It breaks at least one rule.
    """
    return _require(pem, lambda made: _authority_violations(made, expected))


def _require(
    pem: str,
    violations_of: Callable[[x509.Certificate], Iterator[str]],
    failure: type[InvalidCertificate] = InvalidCertificate,
) -> x509.Certificate:
    try:
        certificates = x509.load_pem_x509_certificates(pem.encode())
        violations = [*violations_of(certificates[0])]
    except (ValueError, x509.DuplicateExtension) as error:
        raise failure((f"unreadable: {error}",)) from error
    if len(certificates) != 1:
        violations.append(f"{len(certificates)} certificates where one belongs")
    if violations:
        raise failure(tuple(violations))
    return certificates[0]


def _violations(leaf: x509.Certificate, expected: Expectation) -> Iterator[str]:
    if leaf.subject.rdns:
        yield "the subject is not empty"
    if {one.oid for one in leaf.extensions} == EXTENSIONS:
        yield from _name(leaf, expected.identity)
        yield from _leaf_purpose(leaf, PURPOSES)
    yield from _leaf_rules(leaf, expected, CRITICAL)


def _server_violations(leaf: x509.Certificate, expected: ServerExpectation) -> Iterator[str]:
    if {one.oid for one in leaf.extensions} == EXTENSIONS:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        found = [str(one.value) for one in names]
        if sorted(found) != sorted(expected.names):
            yield f"the names are {', '.join(found)}"
        yield from _leaf_purpose(leaf, {ExtendedKeyUsageOID.SERVER_AUTH})
    yield from _leaf_rules(leaf, expected, CRITICAL - {ExtensionOID.SUBJECT_ALTERNATIVE_NAME})


def _leaf_rules(
    leaf: x509.Certificate,
    expected: Expectation | ServerExpectation,
    critical: Set[x509.ObjectIdentifier],
) -> Iterator[str]:
    yield from _shape(leaf, [*leaf.extensions], EXTENSIONS, critical)
    if {one.oid for one in leaf.extensions} == EXTENSIONS:
        yield from _identifiers(leaf, expected.signer)
    yield from _validity(leaf, expected.now, expected.ttl, MAX_BACKDATE)
    yield from _inside(leaf, expected.signer)
    yield from _signature(leaf, expected.signer)
    key = leaf.public_key()
    if key != expected.public_key:
        yield "the public key is not the request's"
    if key == _key_of(expected.signer):
        yield "the public key is the signer's own"


def _authority_violations(made: x509.Certificate, expected: AuthorityExpectation) -> Iterator[str]:
    above = expected.signer or made
    wanted = {*CRITICAL, ExtensionOID.SUBJECT_KEY_IDENTIFIER}
    wanted -= {ExtensionOID.SUBJECT_ALTERNATIVE_NAME}
    wanted |= {ExtensionOID.AUTHORITY_KEY_IDENTIFIER} if expected.signer else set()
    critical = CRITICAL - {ExtensionOID.SUBJECT_ALTERNATIVE_NAME}
    yield from _shape(made, [*made.extensions], wanted, critical)
    if {one.oid for one in made.extensions} == wanted:
        yield from _authority_purpose(made, below=expected.signer is not None)
        if expected.signer is not None:
            yield from _identifiers(made, expected.signer)
    yield from _validity(made, expected.now, expected.ttl, MAX_AUTHORITY_BACKDATE)
    yield from _inside(made, above)
    yield from _signature(made, above)
    if not made.subject.rdns:
        yield "the subject is empty"
    if expected.signer is not None and made.subject == expected.signer.subject:
        yield "the subject is the signer's"
    if made.public_key() != expected.public_key:
        yield "the public key is not the one that was made for it"
    if expected.signer is not None and made.public_key() == _key_of(expected.signer):
        yield "the public key is the signer's own"


def _authority_purpose(made: x509.Certificate, *, below: bool) -> Iterator[str]:
    constraints = made.extensions.get_extension_for_class(x509.BasicConstraints).value
    if not constraints.ca:
        yield "not an authority"
    if constraints.path_length != (0 if below else None):
        yield f"wrong number of authorities below: {constraints.path_length}"
    yield from _usage(made, AUTHORITY_USAGES)
    named = made.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    if named != x509.SubjectKeyIdentifier.from_public_key(made.public_key()):
        yield "the subject key identifier is not the key's"


def _shape(
    leaf: x509.Certificate,
    extensions: Sequence[x509.Extension[Any]],
    wanted: Set[x509.ObjectIdentifier],
    must_be_critical: Set[x509.ObjectIdentifier],
) -> Iterator[str]:
    if leaf.version is not x509.Version.v3:
        yield "not an X.509 v3 certificate"
    if not 0 < leaf.serial_number < 1 << MAX_SERIAL_BITS:
        yield "serial number out of range"
    present = {e.oid for e in extensions}
    if present != wanted:
        odd = ", ".join(sorted(oid.dotted_string for oid in present ^ wanted))
        yield f"missing or unexpected extensions: {odd}"
    critical = {e.oid for e in extensions if e.critical}
    if critical != must_be_critical:
        odd = ", ".join(sorted(oid.dotted_string for oid in critical ^ must_be_critical))
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


def _leaf_purpose(leaf: x509.Certificate, purposes: Set[x509.ObjectIdentifier]) -> Iterator[str]:
    constraints = leaf.extensions.get_extension_for_class(x509.BasicConstraints).value
    if constraints.ca or constraints.path_length is not None:
        yield "the leaf is an authority"
    yield from _usage(leaf, USAGES)
    if {*leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value} != purposes:
        yield "wrong extended key usage"


def _usage(certificate: x509.Certificate, wanted: Set[str]) -> Iterator[str]:
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    granted = {name for name in _USAGE_NAMES if getattr(usage, name)}
    if granted != wanted:
        yield f"wrong key usage: {', '.join(sorted(granted)) or 'none'}"


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


def _validity(
    leaf: x509.Certificate, now: datetime, ttl: timedelta, backdate: timedelta
) -> Iterator[str]:
    first, last = leaf.not_valid_before_utc, leaf.not_valid_after_utc
    if not first <= now < last:
        yield "not valid at the instant of signing"
    # Certificates count whole seconds, so an instant may be rounded down by less than one.
    if first <= now - backdate - timedelta(seconds=1):
        yield "valid too early"
    if last > now + ttl:
        yield "valid for longer than allowed"


def _inside(leaf: x509.Certificate, signer: x509.Certificate) -> Iterator[str]:
    first, last = leaf.not_valid_before_utc, leaf.not_valid_after_utc
    if last > signer.not_valid_after_utc or first < signer.not_valid_before_utc:
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
