"""What the agent knows of a pod's certificate, as an object of the API and as events.

    kubectl get workloadcertificates -A        one object per meshed pod, of the pod's name

The object goes with its pod (owner reference).  It holds what anybody may know; keys are not even
passed to this module.  Pure.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from mutua.agent.agent import CertificateStatus
from mutua.api.age import human_duration
from mutua.api.object import Object
from mutua.cluster.controllers.ownership import owner_reference
from mutua.foundation.clock import parse_rfc3339, rfc3339
from mutua.identity.facts import certificate_facts

LATE: Final = timedelta(seconds=30)
"""How late a renewal is worth an event.  Looking every second and waiting for a slow authority
account for ten; beyond that a machine slept, a daemon stood still, or a clock was set."""

NOT_RENEWED, RENEWED = "CertificateNotRenewed", "CertificateRenewed"


@dataclass(frozen=True, slots=True)
class Notice:
    """Something about a pod's certificate that its owner should hear of."""

    severity: Literal["Normal", "Warning"]
    reason: str
    message: str


def certificate_object(
    pod: Object, known: CertificateStatus, before: Mapping[str, Any] | None = None
) -> Object:
    """Return the WorkloadCertificate of a pod.

    Args:
        pod: The pod.
        known: What the agent knows.
        before: The status as it was written last: while a proxy has not confirmed new roots, it
            holds the ones from there.
    """
    metadata = pod["metadata"]
    return {
        "apiVersion": "mutua.io/v1alpha1",
        "kind": "WorkloadCertificate",
        "metadata": {
            "namespace": metadata["namespace"],
            "name": metadata["name"],
            "ownerReferences": [owner_reference(pod)],
        },
        "status": _status(known, before or {}),
    }


def notice(before: Mapping[str, Any], after: Mapping[str, Any], now: datetime) -> Notice | None:
    """Return what is worth telling about a change, None for a renewal that went as it should.

    A cause that persists is told again after 2, 4, 8 … failures.

    Args:
        before: The status as it was written last, empty for none.
        after: What it is now.
        now: Decides whether a certificate has ended.
    """
    failed, failures = before.get("failures", 0), after.get("failures", 0)
    if failures:
        is_news = before.get("lastError") != after["lastError"]
        if is_news or failures.bit_length() > failed.bit_length():
            return Notice("Warning", NOT_RENEWED, _trouble(after, now))
        return None
    if "renewAt" not in before or "lastIssuedAt" not in after:
        return Notice("Normal", RENEWED, _issued(after, failed)) if failed else None
    late = parse_rfc3339(after["lastIssuedAt"]) - parse_rfc3339(before["renewAt"])
    is_renewed = before.get("serialNumber") != after.get("serialNumber")
    is_early = parse_rfc3339(after["lastIssuedAt"]) < parse_rfc3339(before["notBefore"])
    if failed or (is_renewed and (late > LATE or is_early)):
        why = ""
        if is_renewed:
            why = _set_back(before) if is_early else _lateness(before, after, late)
        return Notice("Normal", RENEWED, _issued(after, failed) + why)
    return None


def _status(known: CertificateStatus, before: Mapping[str, Any]) -> Object:
    chain = certificate_facts(known.chain) if known.chain else []
    status: dict[str, Any] = {"spiffeID": str(known.workload.identity)}
    if chain:
        leaf, signer = chain[0], chain[1]  # a chain ends with the root (istio-semantics 4.7)
        status |= {
            "serialNumber": leaf.serial_number,
            "issuer": leaf.issuer,
            "signer": {
                "fingerprint": signer.fingerprint,
                "notAfter": rfc3339(signer.not_after),
            },
            "notBefore": rfc3339(leaf.not_before),
            "notAfter": rfc3339(leaf.not_after),
            "keyAlgorithm": leaf.key,
        }
    if known.renew_at is not None:
        status["renewAt"] = rfc3339(known.renew_at)
    if known.bundle is not None:
        sent = [*known.bundle.fingerprints]
        held = before.get("roots") if before.get("rootsConfirmed") else None
        status["roots"] = sent if known.is_bundle_confirmed else held or sent
        status["rootsConfirmed"] = known.is_bundle_confirmed or held is not None
    if known.issued_at is not None:
        status["lastIssuedAt"] = rfc3339(known.issued_at)
    if known.failures:
        status |= {"failures": known.failures, "lastError": known.error}
    return status


def _trouble(status: Mapping[str, Any], now: datetime) -> str:
    identity, error = status["spiffeID"], status["lastError"]
    ends = status.get("notAfter")
    if ends is None:
        return f"{identity} has no certificate yet, so nobody talks to it with mutual TLS: {error}"
    if parse_rfc3339(ends) <= now:
        return f"the certificate of {identity} ended at {ends}, and no peer accepts it: {error}"
    if now < parse_rfc3339(status["notBefore"]):
        begins = status["notBefore"]
        return f"the certificate of {identity} begins at {begins}, and no peer accepts it: {error}"
    return f"the certificate of {identity} was not renewed; the present one ends at {ends}: {error}"


def _issued(status: Mapping[str, Any], failed: int) -> str:
    after = f" after {failed} failed attempt{'s' * (failed > 1)}" if failed else ""
    ends = f", ends at {status['notAfter']}" if "notAfter" in status else ""
    return f"{status['spiffeID']} has a good certificate{after}{ends}"


def _set_back(before: Mapping[str, Any]) -> str:
    return f"; the clock was set back to before {before['notBefore']}, where the one before begins"


def _lateness(before: Mapping[str, Any], after: Mapping[str, Any], late: timedelta) -> str:
    if late <= LATE:
        return ""
    told = f"; the renewal was {human_duration(late)} late"
    without = parse_rfc3339(after["lastIssuedAt"]) - parse_rfc3339(before["notAfter"])
    if without > timedelta():
        told += f", {human_duration(without)} after the end of the one before"
    return told
