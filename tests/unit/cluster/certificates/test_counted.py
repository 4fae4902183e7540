from collections import Counter
from datetime import timedelta

import pytest

from mutua.agent.issuer import LocalIssuer
from mutua.agent.workload import Workload
from mutua.api.revocation import Revocation
from mutua.cluster.certificates.counted import CountedIssuer
from mutua.cluster.revocation.register import Gate, Register, Revoked
from mutua.foundation.errors import MutuaError
from mutua.foundation.spiffe import SpiffeId
from mutua.identity.authority import Authority
from mutua.identity.csr import new_request
from mutua.identity.x509 import self_signed_ca
from mutua.telemetry.metrics import CSRS, ISSUED, PARSING_ERRORS, SIGNING_ERRORS
from mutua.testing.clock import ManualClock

WEB = SpiffeId("cluster.local", "shop", "web")


async def test_every_request_is_counted_and_how_it_ended() -> None:
    clock, register = ManualClock(), Register()
    register.revise([Revocation(uid="u", name="r", pod="bad", certificates={})])
    root = self_signed_ca("", lifetime=timedelta(days=9), clock=clock, organization="cluster.local")
    gate = Gate(LocalIssuer(Authority(root, "cluster.local", clock)), register)
    seen: Counter[tuple[str, str]] = Counter()
    issuer = CountedIssuer(gate, lambda name, label: seen.update([(name, label)]))

    await issuer.sign(new_request(WEB).csr_pem, Workload(uid="good", identity=WEB))
    for csr, uid in (("nonsense", "good"), (new_request(WEB).csr_pem, "bad")):
        with pytest.raises(MutuaError):
            await issuer.sign(csr, Workload(uid=uid, identity=WEB))

    assert seen == {
        (CSRS, ""): 3,
        (ISSUED, ""): 1,
        (PARSING_ERRORS, ""): 1,
        (SIGNING_ERRORS, Revoked.code): 1,
    }
