"""Certificate revocation lists: what a signing CA no longer vouches for.

Envoy demands, once a list is configured, a current one of every leaf's issuer, and reads one list
per issuer.  So every CA that signs gets one, possibly empty; what an operator's own list
(`ca-crl.pem`) holds for a CA whose key is at hand is taken over into it, and lists of other CAs go
along as they are.

Entries are on hold (RFC 5280, section 5.3.1): the one reason from which a certificate may come
back.  Source: RFC 5280 section 5; istio-semantics 4.4 and 4.6.
"""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from mutua.identity.keys import Malformed, require_supported, signature_hash
from mutua.identity.renewal import Validity
from mutua.identity.x509 import Credential, authority_key_identifier

LIFETIME: Final = timedelta(days=100)
"""Of a list: longer than any workload certificate, so that a daemon that is away too long ends a
mesh by its certificates and not by this."""

BACKDATE: Final = timedelta(days=1)
"""A list must not lie in the future of a proxy whose clock was set back."""

FRESH: Final = LIFETIME / 2
"""Age at which a list is to be signed anew."""

MOST: Final = 100_000
"""Entries of one list; each takes some 40 bytes, and every proxy holds the list."""

_LIST: Final = re.compile(r"-----BEGIN X509 CRL-----.+?-----END X509 CRL-----\n?", re.DOTALL)


def sign_lists(
    signers: Iterable[Credential],
    serials: Collection[int],
    *,
    number: int,
    now: datetime,
    plugged: str = "",
) -> str:
    """Return a list of every signer, and the operator's lists of others, as one PEM text.

    Args:
        signers: The CAs that sign, or whose leaves are still around.
        serials: Revoked certificates; whose they are need not be known, because serial numbers
            are 128 random bits.
        number: Larger than that of any list signed before.
        now: Instant of signing, UTC.
        plugged: The operator's own lists, PEM; "" for none.

    Raises:
        Malformed: `plugged` is no list.
        ValueError: There are more than `MOST` serial numbers.
    """
    if len(serials) > MOST:
        raise ValueError(f"more than {MOST} revoked certificates")
    lists = _parsed(plugged)
    known = {one.certificate: one for one in signers}
    signed = []
    for certificate, signer in known.items():
        # By name alone, as two authorities may share one: serial numbers are nobody else's.
        theirs = [one for one in lists if one.issuer == certificate.subject]
        entries = {entry.serial_number: entry for one in theirs for entry in one}
        entries.update((serial, _entry(serial, now)) for serial in serials)
        signed.append(_signed(signer, entries.values(), number, now))
    others = [one for one in lists if not any(_is_of(one, above) for above in known)]
    return "".join(map(_pem, (*signed, *others)))


@dataclass(frozen=True, slots=True)
class Span:
    """A time without gaps, UTC.

    Attributes:
        begins: Its first instant.
        ends: The first instant after it.
    """

    begins: datetime
    ends: datetime

    def holds(self, now: datetime) -> bool:
        """Tell whether an instant is inside."""
        return self.begins <= now < self.ends


def chain_coverage(crl: str, authorities: Iterable[str]) -> Span | None:
    """Return when whole chains can be checked: while there is a current list of every authority.

    Peers refuse every chain through an authority without one.

    Args:
        crl: Lists, PEM.
        authorities: Certificates of CAs, PEM, from the signing one to the anchor.

    Returns:
        None where an authority has no list, or is revoked by one: it may still be trusted while a
        mesh moves away from it.

    Raises:
        Malformed: One of them cannot be read.
    """
    found = [x509.load_pem_x509_certificate(pem.encode()) for pem in authorities]
    names = {one.subject for one in found}
    lists = [one for one in _parsed(crl) if one.issuer in names]
    if names != {one.issuer for one in lists}:
        return None
    for one in found:
        above = [known for known in lists if known.issuer == one.issuer]
        if any(
            known.get_revoked_certificate_by_serial_number(one.serial_number) for known in above
        ):
            return None
    begins = max((one.last_update_utc for one in lists), default=ALWAYS.begins)
    ends = min((one.next_update_utc or ALWAYS.ends for one in lists), default=ALWAYS.ends)
    return Span(begins, ends)


ALWAYS: Final = Span(datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))


@dataclass(frozen=True, slots=True)
class ListFacts:
    """What anybody may know of a revocation list.

    Attributes:
        issuer: Name of the authority whose list it is.
        begins: Its first instant, UTC.
        ends: The instant from which it counts as outdated, UTC.
    """

    issuer: str
    begins: datetime
    ends: datetime


def list_facts(crl: str) -> list[ListFacts]:
    """Read lists that have an end.

    Raises:
        Malformed: One of them cannot be read.
    """
    return [
        ListFacts(one.issuer.rfc4514_string(), one.last_update_utc, one.next_update_utc)
        for one in _parsed(crl)
        if one.next_update_utc is not None
    ]


def lists_in(text: str) -> str:
    """Return the revocation lists that a PEM text holds among other things, "" for none.

    Raises:
        Malformed: One of them cannot be read.
    """
    found = _parsed(text)
    if len(found) != text.count("-----BEGIN X509 CRL-----"):
        raise Malformed("not a PEM revocation list")
    return "".join(map(_pem, found))


def leaf_facts(chain_pem: str) -> tuple[int, Validity]:
    """Return serial number and validity of the first certificate of a chain.

    Raises:
        Malformed: There is none.
    """
    try:
        leaf = x509.load_pem_x509_certificate(chain_pem.encode())
    except ValueError as error:
        raise Malformed("not a PEM certificate") from error
    return leaf.serial_number, Validity(
        not_before=leaf.not_valid_before_utc, not_after=leaf.not_valid_after_utc
    )


def _is_of(one: x509.CertificateRevocationList, authority: x509.Certificate) -> bool:
    key = require_supported(authority.public_key())
    return one.issuer == authority.subject and one.is_signature_valid(key)


def _entry(serial: int, now: datetime) -> x509.RevokedCertificate:
    return (
        x509.RevokedCertificateBuilder()
        .serial_number(serial)
        .revocation_date(now - BACKDATE)
        .add_extension(x509.CRLReason(x509.ReasonFlags.certificate_hold), critical=False)
        .build()
    )


def _signed(
    signer: Credential, entries: Iterable[x509.RevokedCertificate], number: int, now: datetime
) -> x509.CertificateRevocationList:
    certificate = signer.certificate
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(certificate.subject)
        .last_update(now - BACKDATE)
        .next_update(now + LIFETIME)
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(authority_key_identifier(certificate), critical=False)
    )
    for entry in entries:
        builder = builder.add_revoked_certificate(entry)
    return builder.sign(signer.key.signer, signature_hash(signer.key))


def _parsed(pem: str) -> list[x509.CertificateRevocationList]:
    try:
        return [x509.load_pem_x509_crl(one.encode()) for one in _LIST.findall(pem)]
    except ValueError as error:
        raise Malformed("not a PEM revocation list") from error


def _pem(crl: x509.CertificateRevocationList) -> str:
    return crl.public_bytes(serialization.Encoding.PEM).decode()
