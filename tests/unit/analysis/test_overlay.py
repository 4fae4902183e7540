"""What the mesh would be with manifests applied."""

from mutua.analysis.mesh import Mesh
from mutua.analysis.overlay import LATER, overlay
from mutua.api.object import DEPLOYMENTS, PEER_AUTHENTICATIONS, PODS
from mutua.testing.mesh import by_resource, deployment, namespace, peer_authentication, pod

SHOP = namespace("shop")


def made_by(name: str):
    owned = pod("shop", f"{name}-5d4-x", labels={"app": name, "pod-template-hash": "5d4"})
    owned["metadata"]["ownerReferences"] = [
        {"controller": True, "kind": "ReplicaSet", "name": f"{name}-5d4"}
    ]
    return owned


def test_a_new_object_is_younger_than_everything() -> None:
    live = by_resource(peer_authentication("shop", "STRICT", name="z"))

    found = overlay(live, [peer_authentication("shop", "DISABLE", name="a", created="")])

    metadata = [one["metadata"] for one in found[PEER_AUTHENTICATIONS]]
    assert {one["name"]: one["creationTimestamp"] for one in metadata} == {
        "z": "2026-01-01T00:00:00Z",
        "a": LATER,
    }


def test_an_object_that_exists_keeps_its_age_and_its_status() -> None:
    old = peer_authentication("shop", "STRICT") | {"status": {"conditions": []}}

    (new,) = overlay(by_resource(old), [peer_authentication("shop", "DISABLE", created="")])[
        PEER_AUTHENTICATIONS
    ]

    assert new["spec"]["mtls"] == {"mode": "DISABLE"}
    assert (new["metadata"]["creationTimestamp"], new["status"]) == (
        "2026-01-01T00:00:00Z",
        {"conditions": []},
    )


def test_another_template_takes_the_place_of_the_pods() -> None:
    live = by_resource(SHOP, deployment("shop", "web", 80), made_by("web"), made_by("db"))

    same = overlay(live, [])
    other = overlay(live, [deployment("shop", "web", 81)])

    assert [one["metadata"]["name"] for one in same[PODS]] == ["web-5d4-x", "db-5d4-x"]
    assert [one["metadata"]["name"] for one in other[PODS]] == ["db-5d4-x"]
    assert [one.ports for one in Mesh(other).groups_in("shop") if one.name == "deploy/web"] == [
        frozenset({81})
    ]


def test_a_pod_that_exists_stays_what_it_is() -> None:
    running = pod("shop", "web", containers=[{"name": "app"}, {"name": "istio-proxy"}])
    written = pod("shop", "web", meshed=False, containers=[{"name": "app"}])

    assert overlay(by_resource(running), [written])[PODS] == (running,)


def test_a_written_pod_will_be_injected_as_its_namespace_says() -> None:
    written = pod("shop", "web", meshed=False, containers=[{"name": "app"}])

    def is_meshed(*live) -> bool:
        (group,) = Mesh(overlay(by_resource(*live), [written])).groups_in("shop")
        return group.is_meshed

    assert is_meshed(SHOP)
    assert not is_meshed(namespace("shop", "disabled"))
    assert is_meshed()  # nobody has shown us the namespace


def test_replicas_are_one_group_and_a_deployment_without_replicas_has_none() -> None:
    second = made_by("web")
    second["metadata"] |= {"name": "web-5d4-y", "uid": "second"}
    idle = deployment("shop", "idle")
    idle["spec"]["replicas"] = 0

    mesh = Mesh(by_resource(SHOP, deployment("shop", "web"), made_by("web"), second, idle))

    assert [(one.name, len(one.pods)) for one in mesh.groups_in("shop")] == [("deploy/web", 2)]


def test_the_deployment_itself_is_stored_with_defaults() -> None:
    (found,) = overlay({}, [deployment("shop", "web")])[DEPLOYMENTS]

    assert found["spec"]["replicas"] == 1
