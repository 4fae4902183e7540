"""Deployments become ReplicaSets become Pods."""

from typing import Any

from mutua.api.condition import is_true
from mutua.api.object import DEPLOYMENTS, EVENTS, PODS, REPLICA_SETS, Object
from mutua.testing.cluster import FakeCluster, deployment, running_cluster


async def has_pods(cluster: FakeCluster, count: int) -> list[Object]:
    async def probe() -> bool:
        return len(await cluster.pods()) == count

    await cluster.until(probe)
    return await cluster.pods()


async def rolled_out(cluster: FakeCluster, name: str = "web") -> Object:
    async def probe() -> Object | None:
        await cluster.play_node()
        obj = await cluster.store.get(DEPLOYMENTS, "shop", name)
        status = obj.get("status") or {}
        wanted = obj["spec"]["replicas"]
        counts = [status.get(f, 0) for f in ("replicas", "updatedReplicas", "availableReplicas")]
        current = status.get("observedGeneration") == obj["metadata"]["generation"]
        return obj if current and counts == [wanted] * 3 else None

    found: Object = await cluster.until(probe)
    return found


def set_image(image: str) -> Any:
    def change(obj: Object) -> None:
        obj["spec"]["template"]["spec"]["containers"][0]["image"] = image

    return change


async def test_a_deployment_gets_its_pods_and_becomes_available() -> None:
    async with running_cluster() as cluster:
        await cluster.apply(DEPLOYMENTS, deployment(replicas=2))

        done = await rolled_out(cluster)

        assert is_true(done, "Available")
        assert is_true(done, "Progressing")
        assert done["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "1"
        pods = await cluster.pods()
        [owner] = pods[0]["metadata"]["ownerReferences"]
        assert owner["kind"] == "ReplicaSet"
        assert pods[0]["metadata"]["name"].startswith(owner["name"] + "-")


async def test_pods_are_asked_for_once_however_often_the_controller_looks() -> None:
    async with running_cluster() as cluster:
        await cluster.apply(DEPLOYMENTS, deployment(replicas=3))

        await has_pods(cluster, 3)
        await cluster.settle()

        assert len(await cluster.pods()) == 3


async def test_a_new_template_replaces_the_pods_without_dropping_below_the_bound() -> None:
    async with running_cluster() as cluster:
        await cluster.apply(DEPLOYMENTS, deployment(replicas=2))
        await rolled_out(cluster)
        before = {pod["metadata"]["name"] for pod in await cluster.pods()}

        await cluster.edit(DEPLOYMENTS, "web", set_image("app:2"))
        await has_pods(cluster, 3)
        done = await rolled_out(cluster)

        after = {pod["metadata"]["name"] for pod in await cluster.pods()}
        assert not before & after
        assert done["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "2"
        assert len(await cluster.names(REPLICA_SETS)) == 2


async def test_going_back_to_an_old_template_reuses_its_replica_set() -> None:
    async with running_cluster() as cluster:
        await cluster.apply(DEPLOYMENTS, deployment())
        await rolled_out(cluster)
        await cluster.edit(DEPLOYMENTS, "web", set_image("app:2"))
        await rolled_out(cluster)

        await cluster.edit(DEPLOYMENTS, "web", set_image("app:1"))
        done = await rolled_out(cluster)

        assert len(await cluster.names(REPLICA_SETS)) == 2
        assert done["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "3"


async def test_recreate_starts_new_pods_only_when_the_last_old_one_is_gone() -> None:
    async with running_cluster() as cluster:
        await cluster.apply(DEPLOYMENTS, deployment(strategy={"type": "Recreate"}))
        await rolled_out(cluster)
        [old] = await cluster.pods()

        await cluster.edit(DEPLOYMENTS, "web", set_image("app:2"))
        await has_pods(cluster, 0)
        await cluster.settle()
        assert await cluster.pods() == []
        await cluster.finish_deletion(old)

        await has_pods(cluster, 1)


async def test_a_rollout_that_makes_no_progress_says_so_after_its_deadline() -> None:
    async with running_cluster() as cluster:
        await cluster.apply(DEPLOYMENTS, deployment(progressDeadlineSeconds=60))
        await has_pods(cluster, 1)

        async def reason() -> bool:
            obj = await cluster.store.get(DEPLOYMENTS, "shop", "web")
            conditions = (obj.get("status") or {}).get("conditions") or []
            return any(c["reason"] == "ProgressDeadlineExceeded" for c in conditions)

        await cluster.until(reason, patience=120)


async def test_scaling_down_removes_the_pod_that_is_not_ready() -> None:
    async with running_cluster() as cluster:
        await cluster.apply(DEPLOYMENTS, deployment(replicas=2))
        await rolled_out(cluster)
        [first, second] = await cluster.pods()
        await cluster.make_ready(first, ready=False)

        def one(obj: Object) -> None:
            obj["spec"]["replicas"] = 1

        await cluster.edit(DEPLOYMENTS, "web", one)
        [left] = await has_pods(cluster, 1)

        assert left["metadata"]["name"] == second["metadata"]["name"]


async def test_a_deleted_deployment_takes_its_replica_sets_and_pods_along() -> None:
    async with running_cluster() as cluster:
        await cluster.apply(DEPLOYMENTS, deployment(replicas=2))
        await rolled_out(cluster)

        await cluster.store.delete(DEPLOYMENTS, "shop", "web")

        await has_pods(cluster, 0)
        assert await cluster.names(REPLICA_SETS) == []


async def test_a_pod_whose_label_is_changed_is_released_and_replaced() -> None:
    async with running_cluster() as cluster:
        await cluster.apply(DEPLOYMENTS, deployment())
        await rolled_out(cluster)
        [pod] = await cluster.pods()

        def unlabel(obj: Object) -> None:
            obj["metadata"]["labels"]["app"] = "debug"

        await cluster.edit(PODS, pod["metadata"]["name"], unlabel)
        await has_pods(cluster, 2)

        released = await cluster.store.get(PODS, "shop", pod["metadata"]["name"])
        assert not released["metadata"].get("ownerReferences")


async def test_scaling_is_told_in_events() -> None:
    async with running_cluster() as cluster:
        await cluster.apply(DEPLOYMENTS, deployment())

        async def messages() -> bool:
            events = (await cluster.store.list(EVENTS, "shop")).items
            return any("from 0 to 1" in event["message"] for event in events)

        await cluster.until(messages)
