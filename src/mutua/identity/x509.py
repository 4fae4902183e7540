"""Certificates as values: read, and made for servers and people.

Callers hold PEM text, and `Credential`: a certificate chain with the key that belongs to it.
Three recipes cover the servers and people of one mesh:

    ca = self_signed_ca("mutua-api", lifetime=timedelta(days=3650), clock=clock)
    server = server_certificate(ca, names=["127.0.0.1", "localhost"], lifetime=…, clock=clock)
    person = client_certificate(ca, user="kubernetes-admin", groups=["system:masters"], …)

Workload certificates are not made here but by `authority`, which re-reads what it signed.

Every certificate starts a little in the past, because peers' clocks differ; carries a random
serial; and names its key and its signer's (SKI, AKI), which strict verifiers insist on.
"""

import ipaddress
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache, lru_cache
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mutua.foundation.clock import Clock
from mutua.foundation.errors import Unavailable
from mutua.identity.keys import (
    Malformed,
    PrivateKey,
    PublicKey,
    new_key,
    require_supported,
    signature_hash,
)

BACKDATE: Final = timedelta(minutes=2)
"""How far notBefore lies in the past.  Source: istio security/pkg/pki/util ClockSkewGracePeriod."""

SHARE_BACKDATED: Final = 0.1
"""No certificate starts earlier than this share of its lifetime (dimensionless): the half-life of
one that lives for minutes would be over when it is issued."""

ROOT_BACKDATE: Final = timedelta(days=1)
"""The same for authorities.  A machine's first boot may be hours off (a hardware clock in local
time is up to 14), and an authority that is not valid yet when the clock is corrected is useless."""

SERIAL_BITS: Final = 128
"""Random bits of a serial number.  Source: istio security/pkg/pki/util genSerialNum."""


class NotValidNow(Unavailable):
    """The signing certificate has expired, or the clock is behind it."""

    code = "identity.signer_not_valid"


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """A certificate chain and the private key of its first certificate.

    Attributes:
        chain_pem: PEM certificates, the owner's first; the trust anchor is not included.
        key: The private key.
    """

    chain_pem: str
    key: PrivateKey

    @property
    def certificate(self) -> x509.Certificate:
        """The owner's certificate; for modules of mutua.identity only."""
        return parse_certificates(self.chain_pem)[0]

    @property
    def not_before(self) -> datetime:
        """First instant at which the owner's certificate is valid, UTC."""
        return self.certificate.not_valid_before_utc

    @property
    def not_after(self) -> datetime:
        """Last instant at which the owner's certificate is valid, UTC."""
        return self.certificate.not_valid_after_utc


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Whom a client certificate names, the way Kubernetes reads it.

    Attributes:
        user: The common name.
        groups: The organizations.
    """

    user: str
    groups: tuple[str, ...]


def fingerprint(pem: str) -> str:
    """Return the SHA-256 of the first certificate of a PEM text, hexadecimal.

    Raises:
        Malformed: It holds no certificate.
    """
    return parse_certificates(pem)[0].fingerprint(hashes.SHA256()).hex()


def parse_certificates(pem: str) -> list[x509.Certificate]:
    """Read one or more certificates; for modules of mutua.identity only.

    Raises:
        Malformed: There is none, or one of them is damaged.
    """
    try:
        return x509.load_pem_x509_certificates(pem.encode())
    except ValueError as error:
        raise Malformed(f"not PEM certificates: {error}") from error


def certificate_pem(certificate: x509.Certificate) -> str:
    """Return a certificate as PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def self_signed_ca(
    common_name: str, *, lifetime: timedelta, clock: Clock, organization: str = ""
) -> Credential:
    """Make a certificate authority.

    Args:
        common_name: Its name; "" for none.
        lifetime: From now.
        clock: Tells what now is.
        organization: Its organization; "" for none.
    """
    key = new_key()
    name = subject_name(common_name, [organization] if organization else [])
    builder = (
        blank_certificate(clock.now(), lifetime, backdate=ROOT_BACKDATE)
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(key_usage(for_ca=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public), critical=False)
    )
    return Credential(chain_pem=certificate_pem(builder.sign(key.signer, hashes.SHA256())), key=key)


def intermediate_ca(parent: Credential, *, lifetime: timedelta, clock: Clock) -> Credential:
    """Make an authority below another one, of the same organization, that signs leaves only.

    Args:
        parent: Who signs.
        lifetime: From now; shortened to the parent's.
        clock: Tells what now is.

    Raises:
        NotValidNow: The parent is not valid now.
    """
    issuer, key = parent.certificate, new_key()
    owners = issuer.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    blank = blank_certificate(clock.now(), lifetime, signer=issuer, backdate=ROOT_BACKDATE)
    # A name of its own: verifiers look authorities up by name.
    name = subject_name(f"Intermediate {secrets.token_hex(4)}", [str(one.value) for one in owners])
    signed = (
        blank.subject_name(name)
        .issuer_name(issuer.subject)
        .public_key(key.public)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(key_usage(for_ca=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public), critical=False)
        .add_extension(authority_key_identifier(issuer), critical=False)
        .sign(parent.key.signer, signature_hash(parent.key))
    )
    return Credential(chain_pem=certificate_pem(signed), key=key)


def server_certificate(
    ca: Credential, *, names: Sequence[str], lifetime: timedelta, clock: Clock
) -> Credential:
    """Make a TLS server's credential.

    Args:
        ca: Who signs.
        names: DNS names and IP addresses clients dial; the first DNS name, or else the first
            name, is the common name.
        lifetime: From now; shortened to the signer's.
        clock: Tells what now is.
    """
    alternatives = x509.SubjectAlternativeName([_general_name(name) for name in names])
    dns = alternatives.get_values_for_type(x509.DNSName)
    return _issue(
        ca,
        blank_certificate(clock.now(), lifetime, signer=ca.certificate)
        .subject_name(subject_name((dns or list(names))[0], []))
        .add_extension(alternatives, critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False),
    )


def client_certificate(
    ca: Credential, *, user: str, groups: Sequence[str], lifetime: timedelta, clock: Clock
) -> Credential:
    """Make a person's credential: common name = user, organizations = groups.

    Args:
        ca: Who signs.
        user: User name.
        groups: Group names.
        lifetime: From now; shortened to the signer's.
        clock: Tells what now is.
    """
    return _issue(
        ca,
        blank_certificate(clock.now(), lifetime, signer=ca.certificate)
        .subject_name(subject_name(user, groups))
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False),
    )


def client_subject(der: bytes) -> Subject:
    """Read whom a client certificate names.

    Args:
        der: The certificate, as `ssl.SSLObject.getpeercert(binary_form=True)` returns it.  The
            TLS stack has verified it; this function verifies nothing.

    Raises:
        Malformed: Not a certificate.
    """
    try:
        name = x509.load_der_x509_certificate(der).subject
    except ValueError as error:
        raise Malformed(f"not a certificate: {error}") from error
    users = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    groups = name.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    return Subject(
        user=str(users[0].value) if users else "", groups=tuple(str(g.value) for g in groups)
    )


def subject_name(common_name: str, organizations: Sequence[str]) -> x509.Name:
    """Build a distinguished name; for modules of mutua.identity only."""
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, o) for o in organizations]
    if common_name:
        attributes.append(x509.NameAttribute(NameOID.COMMON_NAME, common_name))
    return x509.Name(attributes)


def blank_certificate(
    now: datetime,
    lifetime: timedelta,
    *,
    signer: x509.Certificate | None = None,
    backdate: timedelta = BACKDATE,
) -> x509.CertificateBuilder:
    """Start a certificate: serial and validity; for modules of mutua.identity only.

    Raises:
        NotValidNow: The signer has expired or is not valid yet.
    """
    starts, ends = now - min(backdate, lifetime * SHARE_BACKDATED), now + lifetime
    if signer is not None:
        # Without the present time, so that a cause that persists has one wording.
        first, last = signer.not_valid_before_utc, signer.not_valid_after_utc
        if now < first:
            raise NotValidNow(
                f"the signing certificate is not valid before {first:%F %T} UTC",
                hint="check this machine's clock",
            )
        if now >= last:
            raise NotValidNow(
                f"the signing certificate ended at {last:%F %T} UTC",
                hint="replace it, or check this machine's clock",
            )
        starts = max(starts, signer.not_valid_before_utc)
        ends = min(ends, signer.not_valid_after_utc)
    # Bit 0 is set so that the serial is never zero (RFC 5280 section 4.1.2.2).
    return (
        x509.CertificateBuilder()
        .serial_number(secrets.randbits(SERIAL_BITS) | 1)
        .not_valid_before(starts)
        .not_valid_after(ends)
    )


@cache
def key_usage(*, for_ca: bool) -> x509.KeyUsage:
    """Return the key usage of an authority or of a leaf; for modules of mutua.identity only."""
    return x509.KeyUsage(
        digital_signature=not for_ca,
        key_encipherment=not for_ca,
        key_cert_sign=for_ca,
        crl_sign=for_ca,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


NO_AUTHORITY: Final = x509.BasicConstraints(ca=False, path_length=None)


def sign_leaf(
    ca: Credential,
    builder: x509.CertificateBuilder,
    public_key: PublicKey,
    *,
    issuer: x509.Certificate | None = None,
) -> x509.Certificate:
    """Complete a leaf and sign it; for modules of mutua.identity only.

    Args:
        ca: Who signs.
        builder: Everything but issuer, key, and what every leaf has.
        public_key: The leaf's.
        issuer: The certificate of `ca`, where it has been parsed before.
    """
    issuer = issuer or ca.certificate
    return (
        builder.issuer_name(issuer.subject)
        .public_key(public_key)
        .add_extension(NO_AUTHORITY, critical=True)
        .add_extension(key_usage(for_ca=False), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(authority_key_identifier(issuer), critical=False)
        .sign(ca.key.signer, signature_hash(ca.key))
    )


@lru_cache(maxsize=16)  # read once per authority, not per signature
def authority_key_identifier(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """Return how what an authority signs refers to its key; for modules of mutua.identity only."""
    try:
        own = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(
            require_supported(issuer.public_key())
        )
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)


def _issue(ca: Credential, builder: x509.CertificateBuilder) -> Credential:
    key = new_key()
    return Credential(chain_pem=certificate_pem(sign_leaf(ca, builder, key.public)), key=key)


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
