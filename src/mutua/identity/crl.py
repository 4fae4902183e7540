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
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from mutua.identity.keys import Malformed, signature_hash
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
    others = _parsed(plugged)
    signed = []
    for signer in {one.certificate: one for one in signers}.values():
        theirs = [one for one in others if one.issuer == signer.certificate.subject]
        others = [one for one in others if one not in theirs]
        entries = {entry.serial_number: entry for one in theirs for entry in one}
        entries.update((serial, _entry(serial, now)) for serial in serials)
        signed.append(_signed(signer, entries.values(), number, now))
    return "".join(map(_pem, (*signed, *others)))


def covers_chain(crl: str, authorities: Iterable[str]) -> bool:
    """Tell whether there is a list of every authority: then whole chains can be checked.

    Args:
        crl: Lists, PEM.
        authorities: Certificates of CAs, PEM, from the signing one to the anchor.

    Raises:
        Malformed: One of them cannot be read.
    """
    issuers = {one.issuer for one in _parsed(crl)}
    names = [x509.load_pem_x509_certificate(pem.encode()).subject for pem in authorities]
    return all(name in issuers for name in names)


def lists_in(text: str) -> str:
    """Return the revocation lists that a PEM text holds among other things, "" for none.

    Raises:
        Malformed: One of them cannot be read.
    """
    found = _parsed(text)
    if len(found) != text.count("-----BEGIN X509 CRL-----"):
        raise Malformed("not a PEM revocation list")
    return "".join(map(_pem, found))


def leaf_facts(chain_pem: str) -> tuple[int, datetime]:
    """Return serial number and last instant of the first certificate of a chain.

    Raises:
        Malformed: There is none.
    """
    try:
        leaf = x509.load_pem_x509_certificate(chain_pem.encode())
    except ValueError as error:
        raise Malformed("not a PEM certificate") from error
    return leaf.serial_number, leaf.not_valid_after_utc


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
