"""The CA as an object of the API: `kubectl get certificateauthority -n istio-system`.

`spec.rotation` asks for a move to another root or intermediate; `status` says what signs, what is
trusted and how far a move is.  Nothing in it is secret, and nothing depends on it after a restart:
the truth is in the key store.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from mutua.api.object import Object
from mutua.foundation.clock import rfc3339
from mutua.identity.authority import Authority
from mutua.identity.facts import CertificateFacts, certificate_facts
from mutua.identity.rotation import CaState, Stage

NAMESPACE: Final = "istio-system"
NAME: Final = "mesh"

AIMS: Final = {
    Stage.DISTRIBUTE: "until every proxy trusts the new CA",
    Stage.ISSUE: "until every workload presents a certificate of the new CA",
    Stage.WITHDRAW: "until no proxy trusts the old CA any longer",
}

SHOWN: Final = 20
"""Names of proxies that a status lists; the message says how many there are."""


def blank_object() -> Object:
    """Return the object of a mesh that has just been made."""
    return {
        "apiVersion": "mutua.io/v1alpha1",
        "kind": "CertificateAuthority",
        "metadata": {"namespace": NAMESPACE, "name": NAME},
        "spec": {},
    }


def status_of(
    authority: Authority,
    state: CaState,
    sources: Mapping[int, str],
    waiting_for: Sequence[str],
    objection: str = "",
) -> dict[str, Any]:
    """Return what is true of the CA.

    Args:
        authority: What signs, and what is trusted.
        state: Of the key store.
        sources: Where each generation comes from.
        waiting_for: Whom the present stage waits for.
        objection: What speaks against the next step although nobody is waited for.
    """
    (issuing, *_) = certificate_facts(authority.material.signer.chain_pem)
    status: dict[str, Any] = {
        "issuing": {**_certificate(issuing), "source": sources[state.issuing]},
        "roots": [_certificate(one) for one in certificate_facts(authority.roots_pem)],
        "lastRequest": state.last_request,
    }
    moving = state.rotation
    if moving is not None:
        names = sorted(waiting_for)
        others = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        why = f": {', '.join(names[:SHOWN])}{others}" if names else ""
        if objection:
            why = f"; the next step would harm: {objection}"
        status["rotation"] = {
            "id": moving.id,
            "replaces": f"{sources[moving.origin]} by {sources[moving.target]}",
            "stage": moving.stage.value,
            "since": rfc3339(moving.since),
            "aborted": moving.aborted,
            "waitingFor": names[:SHOWN],
            "message": f"waiting {AIMS[moving.stage]}{why}",
        }
    return status


def _certificate(facts: CertificateFacts) -> dict[str, Any]:
    return {
        "subject": facts.subject,
        "serialNumber": facts.serial_number,
        "fingerprint": facts.fingerprint,
        "keyAlgorithm": facts.key,
        "notBefore": rfc3339(facts.not_before),
        "notAfter": rfc3339(facts.not_after),
    }
