"""The figures behind the metrics follow the agent and the authority."""

from datetime import timedelta

from mutua.agent.agent import CertificateStatus
from mutua.agent.workload import Workload
from mutua.cluster.certificates.figures import certificate_figures
from mutua.controlplane.coherence.coherence import Verdict
from mutua.foundation.spiffe import SpiffeId
from mutua.identity.authority import Authority
from mutua.identity.rotation import Rotation, Stage
from mutua.identity.x509 import self_signed_ca
from mutua.telemetry.certificates import STAGES
from mutua.testing.clock import START, ManualClock
from mutua.testing.mesh import pod

DAY = timedelta(days=1)
ROOT = self_signed_ca("", organization="td", lifetime=10 * DAY, clock=ManualClock(START))


def status(uid: str, *, is_certified: bool = True) -> CertificateStatus:
    return CertificateStatus(
        workload=Workload(uid=uid, identity=SpiffeId("td", "shop", "web")),
        not_after=START + DAY if is_certified else None,
        renew_at=None,
        failures=0,
        error="",
    )


def test_workloads_are_named_by_their_pods() -> None:
    figures = certificate_figures(
        Authority(ROOT, "td", ManualClock(START)),
        None,
        Verdict(problems={"": "no"}),
        [status("shop-web"), status("gone"), status("shop-new", is_certified=False)],
        [pod("shop", "web"), pod("shop", "new")],
    )

    assert [(one.namespace, one.pod) for one in figures.workloads] == [("shop", "web")]
    assert (figures.roots, figures.signer) == ([START + 10 * DAY], START + 10 * DAY)
    assert (figures.is_coherent, figures.stage) == (False, "none")


def test_every_stage_of_a_rotation_has_a_name_among_the_metrics() -> None:
    for stage in Stage:
        moving = Rotation(id="x", origin=1, target=2, stage=stage, since=START)
        authority = Authority(ROOT, "td", ManualClock(START))
        assert certificate_figures(authority, moving, Verdict(), [], []).stage in STAGES
