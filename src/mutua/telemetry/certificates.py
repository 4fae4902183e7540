"""How long certificates last, for Prometheus, under Istio's names.

Pure: figures in, samples out; whoever serves metrics turns samples into its library's objects.

    citadel_server_root_cert_expiry_timestamp         Unix time at which the first root ends
    citadel_server_root_cert_expiry_seconds           the same, from now
    citadel_server_cert_chain_expiry_timestamp        of the signing CA's certificate
    citadel_server_cert_chain_expiry_seconds
    istio_agent_cert_expiry_seconds{resource_name}    of each proxy's certificate
    mutua_ca_coherent                                 1: what is issued fits what is trusted
    mutua_ca_rotation_stage{stage}                    1 for the stage that a rotation is in

Istio's agents serve istio_agent_cert_expiry_seconds one by one, with resource_name "default"; here
one agent serves all, so pod and namespace tell them apart.  Source: istio-semantics 9.2.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

STAGES: Final = ("none", "distribute", "issue", "withdraw")
"""Stages of a rotation, lower case; "none" while there is none."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One number.

    Attributes:
        name: Of the metric.
        value: The number.
        labels: What it is about.
    """

    name: str
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)


HELP: Final[Mapping[str, str]] = {
    "citadel_server_root_cert_expiry_timestamp": "When the first of the roots ends, Unix time.",
    "citadel_server_root_cert_expiry_seconds": "Time until the first of the roots ends.",
    "citadel_server_cert_chain_expiry_timestamp": "When the signing CA ends, Unix time.",
    "citadel_server_cert_chain_expiry_seconds": "Time until the signing CA ends.",
    "istio_agent_cert_expiry_seconds": "Time until a proxy's certificate ends.",
    "mutua_ca_coherent": "Whether what is issued fits what is trusted.",
    "mutua_ca_rotation_stage": "The stage that a rotation of the CA is in.",
}
"""Every metric, and what it tells.  All are gauges."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadExpiry:
    """One proxy's certificate.

    Attributes:
        namespace: Of the pod.
        pod: Its name.
        not_after: The end of its certificate.
    """

    namespace: str
    pod: str
    not_after: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateFigures:
    """What there is to tell.

    Attributes:
        roots: Ends of the trusted roots.
        signer: End of the signing CA's certificate.
        workloads: Certificates of proxies.
        is_coherent: The latest verdict.
        stage: One of `STAGES`.
    """

    roots: Sequence[datetime]
    signer: datetime
    workloads: Sequence[WorkloadExpiry]
    is_coherent: bool
    stage: str = "none"


def samples(figures: CertificateFigures, now: datetime) -> Iterator[Sample]:
    """Yield every number; those of one metric follow one another."""
    ends = {"cert_chain": figures.signer}
    if figures.roots:
        ends["root_cert"] = min(figures.roots)
    for what, instant in ends.items():
        yield Sample(f"citadel_server_{what}_expiry_timestamp", instant.timestamp())
        yield Sample(f"citadel_server_{what}_expiry_seconds", (instant - now).total_seconds())
    for one in figures.workloads:
        labels = {"resource_name": "default", "namespace": one.namespace, "pod": one.pod}
        left = (one.not_after - now).total_seconds()
        yield Sample("istio_agent_cert_expiry_seconds", left, labels)
    yield Sample("mutua_ca_coherent", float(figures.is_coherent))
    for stage in STAGES:
        yield Sample("mutua_ca_rotation_stage", float(stage == figures.stage), {"stage": stage})
