"""Revocation: who is not to be trusted any longer, although the authority certified it.

    spiffeID       an identity: every workload that has it, now and later, in whatever trust domain
    pod            one pod, by its uid: its successor is trusted again
    serialNumber   one certificate: its workload gets another one

Deleting the object takes it back.  All of them are in one namespace, because whoever may write one
can cut off anybody of the mesh.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

from mutua.api.object import Object
from mutua.api.shape import misshapen
from mutua.api.tables.own import REVOCATION
from mutua.api.verdict import FieldError, Invalid, Verdict, forbidden, invalid, required
from mutua.foundation.clock import parse_rfc3339
from mutua.foundation.errors import MutuaError
from mutua.foundation.spiffe import SpiffeId, parse_spiffe_id

NAMESPACE: Final = "istio-system"
"""Where revocations are."""

SUBJECTS: Final = ("spiffeID", "pod", "serialNumber")

_SERIAL: Final = re.compile(r"[0-9a-fA-F]{1,40}", re.ASCII)
"""A serial number has 20 octets at most (RFC 5280, section 4.1.2.2)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """One revocation; exactly one of identity, pod and serial is set.

    Attributes:
        uid: Of the object.
        name: Of the object.
        identity: Whose certificates are revoked, or None.
        pod: Uid of the pod whose certificates are revoked, or "".
        serial: The revoked certificate's number, or 0.
        certificates: Serial numbers that it has been found to concern, with their last instant.
    """

    uid: str
    name: str
    identity: SpiffeId | None = None
    pod: str = ""
    serial: int = 0
    certificates: Mapping[int, datetime]

    def forbids(self, identity: SpiffeId, pod: str) -> bool:
        """Tell whether a workload gets no certificate any longer.

        The trust domain does not count: this mesh certifies one at a time, and an account that is
        cut off has to stay so when the mesh moves to another one.
        """
        is_it = self.identity is not None and identity.account == self.identity.account
        return is_it or (bool(self.pod) and pod == self.pod)


def parse_serial(text: str) -> int:
    """Read a serial number as openssl prints it: hexadecimal, colons allowed.

    Raises:
        ValueError: It is none.
    """
    digits = text.replace(":", "")
    if _SERIAL.fullmatch(digits) is None or not int(digits, 16):
        raise ValueError(f"not a serial number: {text!r}")
    return int(digits, 16)


def serial_text(serial: int) -> str:
    """Write a serial number: hexadecimal, 32 digits at least."""
    return f"{serial:032x}"


def parse_revocation(obj: Object) -> Revocation:
    """Return the revocation in an object.

    Raises:
        Invalid: It is not one; carries every error found.
    """
    errors = list(misshapen(REVOCATION, obj)) or list(_errors(obj))
    if errors:
        raise Invalid(errors)
    meta, spec = obj["metadata"], obj["spec"]
    return Revocation(
        uid=meta.get("uid") or "",
        name=meta.get("name") or "",
        identity=parse_spiffe_id(spec["spiffeID"]) if spec.get("spiffeID") else None,
        pod=(spec.get("pod") or {}).get("uid", ""),
        serial=parse_serial(spec["serialNumber"]) if spec.get("serialNumber") else 0,
        certificates=MappingProxyType(dict(_certificates(obj.get("status") or {}))),
    )


def check_revocation(obj: Object) -> Verdict:
    """Return what admission has to say about a Revocation."""
    return Verdict(errors=list(_errors(obj)))


def _certificates(status: Mapping[str, Any]) -> Iterator[tuple[int, datetime]]:
    for one in status.get("certificates") or ():
        try:
            yield parse_serial(one["serialNumber"]), parse_rfc3339(one["notAfter"])
        except ValueError:
            continue  # somebody else wrote it


def _errors(obj: Object) -> Iterator[FieldError]:
    if (obj.get("metadata") or {}).get("namespace") != NAMESPACE:
        yield forbidden("metadata.namespace", f"revocations are in namespace {NAMESPACE}")
    spec: Mapping[str, Any] = obj.get("spec") or {}
    given = [name for name in SUBJECTS if spec.get(name)]
    if not given:
        yield required("spec", f"one of {', '.join(SUBJECTS)}")
    for name in given[1:]:
        yield forbidden(f"spec.{name}", f"a revocation is about one thing, and {given[0]} is set")
    if identity := spec.get("spiffeID"):
        try:
            parse_spiffe_id(identity)
        except MutuaError as error:
            yield invalid("spec.spiffeID", identity, str(error))
    if serial := spec.get("serialNumber"):
        try:
            parse_serial(serial)
        except ValueError:
            yield invalid("spec.serialNumber", serial, "must be up to 40 hexadecimal digits")
