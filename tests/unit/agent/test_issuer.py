import asyncio
from datetime import timedelta
from typing import Any

import pytest

from mutua.agent.issuer import LocalIssuer, ReplaceableIssuer
from mutua.agent.workload import Workload
from mutua.foundation.errors import Rejected, Unavailable
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


async def test_a_request_waits_for_an_authority_that_restarts_but_not_for_one_that_is_away(
    authority: Authority, web: Workload
) -> None:
    issuer, csr = ReplaceableIssuer(patience=2.0), new_request(web.identity).csr_pem
    with pytest.raises(Unavailable, match="control plane does not run"):
        await issuer.sign(csr, web)

    asyncio.get_running_loop().call_later(1.0, issuer.put, LocalIssuer(authority))
    assert (await issuer.sign(csr, web)).roots_pem == authority.roots_pem

    issuer.put(None)
    with pytest.raises(Unavailable):
        await issuer.sign(csr, web)
