"""Keys and certificates as values: the only door to the `cryptography` package.

Callers hold a `PrivateKey` (which never shows itself), PEM text, and `Credential`: a certificate
chain with the key that belongs to it.  Three recipes cover the servers and people of one mesh:

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
from typing import Final, final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from typing_extensions import override

from mutua.foundation.clock import Clock
from mutua.foundation.errors import Rejected, Unavailable

BACKDATE: Final = timedelta(minutes=2)
"""How far notBefore lies in the past.  Source: istio security/pkg/pki/util ClockSkewGracePeriod."""

ROOT_BACKDATE: Final = timedelta(days=1)
"""The same for authorities.  A machine's first boot may be hours off (a hardware clock in local
time is up to 14), and an authority that is not valid yet when the clock is corrected is useless."""

SERIAL_BITS: Final = 128
"""Random bits of a serial number.  Source: istio security/pkg/pki/util genSerialNum."""


class Malformed(Rejected):
    """The text is not the PEM object it should be."""

    code = "identity.malformed"


class NotValidNow(Unavailable):
    """The signing certificate has expired, or the clock is behind it."""

    code = "identity.signer_not_valid"


@final
class PrivateKey:
    """A P-256 private key.  Its text form exists only in what `pem` returns."""

    __slots__ = ("_key",)

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        self._key = key

    @override
    def __repr__(self) -> str:
        return "PrivateKey(redacted)"

    @override
    def __reduce__(self) -> str:
        raise TypeError("private keys are not pickled")

    def pem(self) -> str:
        """Return the key as unencrypted PKCS #8 PEM.

        Security:
            The result is the secret itself: write it to a 0600 file or to Envoy, nowhere else.
        """
        return self._key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ).decode()

    @property
    def signer(self) -> ec.EllipticCurvePrivateKey:
        """The key as `cryptography` wants it; for modules of mutua.identity only."""
        return self._key

    @property
    def public(self) -> ec.EllipticCurvePublicKey:
        """The public half."""
        return self._key.public_key()


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


def new_key() -> PrivateKey:
    """Make a P-256 key from the operating system's randomness."""
    return PrivateKey(ec.generate_private_key(ec.SECP256R1()))


def parse_key(pem: str) -> PrivateKey:
    """Read a P-256 private key.

    Raises:
        Malformed: Not an unencrypted P-256 private key.  The message never quotes the text.
    """
    try:
        key = serialization.load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # `from None`: the parser's own message may contain bytes of the key.
        raise Malformed("not an unencrypted PEM private key") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise Malformed("the private key is not on curve P-256")
    return PrivateKey(key)


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
    starts, ends = now - backdate, now + lifetime
    if signer is not None:
        if not signer.not_valid_before_utc <= now < signer.not_valid_after_utc:
            raise NotValidNow(
                f"the signing certificate is valid from {signer.not_valid_before_utc:%F %T} to "
                f"{signer.not_valid_after_utc:%F %T} UTC, and it is {now:%F %T}",
                hint="check this machine's clock",
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


def sign_leaf(
    ca: Credential,
    builder: x509.CertificateBuilder,
    public_key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey,
) -> x509.Certificate:
    """Complete a leaf and sign it; for modules of mutua.identity only."""
    issuer = ca.certificate
    ski = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return (
        builder.issuer_name(issuer.subject)
        .public_key(public_key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(key_usage(for_ca=False), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ski), critical=False
        )
        .sign(ca.key.signer, hashes.SHA256())
    )


def _issue(ca: Credential, builder: x509.CertificateBuilder) -> Credential:
    key = new_key()
    return Credential(chain_pem=certificate_pem(sign_leaf(ca, builder, key.public)), key=key)


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
