"""Objects follow what the agent knows, and go with their pods."""

import asyncio
from dataclasses import replace

from mutua.agent.agent import CertificateStatus
from mutua.agent.workload import Workload
from mutua.api.object import EVENTS, PODS, WORKLOAD_CERTIFICATES, Object
from mutua.cluster.certificates.reporter import BATCH, CertificateReporter
from mutua.foundation.spiffe import SpiffeId
from mutua.testing.cluster import FakeCluster, running_cluster
from mutua.testing.mesh import pod


def unissued(obj: Object, error: str = "away") -> CertificateStatus:
    account = SpiffeId("td", "shop", "web")
    workload = Workload(uid=obj["metadata"]["uid"], identity=account)
    return CertificateStatus(
        workload=workload, not_after=None, renew_at=None, failures=1, error=error
    )


class Reported:
    """A cluster with a reporter, and what its agent knows."""

    def __init__(self, cluster: FakeCluster) -> None:
        self.cluster = cluster
        self.known: list[CertificateStatus] = []
        controllers = cluster.controllers
        self.reporter = CertificateReporter(
            controllers.view, controllers.events, lambda: self.known, cluster.clock
        )

    async def pod(self, name: str) -> Object:
        made = await self.cluster.apply(PODS, pod("shop", name, "10.244.0.2"))
        view = self.cluster.controllers.view
        await self.cluster.until(lambda: view[PODS].get("shop", name))
        return made

    async def objects(self) -> list[Object]:
        return list((await self.cluster.store.list(WORKLOAD_CERTIFICATES)).items)


async def test_what_changed_is_written_and_nothing_else() -> None:
    async with running_cluster() as cluster:
        reported = Reported(cluster)
        first = unissued(await reported.pod("web"))
        reported.known = [first]
        await reported.reporter.report()
        (written,) = await reported.objects()
        await reported.reporter.report()
        (again,) = await reported.objects()
        reported.known = [replace(first, failures=2, error="still away")]
        await reported.reporter.report()
        (changed,) = await reported.objects()

        async def events() -> list[Object]:
            return list((await cluster.store.list(EVENTS, "shop")).items)

        await cluster.until(events)
        messages = [one["message"] for one in await events() if one["type"] == "Warning"]

    assert written["metadata"]["name"] == "web"
    assert again["metadata"]["resourceVersion"] == written["metadata"]["resourceVersion"]
    assert (changed["status"]["failures"], changed["status"]["lastError"]) == (2, "still away")
    assert "away" in messages[0]


async def test_an_object_goes_with_its_pod_and_the_next_pod_of_the_name_gets_its_own() -> None:
    async with running_cluster() as cluster:
        reported = Reported(cluster)
        first = await reported.pod("web")
        reported.known = [unissued(first)]
        await reported.reporter.report()
        await cluster.store.delete(PODS, "shop", "web", grace=0)
        second = await reported.pod("web")
        reported.known = [unissued(second)]

        async def owned() -> bool:
            await reported.reporter.report()
            owners = [one["metadata"]["ownerReferences"][0] for one in await reported.objects()]
            return [one["uid"] for one in owners] == [second["metadata"]["uid"]]

        await cluster.until(owned)
        await cluster.store.delete(PODS, "shop", "web", grace=0)
        reported.known = []

        async def gone() -> bool:
            return not await reported.objects()

        await cluster.until(gone)


async def test_a_thousand_changes_are_written_in_batches() -> None:
    async with running_cluster() as cluster:
        reported = Reported(cluster)
        pods = [await reported.pod(f"web-{number}") for number in range(BATCH + 5)]
        reported.known = [unissued(one) for one in pods]

        await reported.reporter.report()
        assert len(await reported.objects()) == BATCH
        await reported.reporter.report()
        assert len(await reported.objects()) == BATCH + 5


async def test_a_workload_whose_pod_is_unknown_waits() -> None:
    async with running_cluster() as cluster:
        reported = Reported(cluster)
        stranger = pod("shop", "later", "10.244.0.3")
        stranger["metadata"]["uid"] = "later"
        reported.known = [unissued(stranger)]
        await reported.reporter.report()
        assert await reported.objects() == []
        await asyncio.sleep(0)
