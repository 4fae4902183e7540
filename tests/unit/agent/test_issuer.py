from datetime import timedelta
from typing import Any

import pytest

from mutua.agent.issuer import LocalIssuer
from mutua.agent.workload import Workload
from mutua.foundation.errors import Rejected
from mutua.foundation.spiffe import SpiffeId
from mutua.identity.authority import Authority
from mutua.identity.csr import new_request


async def test_the_workloads_identity_is_certified_for_the_issuers_lifetime(
    authority: Authority, clock: Any, web: Workload
) -> None:
    issuer = LocalIssuer(authority, timedelta(hours=1))

    issued = await issuer.sign(new_request(web.identity).csr_pem, web)

    assert issued.validity.not_after == clock.now() + timedelta(hours=1)
    assert issued.roots_pem == authority.roots_pem


async def test_workloads_of_another_trust_domain_are_refused(authority: Authority) -> None:
    stranger = Workload(uid="x", identity=SpiffeId("evil.example", "shop", "web"))

    with pytest.raises(Rejected, match="trust domain"):
        await LocalIssuer(authority).sign(new_request(stranger.identity).csr_pem, stranger)
