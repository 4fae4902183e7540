"""The compiler's economy: what is shared, what stays the same object, what a change touches."""

import time

import pytest

from mutua.api.object import (
    DESTINATION_RULES,
    ENDPOINT_SLICES,
    PEER_AUTHENTICATIONS,
    PODS,
    SERVICES,
    Object,
)
from mutua.model.build import BuildMemo, build_snapshot
from mutua.model.settings import MeshSettings
from mutua.testing.mesh import destination_rule, endpoint_slice, peer_authentication, pod, service
from mutua.xds.compile import Compiler, compile_proxy
from mutua.xds.compile.tls import TLS
from mutua.xds.proto import Cluster, Listener, RouteConfiguration, UpstreamTlsContext
from mutua.xds.resource import CLUSTER, ENDPOINT, LISTENER, ROUTE

HTTP = {"name": "http", "port": 80, "targetPort": 8080}


def mesh(services: int, *, namespaces: int = 10) -> dict[object, list[Object]]:
    pods, owners, slices = [], [], []
    for number in range(services):
        namespace, name = f"n{number % namespaces}", f"s{number}"
        high, low = divmod(number, 250)
        pods.append(pod(namespace, name, f"10.244.{high}.{low + 2}"))
        owners.append(service(namespace, name, HTTP, address=f"10.96.{high}.{low + 2}"))
        slices.append(endpoint_slice(owners[-1], pods[-1:]))
    return {PODS: pods, SERVICES: owners, ENDPOINT_SLICES: slices}


def uids(objects: dict[object, list[Object]]) -> list[str]:
    return [one["metadata"]["uid"] for one in objects[PODS]]


def domains(body: bytes) -> list[str]:
    return [d for host in RouteConfiguration.FromString(body).virtual_hosts for d in host.domains]


def test_proxies_share_what_does_not_depend_on_them() -> None:
    objects = mesh(4, namespaces=2)
    compiler, snapshot = Compiler(), build_snapshot(objects)

    first, other, neighbour = (
        compiler.compile(snapshot, uid) for uid in ("n0-s0", "n1-s1", "n0-s2")
    )

    for kind in (CLUSTER, ENDPOINT, LISTENER):
        assert first[kind].layers[0] is other[kind].layers[0]
    assert first[LISTENER].layers[1] is other[LISTENER].layers[1]  # pods of one shape
    assert first[ROUTE].layers[0] is neighbour[ROUTE].layers[0]
    assert first[ROUTE].layers[0] is not other[ROUTE].layers[0]


@pytest.mark.parametrize("ready", [True, False])
def test_a_headless_pod_has_its_listener_before_its_name_resolves(*, ready: bool) -> None:
    web = pod("shop", "web", "10.244.0.2")
    headless = service("shop", "web", {"name": "tcp-echo", "port": 9000}, address="None")
    slices = [endpoint_slice(headless, [web], ready=ready)]
    snapshot = build_snapshot({PODS: [web], SERVICES: [headless], ENDPOINT_SLICES: slices})

    assert "10.244.0.2_9000" in compile_proxy(snapshot, "shop-web")[LISTENER]


@pytest.mark.parametrize("left", ["finished", "gone"])
def test_a_pod_that_ends_before_its_slice_follows_takes_mutual_tls_from_nobody(left: str) -> None:
    stays, ends = pod("shop", "web-0", "10.244.0.2"), pod("shop", "web-1", "10.244.0.3")
    headless = service("shop", "web", {"name": "tcp-echo", "port": 9000}, address="None")
    finished = ends | {"status": {"phase": "Failed", "podIP": "10.244.0.3"}}
    objects = {
        PODS: [stays, finished] if left == "finished" else [stays],
        SERVICES: [headless],
        ENDPOINT_SLICES: [endpoint_slice(headless, [stays, ends])],
    }

    compiled = compile_proxy(build_snapshot(objects), "shop-web-0")

    body = compiled[CLUSTER]["outbound|9000||web.shop.svc.cluster.local"].body
    assert Cluster.FromString(body).transport_socket.name == TLS
    assert "10.244.0.3_9000" not in compiled[LISTENER]


def test_short_names_mean_the_clients_own_namespace() -> None:
    snapshot = build_snapshot(mesh(2, namespaces=2))

    found = domains(compile_proxy(snapshot, "n0-s0")[ROUTE]["80"].body)

    assert found == [
        "s0.n0.svc.cluster.local", "s0.n0.svc", "s0.n0", "s0", "10.96.0.2",
        "s1.n1.svc.cluster.local", "s1.n1.svc", "s1.n1", "10.96.0.3",
        "*",
    ]  # fmt: skip


def test_nothing_new_gives_the_same_object() -> None:
    objects, memo, compiler = mesh(3), BuildMemo(), Compiler()
    before = compiler.compile(build_snapshot(objects, memo=memo), "n0-s0")

    after = compiler.compile(build_snapshot(objects, memo=memo), "n0-s0")

    assert after is before


def test_a_policy_changes_only_the_listener_of_the_pods_it_governs() -> None:
    objects, memo, compiler = mesh(4, namespaces=2), BuildMemo(), Compiler()
    snapshot = build_snapshot(objects, memo=memo)
    before = {uid: compiler.compile(snapshot, uid) for uid in uids(objects)}
    strict = peer_authentication("n1", "STRICT")

    snapshot = build_snapshot(objects | {PEER_AUTHENTICATIONS: [strict]}, memo=memo)
    after = {uid: compiler.compile(snapshot, uid) for uid in uids(objects)}

    for uid, compiled in after.items():
        touched = {
            kind: [one.name for one in found.changes(before[uid][kind]).changed]
            for kind, found in compiled.items()
            if found.changes(before[uid][kind])
        }
        assert touched == ({LISTENER: ["virtualInbound"]} if uid.startswith("n1-") else {})


def test_a_policy_that_is_taken_back_restores_the_configuration() -> None:
    objects, memo, compiler = mesh(2), BuildMemo(), Compiler()
    policy = {PEER_AUTHENTICATIONS: [peer_authentication("n0", "DISABLE")]}
    before = compiler.compile(build_snapshot(objects, memo=memo), "n0-s0")
    compiler.compile(build_snapshot(objects | policy, memo=memo), "n0-s0")

    after = compiler.compile(build_snapshot(objects, memo=memo), "n0-s0")

    assert [dict(after[kind]) for kind in after] == [dict(before[kind]) for kind in before]


@pytest.mark.parametrize("settings", [MeshSettings(), MeshSettings(allow_any_outbound=False)])
def test_remembering_changes_nothing_but_the_cost(settings: MeshSettings) -> None:
    objects, memo, compiler = mesh(5), BuildMemo(), Compiler()
    policy = {PEER_AUTHENTICATIONS: [peer_authentication("n1", "DISABLE")]}
    compiler.compile(build_snapshot(objects, settings, memo=memo), "n0-s0")
    moved = mesh(3) | policy
    snapshot = build_snapshot(moved, settings, memo=memo)

    for uid in uids(moved):
        remembered, fresh = compiler.compile(snapshot, uid), compile_proxy(snapshot, uid)
        assert [dict(remembered[kind]) for kind in fresh] == [dict(fresh[kind]) for kind in fresh]


def test_two_services_with_one_address_for_a_moment_do_not_break_the_route() -> None:
    owners = [service("a", "x", HTTP), service("a", "y", HTTP)]

    found = domains(
        compile_proxy(build_snapshot({SERVICES: owners, PODS: [pod("a", "x")]}), "a-x")[ROUTE][
            "80"
        ].body
    )

    assert len(found) == len(set(found))


def test_an_http_service_on_a_port_of_the_proxy_gets_no_listener() -> None:
    owner = service("a", "x", {"name": "http", "port": 15001})
    snapshot = build_snapshot({SERVICES: [owner], PODS: [pod("a", "x")]})

    assert "0.0.0.0_15001" not in compile_proxy(snapshot, "a-x")[LISTENER]


def test_registry_only_refuses_unknown_destinations() -> None:
    settings = MeshSettings(allow_any_outbound=False)
    compiled = compile_proxy(build_snapshot(mesh(1), settings), "n0-s0")

    listener = Listener.FromString(compiled[LISTENER]["virtualOutbound"].body)
    route = RouteConfiguration.FromString(compiled[ROUTE]["80"].body)

    assert listener.default_filter_chain.filters[0].typed_config.value.count(b"BlackHoleCluster")
    assert route.virtual_hosts[-1].routes[0].direct_response.status == 502


def test_servers_without_a_known_identity_must_still_be_of_the_trust_domain() -> None:
    owner = service("a", "x", HTTP)
    compiled = compile_proxy(build_snapshot({SERVICES: [owner], PODS: [pod("a", "x")]}), "a-x")

    cluster = Cluster.FromString(compiled[CLUSTER]["outbound|80||x.a.svc.cluster.local"].body)

    tls = cluster.transport_socket_matches[0].transport_socket.typed_config.value
    assert b"spiffe://cluster.local/" in tls


def test_a_policy_change_in_a_large_mesh_costs_well_under_a_second() -> None:
    """1,000 services and 1,000 proxies; the bound is loose, the benchmark has the figure."""
    objects, memo, compiler = mesh(1000), BuildMemo(), Compiler()
    snapshot = build_snapshot(objects, memo=memo)
    before = {uid: compiler.compile(snapshot, uid) for uid in snapshot.workloads}
    policy = {PEER_AUTHENTICATIONS: [peer_authentication("n1", "STRICT")]}
    start = time.process_time()

    snapshot = build_snapshot(objects | policy, memo=memo)
    after = {uid: compiler.compile(snapshot, uid) for uid in snapshot.workloads}
    pushed = sum(
        len(found.changes(before[uid][kind]).changed)
        for uid, compiled in after.items()
        if compiled is not before[uid]
        for kind, found in compiled.items()
    )

    elapsed = time.process_time() - start
    assert pushed == 100
    assert elapsed < 1.0


OWN = {
    "clientCertificate": "/etc/certs/cert-chain.pem",
    "privateKey": "/etc/certs/key.pem",
    "caCertificates": "/etc/certs/root-cert.pem",
}
"""The files of the proxy's own certificate."""


@pytest.mark.parametrize(
    ("files", "served"),
    [
        pytest.param({}, {"default", "ROOTCA"}, id="all of its own"),
        pytest.param({"caCertificates": "/etc/bank/ca.crt"}, {"default"}, id="others' roots"),
        pytest.param({"caCrl": "/etc/bank/crl"}, {"default"}, id="a revocation list"),
        pytest.param({"insecureSkipVerify": True}, {"default"}, id="no verification"),
        pytest.param({"privateKey": "/etc/bank/key.pem"}, {"ROOTCA"}, id="another key"),
    ],
)
def test_a_proxys_own_certificate_is_not_read_from_its_files(
    files: dict[str, object], served: set[str]
) -> None:
    rule = destination_rule("n0", "s0", {"tls": {"mode": "MUTUAL", **OWN, **files}})
    snapshot = build_snapshot(mesh(1) | {DESTINATION_RULES: [rule]})

    compiled = compile_proxy(snapshot, "n0-s0")[CLUSTER]["outbound|80||s0.n0.svc.cluster.local"]

    context = UpstreamTlsContext.FromString(
        Cluster.FromString(compiled.body).transport_socket.typed_config.value
    ).common_tls_context
    roots = context.combined_validation_context.validation_context_sds_secret_config
    found = [*context.tls_certificate_sds_secret_configs, roots]
    assert {one.name for one in found} - {""} == served
    assert bool(context.tls_certificates) == ("default" not in served)
    assert context.HasField("validation_context") == ("ROOTCA" not in served)


def with_files(pod: Object, version: str) -> Object:
    condition = {"type": "mutua.io/ProxyFiles", "status": "True", "message": version}
    return {**pod, "status": {**pod["status"], "conditions": [condition]}}


def test_other_files_change_the_clusters_that_name_files_and_nothing_else() -> None:
    objects, memo, compiler = mesh(3, namespaces=1), BuildMemo(), Compiler()
    rules = [
        destination_rule("n0", "s0", {"tls": {"mode": "SIMPLE", "caCertificates": "/etc/ca"}}),
        destination_rule("n0", "s1", {"tls": {"mode": "SIMPLE"}}, name="system"),
    ]
    reader, other, idle = objects[PODS]
    objects |= {DESTINATION_RULES: rules}
    objects[PODS] = [with_files(reader, "secrets/a 1"), with_files(other, "secrets/a 1"), idle]
    snapshot = build_snapshot(objects, memo=memo)
    before = {uid: compiler.compile(snapshot, uid) for uid in uids(objects)}
    assert before["n0-s0"][CLUSTER].layers[3] is before["n0-s1"][CLUSTER].layers[3]

    objects[PODS] = [with_files(reader, "secrets/a 2"), *objects[PODS][1:]]
    snapshot = build_snapshot(objects, memo=memo)
    after = {uid: compiler.compile(snapshot, uid) for uid in uids(objects)}

    assert after["n0-s1"] is before["n0-s1"]
    assert after["n0-s2"] is before["n0-s2"]
    for kind, found in after["n0-s0"].items():
        changes = found.changes(before["n0-s0"][kind])
        names = ["outbound|80||s0.n0.svc.cluster.local"] if kind == CLUSTER else []
        assert [one.name for one in changes.changed] == names
        assert not changes.removed
    (name,) = after["n0-s2"][CLUSTER].layers[3]
    plain, old, new = (
        Cluster.FromString(found[CLUSTER][name].body)
        for found in (before["n0-s2"], before["n0-s0"], after["n0-s0"])
    )
    assert old != new
    for one, version in ((old, "1"), (new, "2")):
        assert one.metadata.filter_metadata["mutua"]["files"] == f"secrets/a {version}"
        assert one.metadata.filter_metadata["istio"] == plain.metadata.filter_metadata["istio"]
        del one.metadata.filter_metadata["mutua"]
        assert one == plain
