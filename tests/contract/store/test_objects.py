"""What every ObjectStore does to objects: create, update, status, delete."""

from typing import Any

import pytest

from mutua.api.object import CONFIG_MAPS, PEER_AUTHENTICATIONS, PODS, Object
from mutua.foundation.errors import Conflict
from mutua.store.port import AlreadyExists, NotFound, ObjectStore, Stale


def config(name: str, namespace: str = "shop", **data: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace},
        "data": data,
    }


def policy(mode: str, **metadata: Any) -> Object:
    return {
        "apiVersion": "security.istio.io/v1",
        "kind": "PeerAuthentication",
        "metadata": {"name": "web", "namespace": "shop"} | metadata,
        "spec": {"mtls": {"mode": mode}},
    }


def conditions(status: str) -> Object:
    return {"conditions": [{"type": "InForce", "status": status}]}


def pod(**metadata: Any) -> Object:
    """A pod that a node runs: only such a pod has a grace period."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": "shop"} | metadata,
        "spec": {"nodeName": "n", "containers": [{"name": "app", "image": "x"}]},
    }


def version(obj: Object) -> int:
    return int(obj["metadata"]["resourceVersion"])


async def test_create_sets_what_the_server_owns(store: ObjectStore) -> None:
    sent = config("a", colour="red")
    sent["metadata"] |= {
        "uid": "mine",
        "generation": 7,
        "deletionTimestamp": "2020-01-01T00:00:00Z",
    }

    made = await store.create(CONFIG_MAPS, sent)

    metadata = made["metadata"]
    assert metadata["uid"] not in {"", "mine"}
    assert metadata["creationTimestamp"] == "2030-01-01T00:00:01Z"
    assert metadata["generation"] == 1
    assert "deletionTimestamp" not in metadata
    assert await store.get(CONFIG_MAPS, "shop", "a") == made


async def test_an_address_holds_one_object(store: ObjectStore) -> None:
    await store.create(CONFIG_MAPS, config("a"))

    with pytest.raises(AlreadyExists, match='configmaps "a" already exists'):
        await store.create(CONFIG_MAPS, config("a"))

    await store.create(CONFIG_MAPS, config("a", namespace="other"))


async def test_what_is_missing_is_named_as_kubectl_does(store: ObjectStore) -> None:
    with pytest.raises(NotFound, match=r'peerauthentications\.security\.istio\.io "web" not found'):
        await store.get(PEER_AUTHENTICATIONS, "shop", "web")


async def test_versions_grow_over_all_kinds(store: ObjectStore) -> None:
    first = await store.create(CONFIG_MAPS, config("a"))
    second = await store.create(PEER_AUTHENTICATIONS, policy("STRICT"))
    third = await store.update(CONFIG_MAPS, config("a", colour="blue"))

    assert version(first) < version(second) < version(third)


async def test_a_list_is_ordered_and_says_from_where_to_watch(store: ObjectStore) -> None:
    for name, namespace in [("b", "shop"), ("a", "shop"), ("a", "other")]:
        last = await store.create(CONFIG_MAPS, config(name, namespace))

    everywhere = await store.list(CONFIG_MAPS)
    in_shop = await store.list(CONFIG_MAPS, "shop")

    addresses = [(o["metadata"]["namespace"], o["metadata"]["name"]) for o in everywhere.items]
    assert addresses == [("other", "a"), ("shop", "a"), ("shop", "b")]
    assert [o["metadata"]["name"] for o in in_shop.items] == ["a", "b"]
    assert in_shop.resource_version == version(last)


async def test_only_a_change_of_the_specification_makes_a_generation(store: ObjectStore) -> None:
    await store.create(PEER_AUTHENTICATIONS, policy("STRICT"))

    labelled = await store.update(PEER_AUTHENTICATIONS, policy("STRICT", labels={"a": "b"}))
    scaled = await store.update(PEER_AUTHENTICATIONS, policy("DISABLE", labels={"a": "b"}))

    assert labelled["metadata"]["generation"] == 1
    assert scaled["metadata"]["generation"] == 2


async def test_update_and_update_status_keep_to_their_halves(store: ObjectStore) -> None:
    await store.create(PEER_AUTHENTICATIONS, policy("STRICT"))

    await store.update_status(
        PEER_AUTHENTICATIONS, policy("PERMISSIVE") | {"status": conditions("True")}
    )
    updated = await store.update(
        PEER_AUTHENTICATIONS, policy("DISABLE") | {"status": conditions("False")}
    )

    assert updated["spec"] == {"mtls": {"mode": "DISABLE"}}
    assert updated["status"] == conditions("True")
    assert updated["metadata"]["generation"] == 2


async def test_a_write_based_on_an_old_version_is_refused(store: ObjectStore) -> None:
    old = await store.create(PEER_AUTHENTICATIONS, policy("STRICT"))
    await store.update(PEER_AUTHENTICATIONS, policy("DISABLE"))

    with pytest.raises(Stale, match="the object has been modified"):
        await store.update(PEER_AUTHENTICATIONS, old | {"spec": {"mtls": {"mode": "PERMISSIVE"}}})
    with pytest.raises(Conflict):
        await store.update_status(PEER_AUTHENTICATIONS, old | {"status": {}})


async def test_a_write_to_another_incarnation_is_refused(store: ObjectStore) -> None:
    old = await store.create(PEER_AUTHENTICATIONS, policy("STRICT"))
    await store.delete(PEER_AUTHENTICATIONS, "shop", "web")
    await store.create(PEER_AUTHENTICATIONS, policy("STRICT"))

    with pytest.raises(Stale, match="UID in precondition"):
        await store.update(PEER_AUTHENTICATIONS, policy("DISABLE", uid=old["metadata"]["uid"]))
    with pytest.raises(Stale):
        await store.delete(PEER_AUTHENTICATIONS, "shop", "web", uid=old["metadata"]["uid"])


async def test_a_write_that_changes_nothing_writes_nothing(store: ObjectStore) -> None:
    made = await store.create(PEER_AUTHENTICATIONS, policy("STRICT"))

    again = await store.update(PEER_AUTHENTICATIONS, policy("STRICT"))
    status = await store.update_status(PEER_AUTHENTICATIONS, policy("STRICT"))

    assert again == status == made
    assert (await store.list(PEER_AUTHENTICATIONS)).resource_version == version(made)


async def test_updating_what_is_missing_is_refused(store: ObjectStore) -> None:
    for write in (store.update, store.update_status):
        with pytest.raises(NotFound):
            await write(PEER_AUTHENTICATIONS, policy("STRICT"))


async def test_what_is_returned_belongs_to_the_caller(store: ObjectStore) -> None:
    made = await store.create(CONFIG_MAPS, config("a", colour="red"))
    made["data"]["colour"] = "spoilt"
    (await store.get(CONFIG_MAPS, "shop", "a"))["data"]["colour"] = "spoilt"
    (await store.list(CONFIG_MAPS)).items[0]["data"]["colour"] = "spoilt"

    assert (await store.get(CONFIG_MAPS, "shop", "a"))["data"] == {"colour": "red"}


async def test_what_was_sent_stays_as_it_was(store: ObjectStore) -> None:
    sent = config("a", colour="red")

    await store.create(CONFIG_MAPS, sent)

    assert sent == config("a", colour="red")


async def test_delete_removes_at_once_when_nothing_asks_to_wait(store: ObjectStore) -> None:
    await store.create(CONFIG_MAPS, config("a"))

    await store.delete(CONFIG_MAPS, "shop", "a")

    with pytest.raises(NotFound):
        await store.get(CONFIG_MAPS, "shop", "a")


async def test_finalizers_hold_an_object_until_they_are_emptied(store: ObjectStore) -> None:
    await store.create(PEER_AUTHENTICATIONS, policy("STRICT", finalizers=["mutua/x"]))

    ending = await store.delete(PEER_AUTHENTICATIONS, "shop", "web")
    again = await store.delete(PEER_AUTHENTICATIONS, "shop", "web")

    assert ending["metadata"]["deletionTimestamp"] == "2030-01-01T00:00:02Z"
    assert again == ending
    await store.update(PEER_AUTHENTICATIONS, policy("STRICT", finalizers=[]))
    with pytest.raises(NotFound):
        await store.get(PEER_AUTHENTICATIONS, "shop", "web")


async def test_grace_holds_an_object_until_it_is_deleted_again(store: ObjectStore) -> None:
    await store.create(PODS, pod())

    ending = await store.delete(PODS, "shop", "p", grace=30)
    shortened = await store.delete(PODS, "shop", "p", grace=5)
    longer = await store.delete(PODS, "shop", "p", grace=60)

    assert ending["metadata"]["deletionTimestamp"] == "2030-01-01T00:00:32Z"
    assert ending["metadata"]["deletionGracePeriodSeconds"] == 30
    assert shortened["metadata"]["deletionGracePeriodSeconds"] == 5
    assert longer == shortened
    await store.update(PODS, pod(labels={"a": "b"}))  # does not end it
    await store.delete(PODS, "shop", "p", grace=0)
    with pytest.raises(NotFound):
        await store.get(PODS, "shop", "p")


async def test_grace_ends_but_finalizers_still_hold(store: ObjectStore) -> None:
    await store.create(PODS, pod(finalizers=["mutua/x"]))
    await store.delete(PODS, "shop", "p", grace=30)

    ended = await store.delete(PODS, "shop", "p", grace=0)

    assert ended["metadata"]["deletionGracePeriodSeconds"] == 0
    await store.update(PODS, pod())
    with pytest.raises(NotFound):
        await store.get(PODS, "shop", "p")


async def test_an_update_cannot_take_back_a_deletion(store: ObjectStore) -> None:
    await store.create(PEER_AUTHENTICATIONS, policy("STRICT", finalizers=["mutua/x"]))
    ending = await store.delete(PEER_AUTHENTICATIONS, "shop", "web")

    updated = await store.update(PEER_AUTHENTICATIONS, policy("DISABLE", finalizers=["mutua/x"]))

    key = "deletionTimestamp"
    assert updated["metadata"][key] == ending["metadata"][key]
