"""What an authority signs with: its key, its certificate, the way from there to a trust anchor.

    root (anchor) ──signs──> intermediate … ──signs──> signer ──signs──> workload certificates
                             `chain` ────────────────────┘

The same checks hold for what mutua makes itself and for what an operator plugs in (Secret
`cacerts`): a set that is incomplete, does not fit together, has expired or is no authority is
refused with the name of the file to look at, and whoever signed before goes on.

Source: istio-semantics 4.4; istio security/pkg/pki/util/verify_cert.go; RFC 5280 section 6.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.x509.oid import NameOID

from mutua.foundation.errors import Rejected
from mutua.identity.bundle import TrustBundle, bundle_of
from mutua.identity.crl import lists_in
from mutua.identity.keys import Malformed, parse_key, require_supported
from mutua.identity.x509 import Credential, certificate_pem, fingerprint, parse_certificates

CERTIFICATE, KEY, CHAIN, ROOTS, CRL = (
    "ca-cert.pem",
    "ca-key.pem",
    "cert-chain.pem",
    "root-cert.pem",
    "ca-crl.pem",
)
"""Names of the files of a plugged-in set."""

REQUIRED: Final = (CERTIFICATE, KEY, CHAIN, ROOTS)

TLS_NAMES: Final = {CERTIFICATE: "tls.crt", KEY: "tls.key", ROOTS: "ca.crt"}
"""The other layout (type kubernetes.io/tls): tls.crt holds signer and chain."""

NAMES: Final = frozenset({*REQUIRED, CRL, *TLS_NAMES.values()})
"""Every file that is read, in either layout."""

MAX_DEPTH: Final = 8
"""Longest chain that is followed."""


class UnusableMaterial(Rejected):
    """A set of CA files that nothing is signed with.

    Attributes:
        file: The one to look at.
    """

    code = "identity.unusable_ca"

    def __init__(self, file: str, why: str, hint: str = "") -> None:
        super().__init__(f"{file}: {why}", hint=hint)
        self.file = file


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningMaterial:
    """A key that signs, and how others come to trust it.

    Attributes:
        signer: The signing key; its certificate first, then those towards the anchor, without it.
            Where the anchor itself signs it is the only one.
        anchor: The certificate that the chain ends at, PEM.
        bundle: All trust anchors that come with it, `anchor` among them, and revocation lists.
        certificate: The signer's.
        fingerprint: SHA-256 of that, hexadecimal.
        intermediates: From the signer's to the one below the anchor, PEM; none if that signs.
    """

    signer: Credential
    anchor: str
    bundle: TrustBundle
    certificate: x509.Certificate = field(init=False, repr=False, compare=False)
    fingerprint: str = field(init=False, compare=False)
    intermediates: tuple[str, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Parsed once: every signature needs them.
        chain = parse_certificates(self.signer.chain_pem)
        pems = tuple(map(certificate_pem, chain))
        object.__setattr__(self, "certificate", chain[0])
        object.__setattr__(self, "fingerprint", fingerprint(pems[0]))
        object.__setattr__(self, "intermediates", () if pems == (self.anchor,) else pems)

    @property
    def not_after(self) -> datetime:
        """The signer's last instant, UTC."""
        return self.certificate.not_valid_after_utc

    @property
    def is_authority(self) -> bool:
        """Tell whether the signer's certificate says that it may sign."""
        try:
            found = self.certificate.extensions.get_extension_for_class(x509.BasicConstraints)
        except (ValueError, x509.ExtensionNotFound):
            return False
        return found.value.ca

    @property
    def organization(self) -> str:
        """The signer's organization: mutua's own roots name their trust domain there."""
        owners = self.certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
        return str(owners[0].value) if len(owners) == 1 else ""


def self_signed(root: Credential) -> SigningMaterial:
    """Return what a root signs with by itself."""
    anchor = certificate_pem(root.certificate)
    return SigningMaterial(
        signer=Credential(chain_pem=anchor, key=root.key),
        anchor=anchor,
        bundle=TrustBundle((anchor,)),
    )


def below(parent: SigningMaterial, intermediate: Credential) -> SigningMaterial:
    """Return what an intermediate signs with that `parent` has signed."""
    chain = intermediate.chain_pem + "".join(parent.intermediates)
    return SigningMaterial(
        signer=Credential(chain_pem=chain, key=intermediate.key),
        anchor=parent.anchor,
        bundle=parent.bundle,
    )


def read_material(files: Mapping[str, str], now: datetime) -> SigningMaterial:
    """Check a plugged-in set and put it in order.

    Args:
        files: PEM texts by file name, in either layout; others are ignored.
        now: Of the check, UTC.

    Raises:
        UnusableMaterial: It is not complete, does not fit together, or is not valid now.
    """
    files = _named(files)
    signer, *rest = _certificates(files, CERTIFICATE)
    try:
        key = parse_key(files[KEY])
    except Malformed as error:
        raise UnusableMaterial(KEY, str(error), error.hint) from error
    if key.public != signer.public_key():
        raise UnusableMaterial(KEY, f"is not the key of {CERTIFICATE}")
    try:
        bundle = bundle_of([files[ROOTS]], files.get(CRL, ""))
    except Malformed as error:
        raise UnusableMaterial(ROOTS, str(error)) from error
    others = [*rest, *_certificates(files, CHAIN)] if files.get(CHAIN) else rest
    chain, anchor = _path(signer, others, [parse_certificates(pem)[0] for pem in bundle.roots])
    for depth, one in enumerate(chain if anchor in chain else [*chain, anchor]):
        place = CERTIFICATE if depth == 0 else ROOTS if one == anchor else CHAIN
        for why in _faults(one, now, below=max(depth - 1, 0)):
            raise UnusableMaterial(place, f"{_title(one)} {why}")
    if bundle.crl:
        _check_crl(bundle.crl, chain if anchor in chain else [*chain, anchor], now)
        bundle = replace(bundle, crl=lists_in(bundle.crl))  # without what is around them
    return SigningMaterial(
        signer=Credential(chain_pem="".join(map(certificate_pem, chain)), key=key),
        anchor=certificate_pem(anchor),
        bundle=bundle,
    )


def _named(files: Mapping[str, str]) -> dict[str, str]:
    """Return the files under Istio's names, whichever layout they are in."""
    if "tls.crt" in files:
        found = {name: files[other] for name, other in TLS_NAMES.items() if other in files}
        needed = {name: other for name, other in TLS_NAMES.items() if not files.get(other)}
        missing = sorted(needed.values())
        if CRL in files:
            found[CRL] = files[CRL]
    else:
        found = dict(files)
        missing = [name for name in REQUIRED if not files.get(name, "").strip()]
    if missing:
        raise UnusableMaterial(
            ", ".join(missing),
            "missing or empty: the set of CA files is not complete",
            hint=f"create it with {', '.join(REQUIRED)}",
        )
    return found


def _certificates(files: Mapping[str, str], name: str) -> list[x509.Certificate]:
    try:
        return parse_certificates(files[name])
    except Malformed as error:
        raise UnusableMaterial(name, str(error)) from error


def _path(
    signer: x509.Certificate, others: list[x509.Certificate], roots: list[x509.Certificate]
) -> tuple[list[x509.Certificate], x509.Certificate]:
    """Return the certificates from the signer's upwards, without the anchor, and the anchor."""
    if signer in roots:
        return [signer], signer
    chain = [signer]
    while len(chain) <= MAX_DEPTH:
        for root in roots:
            if _signed_by(chain[-1], root):
                return chain, root
        above = next(
            (one for one in others if one not in chain and _signed_by(chain[-1], one)), None
        )
        if above is None:
            break
        chain.append(above)
    place = CERTIFICATE if len(chain) == 1 else CHAIN
    raise UnusableMaterial(
        place,
        f"{_title(chain[-1])} was issued by {chain[-1].issuer.rfc4514_string() or 'nobody'!r}, "
        f"which is neither in {CHAIN} nor in {ROOTS}",
    )


def _signed_by(one: x509.Certificate, other: x509.Certificate) -> bool:
    try:
        one.verify_directly_issued_by(other)
    except (InvalidSignature, ValueError, TypeError, UnsupportedAlgorithm):
        return False
    return True


def _faults(one: x509.Certificate, now: datetime, *, below: int) -> Iterator[str]:
    """Yield what makes a certificate unfit to be an authority above `below` intermediates."""
    try:
        constraints = one.extensions.get_extension_for_class(x509.BasicConstraints).value
        if not constraints.ca:
            yield "is not a certificate authority (basicConstraints CA:FALSE)"
        elif constraints.path_length is not None and constraints.path_length < below:
            yield f"allows {constraints.path_length} authorities below it, and there are {below}"
        usage = one.extensions.get_extension_for_class(x509.KeyUsage).value
        if not usage.key_cert_sign:
            yield "must not sign certificates (keyUsage without keyCertSign)"
    except x509.ExtensionNotFound as error:
        if error.oid == x509.OID_BASIC_CONSTRAINTS:
            yield "is not a certificate authority (no basicConstraints)"
    except ValueError as error:
        yield f"cannot be read: {error}"
    if now < one.not_valid_before_utc:
        yield f"is not valid before {one.not_valid_before_utc:%F %T} UTC"
    if now >= one.not_valid_after_utc:
        yield f"expired at {one.not_valid_after_utc:%F %T} UTC"
    try:
        require_supported(one.public_key())
    except (Malformed, UnsupportedAlgorithm, ValueError) as error:
        yield f"has a key that cannot be used: {error}"


def _check_crl(crl: str, path: list[x509.Certificate], now: datetime) -> None:
    """Require current lists of every authority of the path, and of nobody else.

    Peers refuse every certificate whose issuer has a list that is not current, so a list that has
    ended would end all traffic.  Source: 4.4; RFC 5280 section 6.3.
    """
    lists = revocation_lists(crl)
    listed = []
    for one in lists:
        issuer = next((above for above in path if _listed_by(one, above)), None)
        title = f"the list of {one.issuer.rfc4514_string()!r}"
        if issuer is None:
            raise UnusableMaterial(CRL, f"{title} is not signed by a CA of that name in the set")
        for why in (*_list_faults(one, now), *_revoked_of(one, path)):
            raise UnusableMaterial(CRL, f"{title} {why}")
        if not _may_sign_lists(issuer):
            why = "must not sign revocation lists (keyUsage without cRLSign)"
            raise UnusableMaterial(CRL, f"{_title(issuer)} {why}")
        listed.append(issuer)
    for above in path:
        if above not in listed:
            raise UnusableMaterial(CRL, f"has no list of {_title(above)}")


def _listed_by(one: x509.CertificateRevocationList, above: x509.Certificate) -> bool:
    """Tell whether a list is an authority's: by its name, and signed with its key."""
    if one.issuer != above.subject:
        return False
    try:
        return one.is_signature_valid(require_supported(above.public_key()))
    except (Malformed, TypeError, UnsupportedAlgorithm, ValueError):
        return False


def _list_faults(one: x509.CertificateRevocationList, now: datetime) -> Iterator[str]:
    if now < one.last_update_utc:
        yield f"is not valid before {one.last_update_utc:%F %T} UTC"
    if one.next_update_utc is not None and now >= one.next_update_utc:
        yield f"ended at {one.next_update_utc:%F %T} UTC"


def _revoked_of(one: x509.CertificateRevocationList, path: list[x509.Certificate]) -> Iterator[str]:
    for certificate in path:
        serial = certificate.serial_number
        if certificate.issuer == one.issuer and one.get_revoked_certificate_by_serial_number(
            serial
        ):
            yield f"revokes {_title(certificate)}, which belongs to the set"


def _may_sign_lists(authority: x509.Certificate) -> bool:
    try:
        return authority.extensions.get_extension_for_class(x509.KeyUsage).value.crl_sign
    except x509.ExtensionNotFound:
        return True


def revocation_lists(crl: str) -> list[x509.CertificateRevocationList]:
    """Read PEM revocation lists; for modules of mutua.identity only.

    Raises:
        UnusableMaterial: One of them is damaged, or there is none.
    """
    begin = "-----BEGIN X509 CRL-----"
    parts = [begin + part for part in crl.split(begin)[1:]]
    try:
        lists = [x509.load_pem_x509_crl(part.encode()) for part in parts]
    except ValueError as error:
        raise UnusableMaterial(CRL, f"not a PEM revocation list: {error}") from error
    if not lists:
        raise UnusableMaterial(CRL, "holds no revocation list")
    return lists


def _title(one: x509.Certificate) -> str:
    return repr(one.subject.rfc4514_string() or f"serial {one.serial_number:x}")
