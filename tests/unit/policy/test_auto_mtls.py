"""When a client's sidecar uses mTLS: istio-semantics 3.5, the rows without DestinationRule."""

# ruff: noqa: E501 - tables
import pytest

from mutua.api.security import MutualTlsMode, PeerAuthentication
from mutua.model.settings import MeshSettings
from mutua.model.workload import TLS_MODE_LABEL, Endpoint, Workload
from mutua.policy.auto_mtls import ClientDecision, ClientReason, client_decision

DISABLE, STRICT, UNSET = MutualTlsMode.DISABLE, MutualTlsMode.STRICT, MutualTlsMode.UNSET


def endpoint(tls_mode: str | None = "istio") -> Endpoint:
    labels = {"app": "web"} | ({TLS_MODE_LABEL: tls_mode} if tls_mode else {})
    pod = Workload(
        uid="u",
        namespace="x",
        name="web",
        address="10.0.0.1",
        labels=labels,
        service_account="web",
        container_ports={},
    )
    return Endpoint("10.0.0.1", 8080, True, pod)


def ns(mode: MutualTlsMode) -> PeerAuthentication:
    return PeerAuthentication(namespace="x", name="ns", mode=mode)


def work(mode: MutualTlsMode, **ports: MutualTlsMode) -> PeerAuthentication:
    return PeerAuthentication(
        namespace="x",
        name="w",
        selector={"app": "web"},
        mode=mode,
        port_modes={int(port[1:]): value for port, value in ports.items()},
    )


# fmt: off
ROWS = [
    pytest.param([],                            endpoint(),         ClientReason.SERVER_ACCEPTS,     id="1 no policy, sidecar: mTLS"),
    pytest.param([],                            endpoint(None),     ClientReason.NO_SIDECAR,         id="2 no policy, no sidecar: plaintext"),
    pytest.param([ns(STRICT)],                  endpoint(),         ClientReason.SERVER_ACCEPTS,     id="3 STRICT, sidecar: mTLS"),
    pytest.param([ns(STRICT)],                  endpoint(None),     ClientReason.NO_SIDECAR,         id="4 STRICT, no sidecar: plaintext"),
    pytest.param([ns(DISABLE)],                 endpoint(),         ClientReason.NAMESPACE_DISABLED, id="5 DISABLE: plaintext"),
    pytest.param([ns(DISABLE), work(STRICT)],   endpoint(),         ClientReason.NAMESPACE_DISABLED, id="6 DISABLE with a STRICT workload: plaintext"),
    pytest.param([ns(STRICT), work(UNSET, p8080=DISABLE)], endpoint(), ClientReason.SERVER_DISABLED, id="7 port DISABLE: plaintext to it"),
    pytest.param([],                            endpoint("custom"), ClientReason.NO_SIDECAR,         id="a custom tlsMode is not mTLS"),
    pytest.param([],  Endpoint("1.1.1.1", 80, True, None),          ClientReason.NO_SIDECAR,         id="an address without a pod: plaintext"),
]
# fmt: on


@pytest.mark.parametrize(("policies", "target", "expected"), ROWS)
def test_result_table(
    policies: list[PeerAuthentication], target: Endpoint, expected: ClientReason
) -> None:
    decision = client_decision(policies, target, service_namespace="x", settings=MeshSettings())

    assert decision == ClientDecision(expected is ClientReason.SERVER_ACCEPTS, expected)


def test_row_19_automatic_mtls_can_be_switched_off() -> None:
    settings = MeshSettings(enable_auto_mtls=False)

    decision = client_decision([], endpoint(), service_namespace="x", settings=settings)

    assert decision == ClientDecision(False, ClientReason.AUTO_MTLS_OFF)
