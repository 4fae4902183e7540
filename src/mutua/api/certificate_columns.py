"""The columns of `kubectl get workloadcertificates`: who is who, and for how long still?"""

from datetime import datetime, timedelta
from typing import Final

from mutua.api.age import UNKNOWN, human_duration
from mutua.api.columns import AGE, NAME, Cell, Column, at, field
from mutua.api.object import Object
from mutua.foundation.clock import parse_rfc3339

PAST: Final = "<expired>"
DUE: Final = "<due>"


def _until(past: str, *path: str) -> Cell:
    """Return the cell that shows how long it is until an instant, or that it is over."""

    def cell(obj: Object, now: datetime) -> str:
        try:
            left = parse_rfc3339(at(obj, *path)) - now
        except (TypeError, ValueError):
            return UNKNOWN
        return human_duration(left) if left > timedelta() else past

    return cell


def is_valid(obj: Object, now: datetime) -> bool:
    """Tell whether a WorkloadCertificate says that there is a certificate, valid now."""
    try:
        starts, ends = (
            parse_rfc3339(at(obj, "status", name)) for name in ("notBefore", "notAfter")
        )
    except (TypeError, ValueError):
        return False
    return starts <= now <= ends


def _roots(obj: Object, _: datetime) -> str:
    return ",".join(str(root)[:8] for root in at(obj, "status", "roots") or ())


WORKLOAD_CERTIFICATE: Final = (
    NAME,
    Column("Ready", lambda obj, now: str(is_valid(obj, now))),
    Column("Identity", field("status", "spiffeID")),
    Column("Serial", field("status", "serialNumber")),
    Column("Expires In", _until(PAST, "status", "notAfter")),
    Column("Renews In", _until(DUE, "status", "renewAt")),
    Column("Issuer", field("status", "issuer"), wide=True),
    Column("Roots", _roots, wide=True),
    Column("Key", field("status", "keyAlgorithm"), wide=True),
    Column("Error", field("status", "lastError"), wide=True),
    AGE,
)
