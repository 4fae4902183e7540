"""From an applied object to a proxy and back into the object's status, without a network."""

import asyncio
from datetime import UTC, datetime
from typing import Any

from mutua.api.object import PEER_AUTHENTICATIONS, PODS, Object
from mutua.controlplane.controlplane import BREATH, ControlPlane
from mutua.controlplane.rollout_proxy import SETTLE
from mutua.store.memory import MemoryStore
from mutua.testing.clock import ManualClock
from mutua.testing.mesh import peer_authentication, pod
from mutua.testing.polling import eventually
from mutua.testing.proxy import Proxy, condition, running
from mutua.xds.resource import CLUSTER, LISTENER

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
DISABLE = {"mtls": {"mode": "DISABLE"}}
INBOUND = "virtualInbound"


async def start() -> tuple[MemoryStore, ControlPlane, str]:
    store = MemoryStore(ManualClock(NOON))
    made = await store.create(PODS, pod("shop", "web-1"))
    plane = ControlPlane(store, clock=ManualClock(NOON))
    return store, plane, made["metadata"]["uid"]


async def in_force(store: MemoryStore, namespace: str, name: str = "default") -> Object:
    return condition(await store.get(PEER_AUTHENTICATIONS, namespace, name), "InForce")


async def holds(store: MemoryStore, name: str = "default") -> bool:
    return (await in_force(store, "shop", name)).get("status") == "True"


async def test_a_proxy_is_ready_once_it_has_confirmed_clusters_and_listeners() -> None:
    _store, plane, uid = await start()
    async with running(plane.run):
        proxy = Proxy(plane.add(uid), answers=False)
        proxy.connect()
        assert not plane.is_ready(uid)
        proxy.answers = True
        proxy.serve()
        assert plane.is_ready(uid)
        assert INBOUND in proxy.has


async def test_a_policy_changes_the_proxy_it_speaks_about() -> None:
    store, plane, uid = await start()
    async with running(plane.run):
        proxy = Proxy(plane.add(uid))
        proxy.connect()
        before = proxy.has[INBOUND]
        await store.create(PEER_AUTHENTICATIONS, peer_authentication("shop", "STRICT"))
        await eventually(lambda: proxy.has[INBOUND] != before)


async def test_a_policy_says_on_how_many_proxies_it_is_in_force() -> None:
    store, plane, uid = await start()
    other = await store.create(PODS, pod("shop", "web-2"))
    await store.create(PODS, pod("elsewhere", "web-3"))
    async with running(plane.run):
        fast, slow = Proxy(plane.add(uid)), Proxy(plane.add(other["metadata"]["uid"]))
        fast.connect()
        slow.connect()
        slow.answers = False
        await store.create(PEER_AUTHENTICATIONS, peer_authentication("shop", "STRICT"))

        async def message(text: str) -> bool:
            return text in (await in_force(store, "shop")).get("message", "")

        await eventually(lambda: message("in force on 1 of 2 proxies"))
        assert (await in_force(store, "shop"))["status"] == "False"
        slow.answers = True
        slow.serve()
        await eventually(lambda: message("in force on 2 of 2 proxies"))
        stored = await store.get(PEER_AUTHENTICATIONS, "shop", "default")
        assert condition(stored, "InForce")["status"] == "True"
        assert condition(stored, "Accepted")["status"] == "True"
        assert stored["status"]["observedGeneration"] == stored["metadata"]["generation"] == 1


async def test_what_is_true_already_is_not_written_again() -> None:
    store, plane, uid = await start()
    await store.create(PEER_AUTHENTICATIONS, peer_authentication("shop", "STRICT"))
    async with running(plane.run):
        Proxy(plane.add(uid)).connect()
        await eventually(lambda: in_force(store, "shop"))
        version = (await store.list(PEER_AUTHENTICATIONS)).resource_version
        for round_ in range(5):
            await store.create(PODS, pod("elsewhere", f"other-{round_}"))
            generation = plane.generation
            await eventually(lambda seen=generation: plane.generation > seen)
        assert (await store.list(PEER_AUTHENTICATIONS)).resource_version == version + 5


async def test_a_changed_policy_is_in_force_only_when_the_change_is() -> None:
    store, plane, uid = await start()
    async with running(plane.run):
        proxy = Proxy(plane.add(uid))
        proxy.connect()
        made = await store.create(PEER_AUTHENTICATIONS, peer_authentication("shop", "STRICT"))
        await eventually(lambda: holds(store))
        proxy.answers = False
        await store.update(PEER_AUTHENTICATIONS, {**made, "spec": DISABLE, "metadata": {
            "name": "default", "namespace": "shop"}})  # fmt: skip
        await eventually(lambda: _pending(store))
        assert (await in_force(store, "shop"))["observedGeneration"] == 2


async def test_what_a_proxy_confirms_during_a_push_is_not_what_it_is_yet_to_be_given() -> None:
    store = MemoryStore(ManualClock(NOON))
    uids = [
        (await store.create(PODS, pod("shop", f"web-{number}")))["metadata"]["uid"]
        for number in range(BREATH + 1)
    ]
    plane = ControlPlane(store, clock=ManualClock(NOON))
    async with running(plane.run):
        proxies = [Proxy(plane.add(uid)) for uid in uids]
        for proxy in proxies:
            proxy.connect()
        first, last = proxies[0], proxies[-1]
        last.answers = False
        await store.create(PEER_AUTHENTICATIONS, peer_authentication("shop", "STRICT"))
        await eventually(lambda: _says(store, f"in force on {BREATH} of {BREATH + 1}"))

        def confirm_the_former() -> None:
            first.serve()
            last.answers = True
            last.serve()
            last.answers = False

        first.attachment.wake = confirm_the_former
        await store.update(PEER_AUTHENTICATIONS, peer_authentication("shop", "PERMISSIVE"))
        await eventually(lambda: _is_of(store, generation=2))
        await asyncio.sleep(10 * SETTLE)
        assert await _says(store, f"in force on {BREATH} of {BREATH + 1}")


async def _is_of(store: MemoryStore, generation: int) -> bool:
    return (await in_force(store, "shop")).get("observedGeneration") == generation


async def _pending(store: MemoryStore) -> bool:
    return (await in_force(store, "shop")).get("reason") == "Pending"


async def test_a_refusal_is_told_with_the_proxy_the_resource_and_the_reason() -> None:
    store, plane, uid = await start()
    async with running(plane.run):
        proxy = Proxy(plane.add(uid))
        proxy.connect()
        kept = proxy.has[INBOUND]
        proxy.refuses = {INBOUND}
        await store.create(PEER_AUTHENTICATIONS, peer_authentication("shop", "STRICT"))

        async def refused() -> Object:
            found = await in_force(store, "shop")
            return found if found.get("reason") == "RejectedByProxy" else {}

        found = await eventually(refused)
        assert "in force on 0 of 1 proxy; web-1.shop refused virtualInbound" in found["message"]
        assert proxy.has[INBOUND] == kept


async def test_a_younger_policy_of_the_same_rank_says_that_it_is_not_used() -> None:
    store, plane, uid = await start()
    await store.create(PEER_AUTHENTICATIONS, peer_authentication("shop", "STRICT", name="a-first"))
    await store.create(
        PEER_AUTHENTICATIONS, peer_authentication("shop", "DISABLE", name="b-second")
    )
    async with running(plane.run):
        Proxy(plane.add(uid)).connect()
        found = await eventually(lambda: in_force(store, "shop", "b-second"))
        assert (found["status"], found["reason"]) == ("False", "Superseded")
        await eventually(lambda: holds(store, "a-first"))


async def test_a_selector_in_the_root_namespace_is_said_to_be_ignored() -> None:
    store, plane, uid = await start()
    selector = {"selector": {"matchLabels": {"app": "web"}}}
    await store.create(
        PEER_AUTHENTICATIONS, peer_authentication("istio-system", "STRICT", **selector)
    )
    async with running(plane.run):
        Proxy(plane.add(uid)).connect()
        found = await eventually(lambda: in_force(store, "istio-system"))
        assert found["reason"] == "Ignored"


async def test_a_pod_that_is_gone_is_not_counted() -> None:
    store, plane, uid = await start()
    await store.create(PEER_AUTHENTICATIONS, peer_authentication("shop", "STRICT"))
    async with running(plane.run):
        proxy = Proxy(plane.add(uid))
        proxy.connect()
        await eventually(lambda: _says(store, "1 of 1 proxy"))
        proxy.disconnect()
        plane.remove(uid)
        await eventually(lambda: _says(store, "0 of 0 proxies"))


async def _says(store: MemoryStore, text: str) -> bool:
    return text in (await in_force(store, "shop")).get("message", "")


async def test_a_proxy_that_reconnects_stays_as_far_as_it_was() -> None:
    _store, plane, uid = await start()
    async with running(plane.run):
        proxy = Proxy(plane.add(uid))
        proxy.connect()
        proxy.disconnect()
        assert plane.is_ready(uid)


async def test_what_a_proxy_refused_is_an_error_until_the_policy_changes() -> None:
    store, plane, uid = await start()
    async with running(plane.run):
        proxy = Proxy(plane.add(uid))
        assert plane.sync_status() == {uid: []}
        proxy.connect()

        def status(type_url: str = LISTENER) -> dict[str, Any]:
            (found,) = (one for one in plane.sync_status()[uid] if one["typeUrl"] == type_url)
            return found

        await eventually(lambda: status() == {"typeUrl": LISTENER, "configStatus": "SYNCED"})
        proxy.refuses = {INBOUND}
        await store.create(PEER_AUTHENTICATIONS, peer_authentication("shop", "STRICT"))

        async def is_held_back() -> bool:
            stored = await store.get(PEER_AUTHENTICATIONS, "shop", "default")
            return condition(stored, "Accepted").get("reason") == "RejectedByProxy"

        await eventually(is_held_back)
        await eventually(lambda: not proxy.feed.progress.rejections)  # it has the state before
        assert status()["configStatus"] == "ERROR"
        assert status()["errorState"]["details"].startswith("virtualInbound: Error adding")
        assert status(CLUSTER)["configStatus"] == "SYNCED"

        await store.delete(PEER_AUTHENTICATIONS, "shop", "default")
        await eventually(lambda: status() == {"typeUrl": LISTENER, "configStatus": "SYNCED"})
        proxy.disconnect()
        assert plane.sync_status() == {uid: []}
