"""Expiry under Istio's names."""

from dataclasses import replace
from datetime import timedelta

from mutua.telemetry.certificates import HELP, CertificateFigures, WorkloadExpiry, samples
from mutua.testing.clock import START

DAY = timedelta(days=1)
FIGURES = CertificateFigures(
    roots=(START + 20 * DAY, START + 10 * DAY),
    signer=START + 5 * DAY,
    workloads=(WorkloadExpiry(namespace="shop", pod="web-1", not_after=START - DAY),),
    is_coherent=True,
    stage="issue",
)


def shown(figures: CertificateFigures) -> dict[str, float]:
    return {
        one.name + "".join(f" {key}={value}" for key, value in one.labels.items()): one.value
        for one in samples(figures, START)
    }


def test_the_first_root_to_end_counts_and_the_signer_has_its_own() -> None:
    found = shown(FIGURES)

    assert found["citadel_server_root_cert_expiry_seconds"] == 10 * 86400
    assert found["citadel_server_cert_chain_expiry_seconds"] == 5 * 86400
    assert found["citadel_server_root_cert_expiry_timestamp"] == (START + 10 * DAY).timestamp()


def test_every_proxy_has_its_own_number_negative_once_it_is_over() -> None:
    key = "istio_agent_cert_expiry_seconds resource_name=default namespace=shop pod=web-1"
    assert shown(FIGURES)[key] == -86400


def test_coherence_and_the_stage_of_a_rotation_are_ones_and_zeros() -> None:
    found = shown(FIGURES)

    assert found["mutua_ca_coherent"] == 1
    assert shown(replace(FIGURES, is_coherent=False))["mutua_ca_coherent"] == 0
    stages = {key: value for key, value in found.items() if "stage" in key}
    assert [key for key, value in stages.items() if value] == [
        "mutua_ca_rotation_stage stage=issue"
    ]


def test_every_metric_is_explained() -> None:
    assert {one.name for one in samples(FIGURES, START)} == HELP.keys()
