"""What the metrics of certificates are made from: the agent, the authority, the last verdict."""

from collections.abc import Iterable, Sequence

from mutua.agent.agent import CertificateStatus
from mutua.api.object import Object
from mutua.controlplane.coherence.coherence import Verdict
from mutua.identity.authority import Authority
from mutua.identity.facts import certificate_facts
from mutua.identity.rotation import Rotation
from mutua.store.mirror import address, uid
from mutua.telemetry.certificates import CertificateFigures, WorkloadExpiry


def certificate_figures(
    authority: Authority,
    rotation: Rotation | None,
    verdict: Verdict,
    statuses: Sequence[CertificateStatus],
    pods: Iterable[Object],
) -> CertificateFigures:
    """Return the figures of this instant.

    Args:
        authority: What signs, and what is trusted.
        rotation: The move that is under way, or None.
        verdict: Of the latest coherence check.
        statuses: What the agent knows.
        pods: All pods; a workload whose pod is gone is left out.
    """
    places = {uid(pod): address(pod) for pod in pods}
    return CertificateFigures(
        roots=[one.not_after for one in certificate_facts(authority.roots_pem)],
        signer=authority.material.signer.not_after,
        workloads=[
            WorkloadExpiry(namespace=place[0], pod=place[1], not_after=one.not_after)
            for one in statuses
            if one.not_after is not None and (place := places.get(one.workload.uid))
        ],
        is_coherent=verdict.is_coherent,
        stage=rotation.stage.value.lower() if rotation else "none",
    )
