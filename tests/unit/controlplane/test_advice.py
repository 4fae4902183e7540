"""Warnings at apply: what admission is told, and that it costs nobody a request."""

import logging

from mutua.analysis.mesh import READS
from mutua.api.object import (
    CONFIG_MAPS,
    NAMESPACES,
    PEER_AUTHENTICATIONS,
    PODS,
    SERVICES,
)
from mutua.cluster.apiserver.registry import Registry, collect_warnings
from mutua.controlplane.advice import MOST, Adviser
from mutua.foundation.clock import SystemClock
from mutua.model.settings import MeshSettings
from mutua.store.memory import MemoryStore
from mutua.testing.mesh import (
    by_resource,
    deployment,
    namespace,
    peer_authentication,
    pod,
    service,
)

OBJECTS = by_resource(
    namespace("shop"),
    deployment("shop", "web", 80),
    service("shop", "web", {"name": "http", "port": 8000, "targetPort": 80}),
    pod("store", "till", meshed=False),
)


def lister(kind, where):
    found = OBJECTS.get(kind, ())
    return [one for one in found if where in {None, one["metadata"].get("namespace")}]


def misused(name: str = "web", *ports: int):
    return peer_authentication(
        "shop",
        "STRICT",
        name=name,
        selector={"matchLabels": {"app": "web"}},
        portLevelMtls={str(port): {"mode": "DISABLE"} for port in ports or (8000,)},
    )


async def test_a_warning_names_the_code_the_field_and_what_to_do() -> None:
    (warning,) = await Adviser(lister, MeshSettings)(PEER_AUTHENTICATIONS, misused())

    assert warning == (
        "[MUT0101] spec.portLevelMtls[8000]: 8000 is a Service port; the workload listens on 80: "
        "this entry changes nothing; write 80 (Service web)"
    )


async def test_a_finding_about_another_object_names_it() -> None:
    def with_policy(kind, where):
        return (
            [misused()] if kind == PEER_AUTHENTICATIONS and where == "shop" else lister(kind, where)
        )

    (service_,) = OBJECTS[SERVICES]
    (warning,) = await Adviser(with_policy, MeshSettings)(SERVICES, service_)

    assert warning.startswith("[MUT0101] PeerAuthentication shop/web: 8000 is a Service port")


async def test_many_warnings_are_counted() -> None:
    found = await Adviser(lister, MeshSettings)(PEER_AUTHENTICATIONS, misused("web", *range(1, 31)))

    assert len(found) == MOST + 1
    assert found[-1] == "22 more: istioctl analyze -A"


async def test_only_the_namespaces_that_matter_are_looked_at() -> None:
    asked = []

    def watched(kind, where):
        asked.append((kind, where))
        return lister(kind, where)

    await Adviser(watched, MeshSettings)(PEER_AUTHENTICATIONS, misused())

    assert {where for kind, where in asked if kind == PODS} == {"shop", "istio-system"}
    assert {kind for kind, _ in asked} == set(READS)


async def test_other_kinds_are_not_spoken_about() -> None:
    def never(_kind, _where):
        raise AssertionError

    assert await Adviser(never, MeshSettings)(CONFIG_MAPS, {}) == []
    assert await Adviser(never, MeshSettings)(PODS, {}) == []


async def test_a_fault_of_ours_is_logged_and_costs_nobody_a_request(caplog) -> None:
    def broken(_kind, _where):
        raise ValueError("a bug")

    with caplog.at_level(logging.ERROR):
        assert await Adviser(broken, MeshSettings)(PEER_AUTHENTICATIONS, misused()) == []

    assert [record.getMessage() for record in caplog.records] == ["no advice"]


async def test_admission_passes_the_warnings_on_to_whoever_listens() -> None:
    clock = SystemClock()
    adviser = Adviser(lister, MeshSettings)
    registry = Registry(MemoryStore(clock), adviser=adviser, clock=clock)
    await registry.create(NAMESPACES, namespace("shop"))

    with collect_warnings() as heard:
        await registry.create(PEER_AUTHENTICATIONS, misused())

    assert [one[:9] for one in heard] == ["[MUT0101]"]
    await registry.create(PEER_AUTHENTICATIONS, misused("unheard"))


async def test_a_mesh_wide_policy_is_judged_against_all_of_the_mesh() -> None:
    policy = peer_authentication("istio-system", "STRICT")

    (warning,) = await Adviser(lister, MeshSettings)(PEER_AUTHENTICATIONS, policy)

    assert warning.startswith("[MUT0106] pod/till.store has no sidecar")
