"""What admission adds to the store."""

from typing import Any

import pytest

from mutua.api.object import CONFIG_MAPS, NAMESPACES, PODS, SERVICES, Object, Resource
from mutua.api.verdict import Invalid
from mutua.cluster.apiserver.registry import Registry, collect_warnings
from mutua.cluster.apiserver.status import Forbidden
from mutua.foundation.clock import SystemClock
from mutua.foundation.errors import Denied
from mutua.store.memory import MemoryStore
from mutua.store.port import NotFound


def namespace(name: str) -> Object:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def pod(**spec: Any) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": "shop"},
        "spec": {"containers": [{"name": "app", "image": "x"}], **spec},
    }


async def prepared(*hooks: Any) -> Registry:
    clock = SystemClock()
    registry = Registry(MemoryStore(clock), admission=hooks, clock=clock)
    await registry.create(NAMESPACES, namespace("shop"))
    return registry


async def test_hooks_see_defaults_and_what_they_add_is_defaulted() -> None:
    seen = []

    async def inject(resource: Resource, obj: Object, old: Object | None) -> Object:
        if resource != PODS:
            return obj
        seen.append((obj["spec"]["restartPolicy"], old))
        containers = [*obj["spec"]["containers"], {"name": "istio-proxy", "image": "y"}]
        return obj | {"spec": obj["spec"] | {"containers": containers}}

    registry = await prepared(inject)
    made = await registry.create(PODS, pod())

    assert seen == [("Always", None)]
    app, proxy = made["spec"]["containers"]
    assert proxy["name"] == "istio-proxy"
    assert set(app) == set(proxy)


async def test_a_hook_may_refuse() -> None:
    async def refuse(resource: Resource, obj: Object, old: Object | None) -> Object:
        if resource == PODS:
            raise Denied("no pods today")
        return obj

    registry = await prepared(refuse)

    with pytest.raises(Denied, match="no pods today"):
        await registry.create(PODS, pod())
    assert (await registry.list(PODS)).items == ()


async def test_a_wrong_shape_is_refused_before_anybody_looks_inside() -> None:
    async def look(resource: Resource, obj: Object, old: Object | None) -> Object:
        if resource == PODS:
            raise AssertionError("must not be asked")
        return obj

    registry = await prepared(look)

    with pytest.raises(Invalid, match=r"spec\.containers"):
        await registry.create(PODS, pod(containers="none"))


async def test_warnings_reach_whoever_collects_them() -> None:
    registry = await prepared()
    policy = {
        "apiVersion": "security.istio.io/v1",
        "kind": "AuthorizationPolicy",
        "metadata": {"name": "a", "namespace": "shop"},
        "spec": {},
    }

    with collect_warnings() as warnings:
        await registry.create(Resource("security.istio.io", "authorizationpolicies"), policy)

    assert len(warnings) == 1
    assert "not enforced" in warnings[0]


async def test_nothing_is_created_in_a_namespace_that_ends() -> None:
    registry = await prepared()
    await registry.delete(NAMESPACES, "", "shop")

    with pytest.raises(Forbidden, match="because it is being terminated"):
        await registry.create(PODS, pod())
    ending = await registry.get(NAMESPACES, "", "shop")
    assert ending["status"]["phase"] == "Terminating"
    assert ending["metadata"]["finalizers"] == ["kubernetes"]


async def test_an_author_cannot_take_the_finalizer_of_a_living_namespace() -> None:
    registry = await prepared()

    updated = await registry.update(NAMESPACES, namespace("shop"))

    assert updated["metadata"]["finalizers"] == ["kubernetes"]


@pytest.mark.parametrize(
    ("spec", "wish", "expected"),
    [
        ({}, None, None),  # no node runs it: it goes at once
        ({"nodeName": "n"}, None, 30),
        ({"nodeName": "n", "terminationGracePeriodSeconds": 3}, None, 3),
        ({"nodeName": "n"}, 9, 9),
        ({"nodeName": "n"}, 0, None),
    ],
)
async def test_a_pod_ends_with_grace(
    spec: dict[str, Any], wish: int | None, expected: int | None
) -> None:
    registry = await prepared()
    await registry.create(PODS, pod(**spec))

    await registry.delete(PODS, "shop", "p", grace=wish)

    if expected is None:
        with pytest.raises(NotFound):
            await registry.get(PODS, "shop", "p")
    else:
        ending = await registry.get(PODS, "shop", "p")
        assert ending["metadata"]["deletionGracePeriodSeconds"] == expected


async def test_a_dry_run_is_judged_like_the_real_thing() -> None:
    registry = await prepared()
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"ports": [{"port": 80}]},
    }

    made = await registry.create(SERVICES, service, dry_run=True)

    assert made["spec"]["ports"][0]["protocol"] == "TCP"
    assert made["metadata"]["uid"]
    with pytest.raises(NotFound):
        await registry.get(SERVICES, "shop", "web")
    wrong = service | {"spec": {"ports": [{"port": 0}]}}
    with pytest.raises(Invalid):
        await registry.create(SERVICES, wrong, dry_run=True)


async def test_an_invisible_namespace_is_not_created_on_the_way() -> None:
    registry = await prepared()
    lost = {"metadata": {"name": "c", "namespace": "nowhere"}}

    with pytest.raises(NotFound, match='namespaces "nowhere" not found'):
        await registry.create(CONFIG_MAPS, lost)
