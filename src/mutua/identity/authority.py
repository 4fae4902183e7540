"""The mesh's certificate authority: build, sign, validate.

    CSR ──> proven key ─┐
                        ├─> template ──> sign ──> validator re-reads ──> journal ──> IssuedChain
    caller's identity ──┘

The identity comes from the authenticated caller, never from the CSR.  With which key is signed, and
what peers trust, are two things that change independently (`adopt`): that is how a mesh moves to
another root without losing a request (mutua.identity.rotation).

Source: istio-semantics 4.2, 4.3, 4.5.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from mutua.foundation.clock import Clock, StoppedClock
from mutua.foundation.errors import Denied, Rejected
from mutua.foundation.spiffe import SpiffeId
from mutua.identity.bundle import TrustBundle
from mutua.identity.csr import proven_key
from mutua.identity.journal import Issuance, Journal, NoJournal
from mutua.identity.keystore import KeyStore
from mutua.identity.material import SigningMaterial, self_signed
from mutua.identity.renewal import Validity
from mutua.identity.sealing import Sealer
from mutua.identity.validator import (
    Expectation,
    ServerExpectation,
    require_valid_server,
    require_valid_svid,
)
from mutua.identity.x509 import (
    Credential,
    blank_certificate,
    certificate_pem,
    server_certificate,
    sign_leaf,
    subject_name,
)

DEFAULT_TTL: Final = timedelta(hours=24)
"""Of a workload certificate.  Source: istio DEFAULT_WORKLOAD_CERT_TTL."""

MAX_TTL: Final = timedelta(days=90)
"""Longest lifetime a caller may ask for.  Source: istio MAX_WORKLOAD_CERT_TTL."""

WORKLOAD: Final = "workload"
"""The template of workload certificates, as the journal names it."""

SERVER: Final = "server"
"""The template of the control plane's own TLS servers' certificates, as the journal names it."""

PURPOSES: Final = x509.ExtendedKeyUsage(
    [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
)
NO_NAME: Final = subject_name("", [])
"""What all workload certificates have in common, made once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedChain:
    """An answer to a signing request.  Nothing in it is secret.

    Attributes:
        leaf: The workload's certificate, PEM.
        intermediates: From the leaf's signer towards the anchor, PEM; empty when the anchor signs.
        anchor: The trust anchor that the chain ends at, PEM.
        bundle: All that peers verify against.
        signer: SHA-256 of the signing CA's certificate, hexadecimal.
        serial_number: The leaf's, hexadecimal.
        validity: The leaf's.
    """

    leaf: str
    intermediates: tuple[str, ...]
    anchor: str
    bundle: TrustBundle
    signer: str
    serial_number: str
    validity: Validity

    @property
    def roots_pem(self) -> str:
        """The trust anchors."""
        return self.bundle.roots_pem

    @property
    def chain_pem(self) -> str:
        """What a proxy presents: leaf, intermediates and, as Istio does, the root (4.7)."""
        return "".join((self.leaf, *self.intermediates, self.anchor))


def nobody_refused(_identity: SpiffeId) -> str:
    """Refuse nobody."""
    return ""


class Authority:
    """Signs workload certificates of one trust domain.

    Attributes:
        trust_domain: Whose identities it certifies; it may change.
        refusal: Returns why an identity gets no certificate, "" if it does.
    """

    def __init__(
        self,
        material: SigningMaterial | Credential,
        trust_domain: str,
        clock: Clock,
        *,
        journal: Journal | None = None,
        refusal: Callable[[SpiffeId], str] = nobody_refused,
    ) -> None:
        """Make an authority that trusts what comes with what it signs with.

        Args:
            material: What to sign with; a credential is a root that signs by itself.
            trust_domain: Whose identities to certify.
            clock: Wall time.
            journal: Where issuances are written down before they are handed out.
            refusal: Who is refused, and why.
        """
        if isinstance(material, Credential):
            material = self_signed(material)
        self._material = material
        self._bundle = material.bundle
        self._clock = clock
        self._journal = journal or NoJournal()
        self._listeners: list[Callable[[], None]] = []
        self.trust_domain = trust_domain
        self.refusal = refusal

    @classmethod
    def load_or_create(
        cls,
        directory: Path,
        trust_domain: str,
        clock: Clock,
        *,
        sealer: Sealer | None = None,
        journal: Journal | None = None,
    ) -> "Authority":
        """Open the authority kept in a directory, creating both when missing.

        Args:
            directory: See `KeyStore`.
            trust_domain: Of a new root.  An existing one keeps its own, and certifies that.
            clock: Wall time.
            sealer: For the key files.
            journal: Where issuances are written down before they are handed out.

        Raises:
            Damaged: A key file is unusable.  It is left as it is.
        """
        store = KeyStore.open(directory, trust_domain, clock, sealer=sealer)
        material = store.material(store.state.issuing)
        authority = cls(material, store.trust_domain, clock, journal=journal)
        authority.adopt(authority.material, store.bundle())
        return authority

    @property
    def material(self) -> SigningMaterial:
        """What is signed with."""
        return self._material

    @property
    def bundle(self) -> TrustBundle:
        """What peers verify against."""
        return self._bundle

    @property
    def roots_pem(self) -> str:
        """The trust anchors: what peers verify against."""
        return self._bundle.roots_pem

    def adopt(self, material: SigningMaterial, bundle: TrustBundle) -> None:
        """Sign with this from now on, and hand out this bundle; tell everyone who listens.

        Raises:
            Rejected: The bundle does not hold the anchor of what is signed with: nobody would
                accept what is issued.
        """
        if material.anchor not in bundle.roots:
            raise Rejected("the trust bundle does not hold the signing CA's root")
        self._material, self._bundle = material, bundle
        for listener in self._listeners:
            listener()

    def with_material(self, material: SigningMaterial) -> "Authority":
        """Return an authority that signs with another CA and is otherwise like this one is now."""
        return Authority(
            material, self.trust_domain, self._clock, journal=self._journal, refusal=self.refusal
        )

    def listen(self, listener: Callable[[], None]) -> None:
        """Call `listener` after every `adopt`."""
        self._listeners.append(listener)

    def sign(
        self,
        csr_pem: str,
        identity: SpiffeId,
        ttl: timedelta = timedelta(),
        *,
        authenticated: str = "pod socket",
        pod: str = "",
    ) -> IssuedChain:
        """Certify the requester's key for the caller's identity.

        Args:
            csr_pem: The request; only its proof of possession counts, its names are ignored.
            identity: Whom the transport authenticated.
            ttl: Wanted lifetime; zero or less means the default, more than the maximum is refused,
                and the signer's own end shortens it.
            authenticated: How it was authenticated, for the journal.
            pod: Uid of the pod that the key is in, "" where that is unknown; for the journal.

        Raises:
            Malformed: The request is not one, or its key is of a kind that is not certified.
            Rejected: The lifetime is too long, or the identity is of another trust domain.
            Denied: The identity gets no certificates.
            NotValidNow: The signing CA is not valid now.
            InvalidSvid: The result broke a rule; a bug, and nothing was issued.
        """
        issued = self._issue(csr_pem, identity, ttl)
        self._write_down(issued, identity, authenticated, pod)
        return issued

    def _issue(self, csr_pem: str, identity: SpiffeId, ttl: timedelta) -> IssuedChain:
        if identity.trust_domain != self.trust_domain:
            raise Rejected(f"{identity} is not of trust domain {self.trust_domain}")
        if why := self.refusal(identity):
            raise Denied(f"{identity} gets no certificate: {why}")
        if ttl > MAX_TTL:
            raise Rejected(f"lifetime {ttl} exceeds {MAX_TTL}")
        if ttl <= timedelta():
            ttl = DEFAULT_TTL
        public_key = proven_key(csr_pem)
        material, now = self._material, self._clock.now()
        builder = self._template(identity, blank_certificate(now, ttl, signer=material.certificate))
        pem = certificate_pem(
            sign_leaf(material.signer, builder, public_key, issuer=material.certificate)
        )
        leaf = require_valid_svid(
            pem,
            Expectation(
                identity=identity,
                public_key=public_key,
                signer=material.certificate,
                now=now,
                ttl=ttl,
            ),
        )
        return IssuedChain(
            leaf=pem,
            intermediates=material.intermediates,
            anchor=material.anchor,
            bundle=self._bundle,
            signer=material.fingerprint,
            serial_number=f"{leaf.serial_number:032x}",
            validity=Validity(
                not_before=leaf.not_valid_before_utc, not_after=leaf.not_valid_after_utc
            ),
        )

    def server_credential(
        self, identity: SpiffeId, names: Sequence[str], lifetime: timedelta
    ) -> Credential:
        """Make the credential of one of the control plane's own TLS servers.

        Args:
            identity: Whose it is, for the journal.
            names: DNS names that clients dial.
            lifetime: Shortened to the signer's.

        Raises:
            NotValidNow: The signing CA is not valid now.
            InvalidCertificate: The result broke a rule; a bug, and nothing was issued.
            MutuaError: It could not be written down.
        """
        material, clock = self._material, StoppedClock(self._clock.now())
        server = server_certificate(material.signer, names=names, lifetime=lifetime, clock=clock)
        require_valid_server(
            server.chain_pem,
            ServerExpectation(
                names=names,
                public_key=server.key.public,
                signer=material.certificate,
                now=clock.now(),
                ttl=lifetime,
            ),
        )
        self._journal.record(
            Issuance(
                at=clock.now(),
                identity=identity,
                authenticated="control plane",
                serial_number=f"{server.certificate.serial_number:032x}",
                not_before=server.not_before,
                not_after=server.not_after,
                template=SERVER,
                signer=material.fingerprint,
            )
        )
        return Credential(
            chain_pem=server.chain_pem + "".join(material.intermediates), key=server.key
        )

    def _write_down(
        self, issued: IssuedChain, identity: SpiffeId, authenticated: str, pod: str
    ) -> None:
        self._journal.record(
            Issuance(
                at=self._clock.now(),
                identity=identity,
                authenticated=authenticated,
                serial_number=issued.serial_number,
                not_before=issued.validity.not_before,
                not_after=issued.validity.not_after,
                template=WORKLOAD,
                signer=issued.signer,
                pod=pod,
            )
        )

    def _template(
        self, identity: SpiffeId, blank: x509.CertificateBuilder
    ) -> x509.CertificateBuilder:
        uri = x509.UniformResourceIdentifier(str(identity))
        return (
            blank.subject_name(NO_NAME)
            .add_extension(x509.SubjectAlternativeName([uri]), critical=True)
            .add_extension(PURPOSES, critical=False)
        )
