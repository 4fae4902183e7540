import copy

import pytest

from mutua.api.object import ENDPOINT_SLICES, PEER_AUTHENTICATIONS, PODS, SERVICES, Object
from mutua.model.build import BuildMemo, build_snapshot
from mutua.model.service import Protocol, ServiceName
from mutua.model.settings import MeshSettings
from mutua.model.workload import Endpoint, InboundPort
from mutua.testing.mesh import endpoint_slice, peer_authentication, pod, service

HTTP = {"name": "http", "port": 80, "targetPort": 8080}
WEB_POD = pod("shop", "web", "10.244.0.2")
WEB = service("shop", "web", HTTP)


def mesh() -> dict[object, list[Object]]:
    return {
        PODS: [WEB_POD],
        SERVICES: [WEB],
        ENDPOINT_SLICES: [endpoint_slice(WEB, [WEB_POD])],
        PEER_AUTHENTICATIONS: [peer_authentication("shop", "STRICT")],
    }


def test_endpoints_are_joined_with_their_pods() -> None:
    snapshot = build_snapshot(mesh())

    workload = snapshot.workloads["shop-web"]
    assert snapshot.endpoints == {
        ServiceName("shop", "web"): {80: (Endpoint("10.244.0.2", 8080, True, workload),)}
    }
    assert workload.service_account == "web"
    assert workload.accepts_mutual_tls


def test_an_endpoint_without_a_reference_is_found_by_its_address() -> None:
    objects = mesh()
    piece = endpoint_slice(WEB, [WEB_POD])
    del piece["endpoints"][0]["targetRef"]
    objects[ENDPOINT_SLICES] = [piece]

    snapshot = build_snapshot(objects)

    (endpoint,) = snapshot.endpoints[ServiceName("shop", "web")][80]
    assert endpoint.workload is snapshot.workloads["shop-web"]


def test_a_service_without_slices_has_no_endpoints() -> None:
    snapshot = build_snapshot({SERVICES: [WEB]})

    assert snapshot.endpoints == {ServiceName("shop", "web"): {80: ()}}


@pytest.mark.parametrize(
    ("annotations", "identities"),
    [
        ({}, ()),
        (
            {"alpha.istio.io/kubernetes-serviceaccounts": "till, vault"},
            ("spiffe://cluster.local/ns/shop/sa/till", "spiffe://cluster.local/ns/shop/sa/vault"),
        ),
        (
            {"alpha.istio.io/canonical-serviceaccounts": "spiffe://old.local/ns/bank/sa/till"},
            ("spiffe://old.local/ns/bank/sa/till",),
        ),
        (
            {
                "alpha.istio.io/kubernetes-serviceaccounts": "till",
                "alpha.istio.io/canonical-serviceaccounts": "spiffe://a.b/ns/c/sa/d,till@bank",
            },
            ("spiffe://a.b/ns/c/sa/d", "spiffe://cluster.local/ns/shop/sa/till", "till@bank"),
        ),
    ],
)
def test_a_service_names_further_identities_of_its_servers(
    annotations: dict[str, str], identities: tuple[str, ...]
) -> None:
    named = copy.deepcopy(WEB)
    named["metadata"]["annotations"] = annotations

    (found,) = build_snapshot(mesh() | {SERVICES: [named]}).services

    assert found.identities == identities


def test_external_names_and_finished_pods_are_not_in_the_mesh() -> None:
    finished = pod("shop", "job") | {"status": {"phase": "Succeeded"}}
    alias = service("shop", "alias", type="ExternalName", externalName="example.org")

    snapshot = build_snapshot({PODS: [finished], SERVICES: [alias]})

    assert (snapshot.services, dict(snapshot.workloads)) == ((), {})


def test_inbound_ports_are_container_ports_and_the_oldest_service_wins() -> None:
    younger = service(
        "shop", "young", {"name": "tcp", "port": 1, "targetPort": 8080},
        created="2026-01-02T00:00:00Z", selector={"app": "web"},
    )  # fmt: skip
    named = service("shop", "named", {"port": 2, "targetPort": "admin"}, selector={"app": "web"})
    foreign = service("other", "web", {"name": "tcp", "port": 3})
    container = {"ports": [{"name": "admin", "containerPort": 9900}]}
    web = pod("shop", "web", containers=[container])

    snapshot = build_snapshot({PODS: [web], SERVICES: [younger, named, WEB, foreign]})

    assert snapshot.inbound_ports["shop-web"] == (
        InboundPort(8080, Protocol.HTTP),
        InboundPort(9900, Protocol.AUTO),
    )


def test_services_are_ordered_by_age() -> None:
    old = service("b", "old", created="2025-01-01T00:00:00Z")

    snapshot = build_snapshot({SERVICES: [WEB, old]})

    assert [found.id.name for found in snapshot.services] == ["old", "web"]


def test_a_policy_that_admission_would_refuse_is_left_out() -> None:
    bad = peer_authentication("shop", "LOUD")

    assert build_snapshot({PEER_AUTHENTICATIONS: [bad]}).peer_authentications == ()


def test_what_did_not_change_stays_the_same_object() -> None:
    memo = BuildMemo()
    first = build_snapshot(mesh(), memo=memo)
    changed = mesh() | {PEER_AUTHENTICATIONS: [peer_authentication("shop", "DISABLE")]}
    # A heartbeat: another object, nothing that matters to the mesh.
    changed[PODS] = [copy.deepcopy(WEB_POD) | {"status": {**WEB_POD["status"], "conditions": []}}]

    second = build_snapshot(changed, memo=memo)

    assert second.services is first.services
    assert second.workloads is first.workloads
    assert second.endpoints is first.endpoints
    assert second.inbound_ports is first.inbound_ports
    assert second.peer_authentications != first.peer_authentications


def test_a_memo_changes_nothing_but_the_cost() -> None:
    memo = BuildMemo()
    build_snapshot(mesh(), memo=memo)
    moved = pod("shop", "web", "10.244.0.7")
    changed = mesh() | {PODS: [moved], ENDPOINT_SLICES: [endpoint_slice(WEB, [moved])]}

    assert build_snapshot(changed, memo=memo) == build_snapshot(changed)


def test_other_settings_make_a_memo_forget() -> None:
    memo = BuildMemo()
    build_snapshot(mesh(), memo=memo)
    settings = MeshSettings(trust_domain="td2", dns_domain="td2")

    assert build_snapshot(mesh(), settings, memo=memo) == build_snapshot(mesh(), settings)


def test_other_files_in_a_proxy_are_told_from_other_changes() -> None:
    def filled(pod: Object, version: str) -> Object:
        condition = {"type": "mutua.io/ProxyFiles", "status": "True", "message": version}
        return {**pod, "status": {**pod["status"], "conditions": [condition]}}

    other = pod("shop", "other", "10.244.0.3")
    before = build_snapshot({PODS: [filled(WEB_POD, "secrets/bank 1"), filled(other, "x")]})
    moved = {**other, "status": {**other["status"], "podIP": "10.244.0.4"}}
    after = build_snapshot(
        {PODS: [filled(WEB_POD, "secrets/bank 2"), filled(moved, "x"), pod("shop", "new")]}
    )

    assert after.workloads["shop-web"].files == "secrets/bank 2"
    assert after.other_files(before) == {"shop-web"}
    assert after.other_files(None) == after.other_files(after) == frozenset()
