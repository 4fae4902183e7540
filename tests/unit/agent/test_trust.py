"""Trust and certificates change independently, and evidence is what proxies confirmed."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from mutua.agent.agent import Agent
from mutua.agent.secret import SecretSource
from mutua.agent.workload import Workload
from mutua.identity.authority import Authority
from mutua.identity.bundle import bundle_of
from mutua.identity.material import SigningMaterial, self_signed
from mutua.identity.rotation import Evidence
from mutua.identity.x509 import self_signed_ca
from mutua.testing.clock import START, ManualClock


def middle() -> float:
    return 0.5


@pytest.fixture
def other() -> SigningMaterial:
    made = self_signed_ca("o", lifetime=timedelta(days=9), clock=ManualClock(START))
    return self_signed(made)


@pytest.fixture
def agent(issuer: Any, clock: Any) -> Agent:
    return Agent(issuer, clock, middle)


def confirm(source: SecretSource) -> None:
    version = source.version
    source.confirmed = lambda: version


async def test_a_new_bundle_reaches_the_proxy_and_the_files_and_leaves_the_certificate(
    agent: Agent, authority: Authority, other: SigningMaterial, web: Workload
) -> None:
    source = await agent.add(web)
    before = source.current
    both = bundle_of([authority.roots_pem, other.anchor])

    agent.trust(both)
    task = asyncio.create_task(agent.run())
    await asyncio.sleep(0)
    await asyncio.sleep(0.1)
    task.cancel()

    assert before is not None
    assert source.current is not None
    assert source.current.bundle == both
    assert source.current.issued is before.issued
    assert web.certs_dir is not None
    assert (web.certs_dir / "root-cert.pem").read_text() == both.roots_pem


async def test_workloads_that_come_later_have_the_bundle_too(
    agent: Agent, authority: Authority, other: SigningMaterial, web: Workload
) -> None:
    both = bundle_of([authority.roots_pem, other.anchor])
    agent.trust(both)

    source = await agent.add(web)

    assert source.current is not None
    assert source.current.bundle == both


async def test_evidence_counts_what_was_confirmed_and_nothing_else(
    agent: Agent, authority: Authority, other: SigningMaterial, web: Workload
) -> None:
    source = await agent.add(web)
    agent.expect(authority.material.fingerprint)
    assert agent.evidence() == Evidence(("web",), ("web",))
    confirm(source)
    assert agent.evidence() == Evidence()

    agent.trust(bundle_of([authority.roots_pem, other.anchor]))
    assert agent.evidence() == Evidence(("web",), ())
    confirm(source)
    assert agent.evidence() == Evidence()

    agent.expect(other.fingerprint)
    assert agent.evidence() == Evidence((), ("web",))


async def test_another_ca_certifies_every_workload_anew(
    agent: Agent, authority: Authority, other: SigningMaterial, web: Workload
) -> None:
    source = await agent.add(web)
    both = bundle_of([authority.roots_pem, other.anchor])
    authority.adopt(other, both)
    agent.trust(both)
    agent.expect(other.fingerprint)

    task = asyncio.create_task(agent.run())
    async with asyncio.timeout(5):
        while source.current is None or not source.current.is_of(other.fingerprint):
            await asyncio.sleep(0.01)
    task.cancel()

    confirm(source)
    assert agent.evidence() == Evidence()


async def test_a_workload_without_a_certificate_is_never_evidence(
    agent: Agent, issuer: Any, web: Workload
) -> None:
    issuer.down.add("*")
    source = await agent.add(web)
    confirm(source)

    assert agent.evidence() == Evidence(("web",), ("web",))
