"""Deployment and Service istiod: made when missing, then their owner's."""

from typing import Any

import pytest

from mutua.api.kinds import kind_of
from mutua.api.object import DEPLOYMENTS, NAMESPACES, SERVICES
from mutua.api.validation import validate
from mutua.api.verdict import Invalid
from mutua.cluster.istiod import (
    PORTS,
    admit_deployment,
    create_control_plane,
    is_scaled_to_zero,
)
from mutua.store.memory import MemoryStore
from mutua.testing.clock import START, ManualClock

WHERE = ("istio-system", "istiod")


async def made() -> MemoryStore:
    store = MemoryStore(ManualClock(START))
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "istio-system"}}
    await store.create(NAMESPACES, space)
    await create_control_plane(store)
    return store


async def test_what_is_made_is_valid_and_lists_what_listens() -> None:
    store = await made()
    for resource in (DEPLOYMENTS, SERVICES):
        obj = await store.get(resource, *WHERE)
        assert validate(kind_of(resource), obj).errors == []
        assert await admit_deployment(resource, obj, None) is obj
    service = await store.get(SERVICES, *WHERE)
    assert {port["name"]: port["port"] for port in service["spec"]["ports"]} == dict(PORTS)


async def test_what_its_owner_changed_stays_and_what_was_deleted_comes_back() -> None:
    store = await made()
    deployment = await store.get(DEPLOYMENTS, *WHERE)
    deployment["spec"]["replicas"] = 0
    await store.update(DEPLOYMENTS, deployment)
    await store.delete(SERVICES, *WHERE)

    await create_control_plane(store)

    assert await is_scaled_to_zero(store)
    assert (await store.get(SERVICES, *WHERE))["spec"]["ports"]


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"replicas": 2}, "spec.replicas"),
        ({"strategy": {"type": "RollingUpdate"}}, "spec.strategy.type"),
    ],
)
async def test_two_at_once_are_refused(change: dict[str, Any], path: str) -> None:
    deployment = await (await made()).get(DEPLOYMENTS, *WHERE)
    deployment["spec"] |= change

    with pytest.raises(Invalid) as refused:
        await admit_deployment(DEPLOYMENTS, deployment, None)

    assert [error.path for error in refused.value.errors] == [path]
    elsewhere = {**deployment, "metadata": {"namespace": "shop", "name": "istiod"}}
    assert await admit_deployment(DEPLOYMENTS, elsewhere, None) is elsewhere
