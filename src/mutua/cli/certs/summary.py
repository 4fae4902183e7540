"""A chain of certificates in a few lines each.  Pure; private keys are counted, never read.

The text may come from anywhere, so whatever it says is cleaned of what a terminal would obey.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final

from mutua.api.age import human_duration
from mutua.foundation.clock import rfc3339
from mutua.identity.facts import (
    CertificateFacts,
    certificate_facts,
    count_private_keys,
    is_self_signed,
    signed_by_next,
)

LABEL: Final = 13
"""Width of the labels, in characters."""


def lines(pem: str, now: datetime) -> Iterator[str]:
    """Yield a summary of a PEM text.

    Raises:
        Malformed: It holds no certificate.
    """
    facts = certificate_facts(pem)
    for number, (one, signer) in enumerate(zip(facts, _signers(pem), strict=True), 1):
        if number > 1:
            yield ""
        kind = "authority" if one.is_authority else "leaf"
        yield f"certificate {number} of {len(facts)} ({kind})"
        for label, value in _about(one, signer, now):
            yield f"  {label:<{LABEL}}{_clean(value)}"
    if keys := count_private_keys(pem):
        yield ""
        yield f"{keys} private key{'s' * (keys > 1)}, not shown"


def document(pem: str) -> list[dict[str, Any]]:
    """Return a summary for programs.

    Raises:
        Malformed: The text holds no certificate.
    """
    return [
        {
            "subject": one.subject,
            "uris": list(one.uris),
            "names": list(one.names),
            "issuer": one.issuer,
            "serialNumber": one.serial_number,
            "notBefore": rfc3339(one.not_before),
            "notAfter": rfc3339(one.not_after),
            "keyAlgorithm": one.key,
            "signatureAlgorithm": one.signature,
            "isCA": one.is_authority,
            "subjectKeyID": one.key_id,
            "authorityKeyID": one.signer_key_id,
            "fingerprint": one.fingerprint,
            "signedBy": signer,
        }
        for one, signer in zip(certificate_facts(pem), _signers(pem), strict=True)
    ]


def _about(one: CertificateFacts, signer: str, now: datetime) -> Iterator[tuple[str, str]]:
    for uri in one.uris:
        yield "identity", uri
    yield "subject", one.subject or "(empty)"
    if one.names:
        yield "names", ", ".join(one.names)
    yield "issuer", one.issuer or "(empty)"
    yield "serial", one.serial_number
    yield "valid", f"{rfc3339(one.not_before)} to {rfc3339(one.not_after)}: {_state(one, now)}"
    yield "key", one.key
    yield "signature", f"{one.signature}, by {signer}"
    yield "key ids", f"own {one.key_id[:40] or '-'}, signer's {one.signer_key_id[:40] or '-'}"
    yield "fingerprint", one.fingerprint


def _state(one: CertificateFacts, now: datetime) -> str:
    if now < one.not_before:
        return f"NOT VALID YET, begins in {human_duration(one.not_before - now)}"
    if now > one.not_after:
        return f"EXPIRED {human_duration(now - one.not_after)} ago"
    return f"ends in {human_duration(one.not_after - now)}"


def _signers(pem: str) -> Sequence[str]:
    """Say of each certificate of a chain who signed it."""
    linked = signed_by_next(pem)
    last = "itself: a root" if is_self_signed(pem) else "a CA that is not here"
    return [
        *("the next certificate" if one else "somebody else than the next" for one in linked),
        last,
    ]


def _clean(text: str) -> str:
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text)
