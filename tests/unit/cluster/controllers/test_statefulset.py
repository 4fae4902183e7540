"""StatefulSets become pods with names that stay."""

import asyncio
from collections.abc import Callable
from typing import Any

from mutua.api.object import CONTROLLER_REVISIONS, EVENTS, PODS, STATEFUL_SETS, Object
from mutua.foundation.clock import rfc3339
from mutua.testing.cluster import FakeCluster, running_cluster, stateful_set


def names_of(pods: list[Object]) -> list[str]:
    return sorted(pod["metadata"]["name"] for pod in pods)


def image_of(pod: Object) -> str:
    return str(pod["spec"]["containers"][0]["image"])


def set_image(image: str) -> Callable[[Object], None]:
    def change(obj: Object) -> None:
        obj["spec"]["template"]["spec"]["containers"][0]["image"] = image

    return change


def set_spec(**fields: Any) -> Callable[[Object], None]:
    return lambda obj: obj["spec"].update(fields)


async def apply(cluster: FakeCluster, **spec: Any) -> None:
    await cluster.apply(STATEFUL_SETS, stateful_set(**spec))


async def edit(cluster: FakeCluster, change: Callable[[Object], None]) -> None:
    await cluster.edit(STATEFUL_SETS, "web", change)


async def images(cluster: FakeCluster) -> dict[str, str]:
    pods = (await cluster.store.list(PODS, "shop")).items
    return {pod["metadata"]["name"]: image_of(pod) for pod in pods}


async def status_of(cluster: FakeCluster) -> Object:
    found: Object = (await cluster.store.get(STATEFUL_SETS, "shop", "web")).get("status") or {}
    return found


async def rolled_out(cluster: FakeCluster) -> Object:
    """Play the node until the set is as kubectl's `rollout status` wants it."""

    async def probe() -> Object | None:
        await decided(cluster)
        await cluster.play_node()
        await decided(cluster)
        obj = await cluster.store.get(STATEFUL_SETS, "shop", "web")
        spec, status = obj["spec"], obj.get("status") or {}
        partition = ((spec.get("updateStrategy") or {}).get("rollingUpdate") or {}).get("partition")
        current = status.get("observedGeneration") == obj["metadata"]["generation"]
        ready = status.get("readyReplicas", 0) == spec["replicas"] == status.get("replicas")
        updated = status.get("updatedReplicas", 0) >= spec["replicas"] - (partition or 0)
        return status if current and ready and updated else None

    found: Object = await cluster.until(probe)
    return found


async def decided(cluster: FakeCluster) -> list[str]:
    """Let everything happen that is due now, and return the names of the pods."""
    await asyncio.sleep(1)
    return names_of(list((await cluster.store.list(PODS, "shop")).items))


async def test_pods_come_one_after_another_with_names_of_their_own() -> None:
    async with running_cluster() as cluster:
        await apply(cluster, replicas=2)
        assert await decided(cluster) == ["web-0"]
        await cluster.play_node()
        assert await decided(cluster) == ["web-0", "web-1"]

        status = await rolled_out(cluster)
        [_, pod] = await cluster.pods()

        assert pod["metadata"]["labels"] == {
            "app": "web",
            "statefulset.kubernetes.io/pod-name": "web-1",
            "apps.kubernetes.io/pod-index": "1",
            "controller-revision-hash": status["updateRevision"],
        }
        assert pod["metadata"]["ownerReferences"][0]["kind"] == "StatefulSet"
        assert (pod["spec"]["hostname"], pod["spec"]["subdomain"]) == ("web-1", "web")
        assert status == {
            "observedGeneration": 1,
            "replicas": 2,
            "readyReplicas": 2,
            "currentReplicas": 2,
            "updatedReplicas": 2,
            "availableReplicas": 2,
            "currentRevision": status["updateRevision"],
            "updateRevision": status["updateRevision"],
            "collisionCount": 0,
        }


async def test_parallel_pods_come_at_once() -> None:
    async with running_cluster() as cluster:
        await apply(cluster, replicas=3, podManagementPolicy="Parallel")

        assert await decided(cluster) == ["web-0", "web-1", "web-2"]


async def test_a_pod_counts_once_it_was_ready_for_long_enough() -> None:
    async with running_cluster() as cluster:
        await apply(cluster, replicas=2, minReadySeconds=30)
        await decided(cluster)
        await cluster.play_node()

        await asyncio.sleep(28)
        assert await cluster.names(PODS) == ["web-0"]
        assert (await status_of(cluster))["availableReplicas"] == 0
        await asyncio.sleep(2)
        assert await cluster.names(PODS) == ["web-0", "web-1"]


async def test_a_pod_that_is_lost_comes_back_under_its_name() -> None:
    async with running_cluster() as cluster:
        await apply(cluster, replicas=2)
        await rolled_out(cluster)
        before = await cluster.store.get(PODS, "shop", "web-0")

        await cluster.store.delete(PODS, "shop", "web-0")
        await rolled_out(cluster)

        after = await cluster.store.get(PODS, "shop", "web-0")
        assert before["metadata"]["uid"] != after["metadata"]["uid"]
        assert after["spec"] == before["spec"]


async def test_a_pod_that_has_ended_is_made_anew() -> None:
    async with running_cluster() as cluster:
        await apply(cluster)
        await rolled_out(cluster)
        pod = await cluster.store.get(PODS, "shop", "web-0")

        await cluster.store.update_status(PODS, {**pod, "status": {"phase": "Failed"}})
        await rolled_out(cluster)

        assert (await cluster.store.get(PODS, "shop", "web-0"))["metadata"]["uid"] != (
            pod["metadata"]["uid"]
        )


async def test_scaling_down_takes_the_last_one_first_and_waits_until_it_is_gone() -> None:
    async with running_cluster() as cluster:
        await apply(cluster, replicas=3)
        await rolled_out(cluster)
        for pod in await cluster.pods():
            pod["spec"]["nodeName"] = "node"  # a running pod gets its grace
            await cluster.store.update(PODS, pod)

        await edit(cluster, set_spec(replicas=0))
        left = []
        while pods := await decided(cluster):
            left.append((pods, names_of(await cluster.pods())))
            await cluster.play_node()

        assert left[0] == (["web-0", "web-1", "web-2"], ["web-0", "web-1"])
        assert left[1] == (["web-0", "web-1"], ["web-0"])


async def test_an_update_replaces_pods_from_the_last_to_the_first() -> None:
    async with running_cluster() as cluster:
        await apply(cluster, replicas=3)
        before = await rolled_out(cluster)

        await edit(cluster, set_image("app:2"))
        seen = []
        for _ in range(6):
            await decided(cluster)
            now = sorted((await images(cluster)).items())
            seen += [now] if now not in seen else []
            await cluster.play_node()
        after = await rolled_out(cluster)

        updated = [{name for name, image in now if image == "app:2"} for now in seen]
        assert [len(each) for each in updated] == sorted(len(each) for each in updated)
        assert {"web-2"} in updated
        assert {"web-2", "web-1"} in updated
        assert set((await images(cluster)).values()) == {"app:2"}
        assert after["currentRevision"] == after["updateRevision"] != before["currentRevision"]


async def test_below_the_partition_pods_keep_their_template_even_when_they_are_lost() -> None:
    partition = {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}
    async with running_cluster() as cluster:
        await apply(cluster, replicas=2, updateStrategy=partition)
        await rolled_out(cluster)
        await edit(cluster, set_image("app:2"))
        status = await rolled_out(cluster)
        assert (status["currentReplicas"], status["updatedReplicas"]) == (1, 1)
        assert status["currentRevision"] != status["updateRevision"]

        await cluster.store.delete(PODS, "shop", "web-0")
        await rolled_out(cluster)
        assert await images(cluster) == {"web-0": "app:1", "web-1": "app:2"}

        partition["rollingUpdate"]["partition"] = 0
        await edit(cluster, set_spec(updateStrategy=partition))
        await rolled_out(cluster)
        assert await images(cluster) == {"web-0": "app:2", "web-1": "app:2"}


async def test_on_delete_updates_a_pod_when_somebody_deletes_it() -> None:
    async with running_cluster() as cluster:
        await apply(cluster, replicas=2, updateStrategy={"type": "OnDelete"})
        await rolled_out(cluster)
        await edit(cluster, set_image("app:2"))
        await decided(cluster)
        assert set((await images(cluster)).values()) == {"app:1"}

        await cluster.store.delete(PODS, "shop", "web-0")
        await decided(cluster)

        assert await images(cluster) == {"web-0": "app:2", "web-1": "app:1"}


async def test_a_mistake_in_the_template_is_corrected_by_correcting_it() -> None:
    async with running_cluster() as cluster:
        await apply(cluster, replicas=2)
        await decided(cluster)
        [broken] = await cluster.pods()
        await cluster.make_ready(broken, ready=False)

        await edit(cluster, set_image("app:2"))
        await rolled_out(cluster)

        assert await images(cluster) == {"web-0": "app:2", "web-1": "app:2"}


async def test_a_template_that_comes_back_keeps_its_revision_under_a_new_number() -> None:
    async with running_cluster() as cluster:
        await apply(cluster)
        first = (await rolled_out(cluster))["updateRevision"]
        await edit(cluster, set_image("app:2"))
        second = (await rolled_out(cluster))["updateRevision"]
        await edit(cluster, set_image("app:1"))
        assert (await rolled_out(cluster))["updateRevision"] == first

        found = (await cluster.store.list(CONTROLLER_REVISIONS, "shop")).items
        assert {one["metadata"]["name"]: one["revision"] for one in found} == {first: 3, second: 2}
        template = found[0]["data"]["spec"]["template"]
        assert template["$patch"] == "replace"


async def test_old_revisions_are_forgotten_beyond_the_limit() -> None:
    async with running_cluster() as cluster:
        await apply(cluster, revisionHistoryLimit=1)
        await rolled_out(cluster)
        for number in range(2, 6):
            await edit(cluster, set_image(f"app:{number}"))
            await rolled_out(cluster)

        found = (await cluster.store.list(CONTROLLER_REVISIONS, "shop")).items
        assert sorted(one["revision"] for one in found) == [4, 5]


async def test_a_deleted_set_takes_its_pods_and_revisions_along() -> None:
    async with running_cluster() as cluster:
        await apply(cluster, replicas=2)
        await rolled_out(cluster)

        await cluster.store.delete(STATEFUL_SETS, "shop", "web")
        await decided(cluster)

        assert await cluster.pods() == []
        assert await cluster.names(CONTROLLER_REVISIONS) == []


async def test_orphans_are_adopted_and_not_restarted() -> None:
    async with running_cluster() as cluster:
        await apply(cluster, replicas=2)
        await rolled_out(cluster)
        before = {pod["metadata"]["uid"] for pod in await cluster.pods()}
        await edit(cluster, lambda obj: obj["metadata"].update(finalizers=["orphan"]))
        await cluster.store.delete(STATEFUL_SETS, "shop", "web")
        await decided(cluster)
        assert await cluster.names(STATEFUL_SETS) == []

        await apply(cluster, replicas=2)
        await rolled_out(cluster)

        pods = await cluster.pods()
        assert {pod["metadata"]["uid"] for pod in pods} == before
        assert all(pod["metadata"]["ownerReferences"] for pod in pods)


async def test_a_foreign_pod_of_the_name_is_left_alone_and_named_in_an_event() -> None:
    async with running_cluster() as cluster:
        stranger = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"namespace": "shop", "name": "web-0", "labels": {"app": "other"}},
            "spec": {"containers": [{"name": "a"}]},
        }
        await cluster.apply(PODS, stranger)
        await apply(cluster)

        async def complaint() -> bool:
            events = (await cluster.store.list(EVENTS, "shop")).items
            return any(
                event["reason"] == "FailedCreate"
                and event["message"].startswith("create Pod web-0 in StatefulSet web failed error:")
                and "already exists" in event["message"]
                for event in events
            )

        await cluster.until(complaint)
        assert (await status_of(cluster))["observedGeneration"] == 1
        assert (await cluster.store.get(PODS, "shop", "web-0"))["metadata"]["labels"] == {
            "app": "other"
        }


async def test_the_labels_that_are_a_pods_identity_are_put_back() -> None:
    label = "statefulset.kubernetes.io/pod-name"
    async with running_cluster() as cluster:
        await apply(cluster)
        await rolled_out(cluster)

        await cluster.edit(PODS, "web-0", lambda pod: pod["metadata"]["labels"].pop(label))
        await decided(cluster)

        pod = await cluster.store.get(PODS, "shop", "web-0")
        assert pod["metadata"]["labels"][label] == "web-0"


async def test_a_revision_whose_name_is_taken_gets_another() -> None:
    async with running_cluster() as cluster:
        await apply(cluster)
        name = (await rolled_out(cluster))["updateRevision"]
        await cluster.store.delete(STATEFUL_SETS, "shop", "web")
        await decided(cluster)
        taken = {
            "apiVersion": "apps/v1",
            "kind": "ControllerRevision",
            "metadata": {"namespace": "shop", "name": name},
            "data": {},
            "revision": 1,
        }
        await cluster.apply(CONTROLLER_REVISIONS, taken)

        await apply(cluster)
        status = await rolled_out(cluster)

        assert status["updateRevision"] != name
        assert status["collisionCount"] == 1


async def test_events_tell_what_the_set_did() -> None:
    async with running_cluster() as cluster:
        await apply(cluster)
        await rolled_out(cluster)
        await edit(cluster, set_spec(replicas=0))
        await decided(cluster)

        events = (await cluster.store.list(EVENTS, "shop")).items
        assert {(event["reason"], event["message"]) for event in events} >= {
            ("SuccessfulCreate", "create Pod web-0 in StatefulSet web successful"),
            ("SuccessfulDelete", "delete Pod web-0 in StatefulSet web successful"),
        }
        assert rfc3339(cluster.clock.now()) >= events[0]["lastTimestamp"]
