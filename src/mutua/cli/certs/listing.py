"""Every certificate of the mesh in rows: workloads' from their objects, CAs' from what is trusted.

Pure.  A workload without a certificate ends "now": whoever asks what ends soon wants to see it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from mutua.api.age import human_duration
from mutua.api.object import Object
from mutua.foundation.clock import parse_rfc3339, rfc3339
from mutua.identity.facts import certificate_facts

HEADER: Final = (
    "NAMESPACE", "POD", "IDENTITY", "SERIAL", "ISSUER", "EXPIRES IN", "RENEWS IN", "ROOT", "ERROR",
)  # fmt: skip
WIDE_HEADER: Final = (*HEADER[:-1], "NOT BEFORE", "NOT AFTER", "KEY", "SIGNER", "ERROR")
AUTHORITY_HEADER: Final = ("CA", "SUBJECT", "FINGERPRINT", "EXPIRES IN", "NOT AFTER")

NOTHING: Final = "-"
SHORT: Final = 16
"""Digits of a fingerprint that a table shows."""


@dataclass(frozen=True, slots=True)
class AuthorityCertificate:
    """A certificate that signs workloads' or is trusted.

    Attributes:
        role: `root` or `signer`.
        subject: Whom it names.
        fingerprint: SHA-256, hexadecimal.
        not_after: Its end.
    """

    role: str
    subject: str
    fingerprint: str
    not_after: datetime


def authorities(certificates: Iterable[Object], roots_pem: str) -> list[AuthorityCertificate]:
    """Return the CA certificates in use: those that signed, other than roots, then the roots.

    Args:
        certificates: WorkloadCertificates.
        roots_pem: The mesh's trust bundle.

    Raises:
        Malformed: The bundle holds no certificate.
    """
    roots = [
        AuthorityCertificate("root", one.subject, one.fingerprint, one.not_after)
        for one in certificate_facts(roots_pem)
    ]
    known = {one.fingerprint for one in roots}
    signers: dict[str, AuthorityCertificate] = {}
    for obj in certificates:
        status = obj.get("status") or {}
        signer = status.get("signer")
        if signer and signer["fingerprint"] not in known:
            name, ends = signer["fingerprint"], parse_rfc3339(signer["notAfter"])
            signers[name] = AuthorityCertificate("signer", status.get("issuer", ""), name, ends)
    return [*signers.values(), *roots]


def ending(certificates: Iterable[Object], by: datetime) -> list[Object]:
    """Return the WorkloadCertificates that end by an instant, or are not there at all."""
    return [one for one in certificates if (_instant(one, "notAfter") or by) <= by]


def rows(certificates: Iterable[Object], now: datetime, *, wide: bool) -> list[tuple[str, ...]]:
    """Return one row per WorkloadCertificate, in the order of namespaces and pods."""
    ordered = sorted(
        certificates, key=lambda one: (one["metadata"]["namespace"], one["metadata"]["name"])
    )
    return [_row(one, now, wide=wide) for one in ordered]


def authority_rows(found: Sequence[AuthorityCertificate], now: datetime) -> list[tuple[str, ...]]:
    """Return one row per CA certificate."""
    return [
        (
            one.role,
            one.subject or NOTHING,
            one.fingerprint[:SHORT],
            _left(one.not_after, now, "expired"),
            rfc3339(one.not_after),
        )
        for one in found
    ]


def document(
    certificates: Iterable[Object], found: Iterable[AuthorityCertificate]
) -> dict[str, Any]:
    """Return everything for programs."""
    return {
        "certificates": [
            {
                "namespace": one["metadata"]["namespace"],
                "pod": one["metadata"]["name"],
                **(one.get("status") or {}),
            }
            for one in certificates
        ],
        "authorities": [
            {
                "role": one.role,
                "subject": one.subject,
                "fingerprint": one.fingerprint,
                "notAfter": rfc3339(one.not_after),
            }
            for one in found
        ],
    }


def _row(obj: Object, now: datetime, *, wide: bool) -> tuple[str, ...]:
    metadata, status = obj["metadata"], obj.get("status") or {}
    ends, due = _instant(obj, "notAfter"), _instant(obj, "renewAt")
    signer: Mapping[str, Any] = status.get("signer") or {}
    row = (
        metadata["namespace"],
        metadata["name"],
        status.get("spiffeID") or NOTHING,
        status.get("serialNumber") or NOTHING,
        status.get("issuer") or NOTHING,
        _left(ends, now, "expired"),
        _left(due, now, "due"),
        _roots(status),
    )
    more = (
        status.get("notBefore") or NOTHING,
        status.get("notAfter") or NOTHING,
        status.get("keyAlgorithm") or NOTHING,
        signer.get("fingerprint", NOTHING)[:SHORT],
    )
    return (*row, *(more if wide else ()), status.get("lastError") or NOTHING)


def _roots(status: Mapping[str, Any]) -> str:
    """Return the roots a proxy holds; "?" marks those that it has not confirmed."""
    mark = "" if status.get("rootsConfirmed") else "?"
    return ",".join(one[:SHORT] + mark for one in status.get("roots") or ()) or NOTHING


def _left(instant: datetime | None, now: datetime, over: str) -> str:
    if instant is None:
        return NOTHING
    return human_duration(instant - now) if instant - now > timedelta() else over


def _instant(obj: Object, name: str) -> datetime | None:
    text = (obj.get("status") or {}).get(name)
    return parse_rfc3339(text) if text else None
