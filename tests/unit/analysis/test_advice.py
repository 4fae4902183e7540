"""What the author of one object is told."""

import pytest

from mutua.analysis.advice import concerning, reach
from mutua.analysis.mesh import Mesh
from mutua.analysis.message import origin_of
from mutua.model.settings import MeshSettings
from mutua.testing.mesh import (
    by_resource,
    deployment,
    destination_rule,
    namespace,
    peer_authentication,
    pod,
    service,
)

SHOP = namespace("shop")
WEB = deployment("shop", "web", 80)
SERVED = service("shop", "web", {"name": "http", "port": 8000, "targetPort": 80})


def told(obj, *others):
    found = concerning(Mesh(by_resource(obj, *others)), origin_of(obj))
    return [f"{one.code.code} {one.origin}" for one in found]


def misused_port():
    return peer_authentication(
        "shop",
        "STRICT",
        selector={"matchLabels": {"app": "web"}},
        portLevelMtls={"8000": {"mode": "DISABLE"}},
    )


def test_only_what_is_about_the_object_is_told() -> None:
    dead = peer_authentication("shop", "STRICT", name="dead", selector={"matchLabels": {"a": "b"}})

    assert told(misused_port(), SHOP, WEB, SERVED, dead) == [
        "MUT0101 PeerAuthentication shop/default"
    ]


def test_an_object_that_a_finding_depends_on_is_told_about_it_too() -> None:
    assert told(SERVED, SHOP, WEB, misused_port()) == ["MUT0101 PeerAuthentication shop/default"]


def test_what_is_merely_informative_is_left_to_analyze() -> None:
    assert told(namespace("shop", None)) == []
    assert told(service("shop", "web", {"port": 80}), SHOP) == []


def test_a_workload_is_not_blamed_for_a_service_further_down_in_the_file() -> None:
    strict = peer_authentication("shop", "STRICT")

    assert told(WEB, SHOP, strict) == []
    assert told(strict, SHOP, WEB) == ["MUT0108 Deployment shop/web"]


def test_a_namespace_that_asks_for_sidecars_is_told_which_pods_wait_for_theirs() -> None:
    bare = pod("shop", "old", meshed=False, containers=[{"name": "app"}])

    found = concerning(Mesh(by_resource(SHOP, bare)), origin_of(SHOP))

    assert [one.text for one in found] == ["pod/old gets its sidecar when it is created again"]


def test_pods_of_deployments_wait_for_a_rollout() -> None:
    labels = {"pod-template-hash": "5d4"}
    pods = [
        pod("shop", f"{n}-5d4-x", meshed=False, containers=[{"name": "app"}], labels=labels)
        for n in ("api", "web")
    ]
    for one, name in zip(pods, ("api", "web"), strict=True):
        one["metadata"]["ownerReferences"] = [
            {"controller": True, "kind": "ReplicaSet", "name": f"{name}-5d4"}
        ]

    (one,) = concerning(Mesh(by_resource(SHOP, *pods)), origin_of(SHOP))

    assert one.text == (
        "deploy/api and deploy/web get their sidecars when they are created again: "
        "kubectl rollout restart deployment -n shop"
    )


REACH = [
    (peer_authentication("shop", "STRICT"), {"shop", "istio-system"}),
    (SHOP, {"shop", "istio-system"}),
    (peer_authentication("istio-system", "STRICT"), None),
    (destination_rule("shop", "web"), {"shop", "istio-system"}),
    (destination_rule("shop", "web.store.svc.cluster.local"), {"shop", "store", "istio-system"}),
    (destination_rule("shop", "example.com"), {"shop", "istio-system"}),
    (destination_rule("shop", "*.local"), None),
]


@pytest.mark.parametrize(("obj", "expected"), REACH)
def test_how_far_an_object_reaches(obj, expected) -> None:
    assert reach(obj, MeshSettings()) == (frozenset(expected) if expected else None)
