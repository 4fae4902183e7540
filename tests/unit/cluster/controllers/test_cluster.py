"""Services, namespaces, garbage, events, and the views under them."""

import asyncio
from typing import Any

import pytest

from mutua.api.object import (
    CONFIG_MAPS,
    ENDPOINT_SLICES,
    EVENTS,
    NAMESPACES,
    PODS,
    SERVICE_ACCOUNTS,
    SERVICES,
    Object,
    Resource,
)
from mutua.cluster.controllers.endpoints import endpoint_slices
from mutua.cluster.controllers.events import EventRecorder
from mutua.cluster.controllers.service_ip import ServiceAddresses
from mutua.foundation.errors import Rejected, Unavailable
from mutua.store.memory import MemoryStore
from mutua.testing.cluster import FakeCluster, LoopClock, running_cluster, service


def pod(name: str = "web-1", *, grace: int = 30, ports: Any = None, **metadata: Any) -> Object:
    container = {"name": "app", "image": "app:1", "ports": ports or []}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"namespace": "shop", "name": name, "labels": {"app": "web"}, **metadata},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": grace},
    }


def namespace(name: str) -> Object:
    metadata = {"name": name, "finalizers": ["kubernetes"]}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}


async def endpoints_of(cluster: FakeCluster) -> list[tuple[str, bool, list[int]]]:
    return [
        (
            endpoint["addresses"][0],
            endpoint["conditions"]["ready"],
            [port["port"] for port in endpoint_slice["ports"]],
        )
        for endpoint_slice in (await cluster.store.list(ENDPOINT_SLICES, "shop")).items
        for endpoint in endpoint_slice["endpoints"]
    ]


async def test_a_ready_pod_is_an_endpoint_and_a_leaving_one_is_not_ready() -> None:
    async with running_cluster() as cluster:
        await cluster.apply(SERVICES, service())
        web = await cluster.apply(PODS, pod())

        await cluster.make_ready(web, ip="10.244.0.7")

        async def is_ready() -> bool:
            return await endpoints_of(cluster) == [("10.244.0.7", True, [8080])]

        await cluster.until(is_ready)
        await cluster.store.delete(PODS, "shop", "web-1", grace=30)

        async def is_leaving() -> bool:
            return await endpoints_of(cluster) == [("10.244.0.7", False, [8080])]

        await cluster.until(is_leaving)


async def test_a_named_port_leads_where_each_pod_says() -> None:
    async with running_cluster() as cluster:
        web = await cluster.apply(SERVICES, service(ports=[{"port": 80, "targetPort": "http"}]))
        one = pod("one", ports=[{"name": "http", "containerPort": 8080}], uid="1")
        two = pod("two", ports=[{"name": "http", "containerPort": 9090}], uid="2")
        one["status"], two["status"] = {"podIP": "10.244.0.7"}, {"podIP": "10.244.0.8"}

        slices = endpoint_slices(web, [one, two])

        assert [s["ports"][0]["port"] for s in slices] == [8080, 9090]


async def test_a_namespace_gets_its_label_and_its_default_account() -> None:
    async with running_cluster() as cluster:
        await cluster.apply(NAMESPACES, namespace("shop"))

        async def account() -> bool:
            return "default" in await cluster.names(SERVICE_ACCOUNTS)

        await cluster.until(account)
        shop = await cluster.store.get(NAMESPACES, "", "shop")
        assert shop["metadata"]["labels"] == {"kubernetes.io/metadata.name": "shop"}
        assert shop["status"]["phase"] == "Active"


async def test_a_deleted_namespace_goes_when_its_last_pod_has_ended() -> None:
    async with running_cluster() as cluster:
        await cluster.apply(NAMESPACES, namespace("shop"))
        await cluster.apply(SERVICES, service())
        web = await cluster.apply(PODS, pod())
        await cluster.settle()

        await cluster.store.delete(NAMESPACES, "", "shop")

        async def pod_is_going() -> bool:
            found = await cluster.store.get(PODS, "shop", web["metadata"]["name"])
            return "deletionTimestamp" in found["metadata"]

        await cluster.until(pod_is_going)
        assert "shop" in await cluster.names(NAMESPACES, "")
        assert await cluster.names(SERVICES) == []
        await cluster.finish_deletion(web)

        async def gone() -> bool:
            return "shop" not in await cluster.names(NAMESPACES, "")

        await cluster.until(gone)
        assert await cluster.names(SERVICE_ACCOUNTS) == []


async def test_an_object_whose_owner_never_was_is_collected() -> None:
    async with running_cluster() as cluster:
        owner = {"apiVersion": "v1", "kind": "Service", "name": "gone", "uid": "u"}
        config = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"namespace": "shop", "name": "left", "ownerReferences": [owner]},
        }
        await cluster.apply(CONFIG_MAPS, config)

        async def collected() -> bool:
            return await cluster.names(CONFIG_MAPS) == []

        await cluster.until(collected)


async def test_the_same_event_again_raises_a_count() -> None:
    async with running_cluster() as cluster:
        web = await cluster.apply(PODS, pod())
        for _ in range(3):
            cluster.controllers.events.record(web, "Warning", "BackOff", "again", component="node")

        async def counted() -> bool:
            events = (await cluster.store.list(EVENTS, "shop")).items
            return [event["count"] for event in events] == [3]

        await cluster.until(counted)


async def test_events_are_bounded_in_time() -> None:
    async with running_cluster() as cluster:
        web = await cluster.apply(PODS, pod())
        cluster.controllers.events.record(web, "Normal", "Started", "started", component="node")

        async def empty() -> bool:
            return await cluster.names(EVENTS) == []

        async def one() -> bool:
            return not await empty()

        await cluster.until(one)
        await cluster.until(empty, patience=2 * 3600)


class FullStore(MemoryStore):
    """Takes and gives up nothing while `full`."""

    full = True

    async def create(self, resource: Resource, obj: Object) -> Object:
        if self.full:
            raise Unavailable("disk full")
        return await super().create(resource, obj)

    async def delete(self, *arguments: Any, **options: Any) -> Object:
        if self.full:
            raise Unavailable("disk full")
        return await super().delete(*arguments, **options)


async def test_recording_for_a_store_that_refuses_disturbs_nobody() -> None:
    store = FullStore(LoopClock())
    recorder = EventRecorder(store, LoopClock())
    async with asyncio.TaskGroup() as group:
        task = group.create_task(recorder.run())
        for number in range(1000):
            recorder.record(pod(), "Normal", "Flood", str(number), component="node")
        await asyncio.sleep(1)
        store.full = False
        recorder.record(pod(), "Normal", "Kept", "", component="node")
        await asyncio.sleep(1)
        assert [e["reason"] for e in (await store.list(EVENTS)).items] == ["Kept"]

        store.full = True  # when the event grows old, and has to go
        await asyncio.sleep(2 * 3600)
        assert not task.done()
        store.full = False
        await asyncio.sleep(2 * 60)
        assert not (await store.list(EVENTS)).items
        task.cancel()


async def admitted(hook: ServiceAddresses, obj: Object, old: Object | None = None) -> str:
    return str((await hook.admit(SERVICES, obj, old))["spec"]["clusterIP"])


async def test_services_get_different_addresses_and_keep_theirs() -> None:
    hook = ServiceAddresses(MemoryStore(LoopClock()))

    one, two = await admitted(hook, service("one")), await admitted(hook, service("two"))

    assert one != two
    assert one.startswith("10.96.")
    stored = service("one")
    stored["spec"]["clusterIP"] = one
    assert await admitted(hook, service("one"), stored) == one


async def test_a_taken_or_foreign_or_changed_address_is_refused() -> None:
    store = MemoryStore(LoopClock())
    hook = ServiceAddresses(store)
    taken = service("one")
    taken["spec"]["clusterIP"] = "10.96.3.4"
    await store.create(SERVICES, taken)

    for address in ("10.96.3.4", "10.96.0.10", "192.168.0.1", "web"):
        wish = service("two")
        wish["spec"]["clusterIP"] = address
        with pytest.raises(Rejected):
            await hook.admit(SERVICES, wish, None)
    changed = service("one")
    changed["spec"]["clusterIP"] = "10.96.3.5"
    with pytest.raises(Rejected, match="may not change"):
        await hook.admit(SERVICES, changed, taken)


async def test_a_headless_service_stays_headless() -> None:
    headless = service("one")
    headless["spec"]["clusterIP"] = "None"

    assert await admitted(ServiceAddresses(MemoryStore(LoopClock())), headless) == "None"
