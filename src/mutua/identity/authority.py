"""The mesh's certificate authority: build, sign, validate.

    CSR ──> proven key ─┐
                        ├─> template ──> sign ──> validator re-reads ──> IssuedChain
    caller's identity ──┘

The identity comes from the authenticated caller, never from the CSR.  The root is a P-256 key that
lives for ten years in one file of mode 0600; when several processes create it at once, one wins
and all use the winner's.

Source: istio-semantics 4.2, 4.3, 4.5.
"""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mutua.foundation.clock import Clock
from mutua.foundation.errors import Rejected
from mutua.foundation.spiffe import SpiffeId
from mutua.identity.csr import proven_key
from mutua.identity.keyfile import Damaged, read_credential, write_credential
from mutua.identity.renewal import Validity
from mutua.identity.validator import Expectation, require_valid_svid
from mutua.identity.x509 import (
    Credential,
    blank_certificate,
    certificate_pem,
    self_signed_ca,
    sign_leaf,
    subject_name,
)

ROOT_LIFETIME: Final = timedelta(days=3650)
"""Of the self-signed root.  Source: istio CITADEL_SELF_SIGNED_CA_CERT_TTL."""

DEFAULT_TTL: Final = timedelta(hours=24)
"""Of a workload certificate.  Source: istio DEFAULT_WORKLOAD_CERT_TTL."""

MAX_TTL: Final = timedelta(days=90)
"""Longest lifetime a caller may ask for.  Source: istio MAX_WORKLOAD_CERT_TTL."""

KEY_FILE: Final = "ca.pem"
"""Name of the file that holds the root's key and certificate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedChain:
    """An answer to a signing request.  Nothing in it is secret.

    Attributes:
        leaf: The workload's certificate, PEM.
        intermediates: From the leaf's signer towards the root, PEM; empty when the root signs.
        roots: The trust anchors, PEM.
        validity: The leaf's.
    """

    leaf: str
    intermediates: tuple[str, ...]
    roots: tuple[str, ...]
    validity: Validity

    @property
    def roots_pem(self) -> str:
        """The trust bundle."""
        return "".join(self.roots)

    @property
    def chain_pem(self) -> str:
        """What a proxy presents: leaf, intermediates and, as Istio does, the root (4.7)."""
        return "".join((self.leaf, *self.intermediates, *self.roots))


class Authority:
    """Signs workload certificates of one trust domain.

    Attributes:
        trust_domain: Whose identities it certifies; it may change.
    """

    def __init__(self, signer: Credential, trust_domain: str, clock: Clock) -> None:
        self._signer = signer
        self._certificate = signer.certificate
        self._roots = (certificate_pem(self._certificate),)
        self._clock = clock
        self.trust_domain = trust_domain

    @classmethod
    def load_or_create(cls, directory: Path, trust_domain: str, clock: Clock) -> "Authority":
        """Open the authority kept in a directory, creating both when missing.

        Args:
            directory: Holds the root's key and certificate.
            trust_domain: Of a new root.  An existing one keeps its own, and certifies that.
            clock: Wall time.

        Raises:
            Damaged: The key file is unusable.  It is left as it is.
        """
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = directory / KEY_FILE
        try:
            signer = read_credential(path)
        except FileNotFoundError:
            fresh = self_signed_ca(
                "", organization=trust_domain, lifetime=ROOT_LIFETIME, clock=clock
            )
            write_credential(path, fresh)
            signer = read_credential(path)  # what is used is what a restart will find
        _require_root(signer.certificate, path)
        return cls(signer, _owner(signer.certificate, path), clock)

    @property
    def roots_pem(self) -> str:
        """The trust bundle: what peers verify against."""
        return "".join(self._roots)

    def sign(self, csr_pem: str, identity: SpiffeId, ttl: timedelta = timedelta()) -> IssuedChain:
        """Certify the requester's key for the caller's identity.

        Args:
            csr_pem: The request; only its proof of possession counts, its names are ignored.
            identity: Whom the transport authenticated.
            ttl: Wanted lifetime; zero or less means the default, more than the maximum is refused,
                and the signer's own end shortens it.

        Raises:
            Malformed: The request is not one.
            Rejected: The lifetime is too long, or the identity is of another trust domain.
            NotValidNow: The root is not valid now.
            InvalidSvid: The result broke a rule; a bug, and nothing was issued.
        """
        if identity.trust_domain != self.trust_domain:
            raise Rejected(f"{identity} is not of trust domain {self.trust_domain}")
        if ttl > MAX_TTL:
            raise Rejected(f"lifetime {ttl} exceeds {MAX_TTL}")
        if ttl <= timedelta():
            ttl = DEFAULT_TTL
        public_key = proven_key(csr_pem)
        now = self._clock.now()
        builder = self._template(identity, blank_certificate(now, ttl, signer=self._certificate))
        pem = certificate_pem(sign_leaf(self._signer, builder, public_key))
        return self._validated(
            pem,
            Expectation(
                identity=identity,
                public_key=public_key,
                signer=self._certificate,
                now=now,
                ttl=ttl,
            ),
        )

    def _template(
        self, identity: SpiffeId, blank: x509.CertificateBuilder
    ) -> x509.CertificateBuilder:
        uri = x509.UniformResourceIdentifier(str(identity))
        purposes = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        return (
            blank.subject_name(subject_name("", []))
            .add_extension(x509.SubjectAlternativeName([uri]), critical=True)
            .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        )

    def _validated(self, pem: str, expected: Expectation) -> IssuedChain:
        leaf = require_valid_svid(pem, expected)
        return IssuedChain(
            leaf=pem,
            intermediates=(),
            roots=self._roots,
            validity=Validity(
                not_before=leaf.not_valid_before_utc, not_after=leaf.not_valid_after_utc
            ),
        )


def _require_root(certificate: x509.Certificate, path: Path) -> None:
    try:
        is_authority = certificate.extensions.get_extension_for_class(
            x509.BasicConstraints
        ).value.ca
        certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    except (ValueError, x509.ExtensionNotFound):
        is_authority = False
    if not is_authority:
        raise Damaged(f"{path}: not a certificate authority", hint="restore it from a backup")


def _owner(certificate: x509.Certificate, path: Path) -> str:
    """Return the trust domain that a root was made for."""
    owners = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    if len(owners) != 1:
        raise Damaged(f"{path}: names no trust domain", hint="restore it from a backup")
    return str(owners[0].value)
