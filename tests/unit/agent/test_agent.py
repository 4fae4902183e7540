import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

from mutua.agent.agent import RETRY, Agent, CertificateStatus
from mutua.agent.secret import SecretSource
from mutua.agent.workload import Workload
from mutua.foundation.spiffe import SpiffeId
from mutua.identity.authority import Authority
from mutua.identity.keys import parse_key
from mutua.identity.x509 import parse_certificates

HOUR = 3600.0


def middle() -> float:
    """A draw that jitters nothing."""
    return 0.5


@asynccontextmanager
async def running(agent: Agent) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(agent.run())
        yield
        task.cancel()


def is_a_pair(workload: Workload) -> bool:
    assert workload.certs_dir is not None
    leaf = parse_certificates((workload.certs_dir / "cert-chain.pem").read_text())[0]
    return leaf.public_key() == parse_key((workload.certs_dir / "key.pem").read_text()).public


async def test_adding_a_workload_yields_a_certificate_and_its_files(
    issuer: Any, clock: Any, web: Workload
) -> None:
    agent = Agent(issuer, clock, middle)

    source = await agent.add(web)

    assert source.current is not None
    assert web.certs_dir is not None
    assert (web.certs_dir / "cert-chain.pem").read_text() == source.current.issued.chain_pem
    assert is_a_pair(web)


async def test_adding_it_again_asks_nobody(issuer: Any, clock: Any, web: Workload) -> None:
    agent = Agent(issuer, clock, middle)

    first, second = await agent.add(web), await agent.add(web)

    assert first is second
    assert len(issuer.asked) == 1


async def test_a_certificate_is_renewed_at_half_life_with_a_new_key(
    issuer: Any, clock: Any, web: Workload
) -> None:
    agent = Agent(issuer, clock, middle)
    source = await agent.add(web)
    first = source.current

    async with running(agent):
        second = await source.wait_newer(1)
        renewed_at = asyncio.get_running_loop().time()
        await asyncio.sleep(1)

    assert first is not None
    assert second.key.public != first.key.public
    # The lifetime starts two minutes before the request: 24 h 2 min / 2 - 2 min.
    assert renewed_at == pytest.approx(12 * HOUR - 60, abs=2)
    assert is_a_pair(web)


async def test_certificates_issued_together_do_not_come_back_together(
    issuer: Any, clock: Any, web: Workload, job: Workload
) -> None:
    draws = iter([0.0, 0.999])
    agent = Agent(issuer, clock, lambda: next(draws, 0.5))

    await agent.add(web)
    await agent.add(job)

    early, late = (status.renew_at for status in agent.status())
    assert early is not None
    assert late is not None
    assert late - early > timedelta(hours=2)


async def test_a_clock_set_forward_renews_within_a_tick(
    issuer: Any, clock: Any, web: Workload
) -> None:
    agent = Agent(issuer, clock, middle)
    source = await agent.add(web)

    async with running(agent):
        await asyncio.sleep(10)
        clock.step = timedelta(days=30)
        await source.wait_newer(1)
        elapsed = asyncio.get_running_loop().time() - 10

    assert elapsed <= 1


async def test_a_clock_set_back_renews_what_became_a_certificate_from_the_future(
    issuer: Any, clock: Any, web: Workload
) -> None:
    clock.step = timedelta(days=300)
    agent = Agent(issuer, clock, middle)
    source = await agent.add(web)

    async with running(agent):
        clock.step = timedelta()
        fresh = await source.wait_newer(1)

    assert fresh.schedule.validity.not_before <= clock.now()


async def test_a_broken_authority_leaves_the_old_certificate_in_force(
    issuer: Any, clock: Any, web: Workload
) -> None:
    agent = Agent(issuer, clock, middle)
    source = await agent.add(web)
    before = source.current
    issuer.down = {"*"}

    async with running(agent):
        await asyncio.sleep(13 * HOUR)
        during = (source.current, is_a_pair(web), agent.status()[0])
        issuer.down = set()
        await source.wait_newer(1)
        repaired = agent.status()[0]

    assert during[0] is before
    assert during[1]
    assert during[2].error == "the authority is being repaired"
    assert during[2].failures > 50
    assert (repaired.failures, repaired.error) == (0, "")


async def test_retries_back_off_and_are_capped(issuer: Any, clock: Any, web: Workload) -> None:
    issuer.down = {"*"}
    agent = Agent(issuer, clock, middle)
    await agent.add(web)

    async with running(agent):
        await asyncio.sleep(HOUR)

    times = [at for at, _ in issuer.asked]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert gaps[:5] == [1, 1, 2, 4, 8]  # 0.5, 1, 2 … rounded up to the tick
    assert max(gaps) <= RETRY.ceiling + 1


async def test_a_step_of_the_clock_ends_the_wait_for_the_next_attempt(
    issuer: Any, clock: Any, web: Workload
) -> None:
    clock.step = timedelta(days=-7)  # before the authority's certificate begins
    agent = Agent(issuer, clock, middle)
    source = await agent.add(web)

    async with running(agent):
        await asyncio.sleep(HOUR)  # attempts are a minute apart by now
        before = agent.status()[0]
        clock.step = timedelta()
        set_at = asyncio.get_running_loop().time()
        await source.wait_newer(0)
        elapsed = asyncio.get_running_loop().time() - set_at

    assert "the signing certificate is not valid before" in before.error
    assert elapsed <= 1


async def test_trouble_that_the_clock_made_is_over_when_the_clock_is_right_again(
    issuer: Any, clock: Any, web: Workload
) -> None:
    agent = Agent(issuer, clock, middle)
    source = await agent.add(web)
    good = source.current

    async with running(agent):
        clock.step = timedelta(days=-7)
        await asyncio.sleep(60)
        during = agent.status()[0]
        clock.step = timedelta()
        await asyncio.sleep(1)
        after = agent.status()[0]

    assert (during.failures > 0, during.error != "") == (True, True)
    assert (after.failures, after.error) == (0, "")
    assert source.current is good


async def test_one_workloads_trouble_does_not_delay_another(
    issuer: Any, clock: Any, web: Workload, job: Workload
) -> None:
    agent = Agent(issuer, clock, middle)
    stuck, healthy = await agent.add(web), await agent.add(job)
    issuer.silent = {"web"}

    async with running(agent):
        await healthy.wait_newer(1)
        renewed_at = asyncio.get_running_loop().time()

    assert renewed_at == pytest.approx(12 * HOUR - 60, abs=2)
    assert stuck.version == 1


async def test_an_authority_that_keeps_silent_is_asked_again(
    issuer: Any, clock: Any, web: Workload
) -> None:
    issuer.silent = {"web"}
    agent = Agent(issuer, clock, middle)
    source = await agent.add(web)
    issuer.silent = set()

    async with running(agent):
        await source.wait_newer(0)

    assert [uid for _, uid in issuer.asked] == ["web", "web"]


async def test_an_answer_for_another_key_is_not_accepted(
    issuer: Any, clock: Any, web: Workload
) -> None:
    class Confused:
        async def sign(self, csr_pem: str, workload: Workload) -> Any:
            from mutua.identity.csr import new_request

            return await issuer.sign(new_request(workload.identity).csr_pem, workload)

    agent = Agent(Confused(), clock, middle)

    source = await agent.add(web)

    assert source.current is None
    assert "another key" in agent.status()[0].error


async def test_files_that_could_not_be_written_are_written_later_with_the_same_certificate(
    issuer: Any, clock: Any, web: Workload
) -> None:
    assert web.certs_dir is not None
    web.certs_dir.write_text("in the way")
    agent = Agent(issuer, clock, middle)

    source = await agent.add(web)
    assert source.version == 1
    web.certs_dir.unlink()
    async with running(agent):
        await asyncio.sleep(5)

    assert is_a_pair(web)
    assert source.version == 1
    assert agent.status()[0].error == ""


async def test_a_removed_workload_keeps_no_key_on_disk_and_is_not_renewed(
    issuer: Any, clock: Any, web: Workload
) -> None:
    agent = Agent(issuer, clock, middle)
    await agent.add(web)

    agent.remove("web")
    agent.remove("web")
    async with running(agent):
        await asyncio.sleep(13 * HOUR)

    assert web.certs_dir is not None
    assert [*web.certs_dir.iterdir()] == []
    assert len(issuer.asked) == 1
    assert agent.status() == []


async def test_a_workload_removed_during_its_request_leaves_no_key_on_disk(
    issuer: Any, clock: Any, web: Workload
) -> None:
    class Slow:
        async def sign(self, csr_pem: str, workload: Workload) -> Any:
            await asyncio.sleep(3)
            return await issuer.sign(csr_pem, workload)

    agent = Agent(Slow(), clock, middle)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(agent.add(web))
        await asyncio.sleep(1)
        agent.remove("web")

    assert web.certs_dir is not None
    assert not web.certs_dir.exists()


async def test_nothing_about_a_key_is_ever_logged_or_shown(
    issuer: Any, clock: Any, web: Workload, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    agent = Agent(issuer, clock, middle)
    source = await agent.add(web)
    issuer.down = {"*"}
    async with running(agent):
        await asyncio.sleep(12.5 * HOUR)

    shown = caplog.text + repr(source.current) + repr(agent.status()) + repr(agent.__dict__)
    shown += "".join(repr(record.__dict__) for record in caplog.records)

    assert source.current is not None
    assert "PRIVATE" not in shown
    assert source.current.key.pem().splitlines()[1] not in shown


async def test_waiting_for_news_returns_at_once_when_there_is_some(
    issuer: Any, clock: Any, web: Workload
) -> None:
    source = await Agent(issuer, clock, middle).add(web)

    assert await source.wait_newer(0) is source.current
    assert SecretSource().current is None


async def test_the_status_tells_when_a_certificate_ends_and_renews(
    issuer: Any, clock: Any, web: Workload
) -> None:
    agent = Agent(issuer, clock, middle)
    source = await agent.add(web)
    assert source.current is not None
    issued = source.current.issued

    assert agent.status() == [
        CertificateStatus(
            workload=web,
            not_after=clock.now() + timedelta(hours=24),
            renew_at=clock.now() + timedelta(hours=12, seconds=-60),
            failures=0,
            error="",
            chain=issued.chain_pem,
            bundle=issued.bundle,
            issued_at=clock.now(),
        )
    ]


async def test_a_renamed_workload_gets_a_certificate_of_its_new_name_from_the_same_source(
    issuer: Any, authority: Authority, clock: Any, web: Workload
) -> None:
    agent = Agent(issuer, clock, middle)
    source = await agent.add(web)
    authority.trust_domain = "td2"
    async with running(agent):
        agent.rename("web", SpiffeId("td2", "shop", "web"))
        secret = await source.wait_newer(1)
        await asyncio.sleep(60)

    assert "spiffe://td2/ns/shop/sa/web" in str(names(secret.issued.leaf))
    assert source.version == 2
    assert is_a_pair(web)


async def test_a_workload_that_is_renamed_during_its_request_gets_both_one_after_the_other(
    issuer: Any, clock: Any, web: Workload
) -> None:
    asked: list[str] = []

    class Slow:
        async def sign(self, csr_pem: str, workload: Workload) -> Any:
            asked.append(workload.identity.service_account)
            await asyncio.sleep(3)
            return await issuer.sign(csr_pem, workload)

    agent = Agent(Slow(), clock, middle)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(agent.add(web))
        await asyncio.sleep(1)
        agent.rename("web", SpiffeId("cluster.local", "shop", "other"))
    async with running(agent):
        await asyncio.sleep(10)

    assert asked == ["web", "other"]


async def test_a_failure_to_sign_the_old_name_does_not_delay_the_new_one(
    issuer: Any, authority: Authority, clock: Any, web: Workload
) -> None:
    agent = Agent(issuer, clock, middle)
    authority.trust_domain = "td2"  # the old name is refused from now on
    source = await agent.add(web)
    async with running(agent):
        await asyncio.sleep(300)
        assert source.version == 0
        agent.rename("web", SpiffeId("td2", "shop", "web"))
        await asyncio.sleep(2)

    assert source.version == 1


def test_renaming_somebody_unknown_is_fine(issuer: Any, clock: Any) -> None:
    Agent(issuer, clock, middle).rename("nobody", SpiffeId("td2", "shop", "web"))


def names(pem: str) -> list[str]:
    extensions = parse_certificates(pem)[0].extensions
    return [str(one.value) for one in extensions if one.oid.dotted_string == "2.5.29.17"]
