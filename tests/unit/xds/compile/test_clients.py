"""What clients are given for Services under DestinationRules and for ServiceEntries.

istio-semantics 3.1 to 3.6 and 6.
"""

# ruff: noqa: E501 - tables
from typing import Any

import pytest

from mutua.api.object import (
    DESTINATION_RULES,
    ENDPOINT_SLICES,
    PEER_AUTHENTICATIONS,
    PODS,
    SERVICE_ENTRIES,
    SERVICES,
    Object,
)
from mutua.model.build import build_snapshot
from mutua.model.settings import MeshSettings
from mutua.testing.configuration import readable
from mutua.testing.mesh import (
    destination_rule,
    endpoint_slice,
    peer_authentication,
    pod,
    service,
    service_entry,
)
from mutua.xds.compile import Compiler, compile_proxy
from mutua.xds.resource import CLUSTER, ENDPOINT, LISTENER, ROUTE, ProxyResources

WEB = "web.shop.svc.cluster.local"
HTTP = {"name": "http", "port": 80, "targetPort": 8080}
AUTO = {"port": 81, "targetPort": 8081}
CLIENT = "shop-client"
OTHER = "far-client"


def mesh(*others: Object, meshed: bool = True, **spec: Any) -> dict[Any, list[Object]]:
    first = pod("shop", "web", "10.0.0.1", meshed=meshed, labels={"version": "1"})
    second = pod("shop", "web2", "10.0.0.2", meshed=meshed, labels={"app": "web", "version": "2"})
    owner = service("shop", "web", HTTP, **spec)
    objects: dict[Any, list[Object]] = {
        PODS: [first, second, pod("shop", "client", "10.0.0.3"), pod("far", "client", "10.0.0.4")],
        SERVICES: [owner],
        ENDPOINT_SLICES: [endpoint_slice(owner, [first, second])],
    }
    kinds = {
        "DestinationRule": DESTINATION_RULES,
        "ServiceEntry": SERVICE_ENTRIES,
        "PeerAuthentication": PEER_AUTHENTICATIONS,
        "Service": SERVICES,
        "Pod": PODS,
    }
    for one in others:
        objects.setdefault(kinds[one["kind"]], []).append(one)
    return objects


def compiled(objects: dict[Any, list[Object]], uid: str = CLIENT, **settings: Any) -> Any:
    return compile_proxy(build_snapshot(objects, MeshSettings(**settings)), uid)


def rule(policy: dict[str, Any] | None, **spec: Any) -> Object:
    return destination_rule("shop", "web", policy, **spec)


def tls(mode: str, **more: Any) -> dict[str, Any]:
    return {"tls": {"mode": mode, **more}}


def cluster(resources: ProxyResources, port: int = 80, subset: str = "", host: str = WEB) -> Any:
    return readable(resources, CLUSTER)[f"outbound|{port}|{subset}|{host}"]


def flags(resources: ProxyResources, name: str = f"outbound|80||{WEB}") -> dict[str, bool]:
    assignment = readable(resources, ENDPOINT)[name]
    return {
        one["endpoint"]["address"]["socket_address"]["address"]: "metadata" in one
        for group in assignment.get("endpoints", [])
        for one in group["lb_endpoints"]
    }


def context(transport: Any) -> Any:
    return transport["typed_config"]


def validation(transport: Any) -> Any:
    common = context(transport)["common_tls_context"]
    combined = common.get("combined_validation_context", {})
    return combined.get("default_validation_context", common.get("validation_context"))


def names(transport: Any) -> list[tuple[str, str]]:
    matchers = validation(transport).get("match_typed_subject_alt_names", [])
    return [(one["san_type"], one["matcher"]["exact"]) for one in matchers]


def test_without_a_rule_mtls_is_per_endpoint() -> None:
    found = cluster(compiled(mesh()))

    assert [one["name"] for one in found["transport_socket_matches"]] == [
        "tlsMode-istio",
        "tlsMode-disabled",
    ]
    assert "metadata" not in found


def test_disable_sends_plaintext_to_all() -> None:
    found = cluster(compiled(mesh(rule(tls("DISABLE")))))

    assert "transport_socket" not in found
    assert "transport_socket_matches" not in found
    assert found["metadata"]["filter_metadata"]["istio"]["config"] == (
        "/apis/networking.istio.io/v1/namespaces/shop/destination-rule/rule"
    )


def test_istio_mutual_sends_mtls_to_all_even_without_a_sidecar() -> None:
    resources = compiled(mesh(rule(tls("ISTIO_MUTUAL")), meshed=False))
    found = cluster(resources)

    assert context(found["transport_socket"])["sni"] == f"outbound_.80_._.{WEB}"
    assert names(found["transport_socket"]) == [
        ("URI", "spiffe://cluster.local/ns/shop/sa/web"),
        ("URI", "spiffe://cluster.local/ns/shop/sa/web2"),
    ]
    assert set(flags(resources).values()) == {True}


def test_a_rule_names_server_and_identities() -> None:
    policy = tls("ISTIO_MUTUAL", sni="x.example", subjectAltNames=["spiffe://a/b", "x.example"])
    found = cluster(compiled(mesh(rule(policy))))["transport_socket"]

    assert context(found)["sni"] == "x.example"
    assert names(found) == [
        ("URI", "spiffe://a/b"),
        *((kind, "x.example") for kind in ("URI", "DNS", "IP_ADDRESS", "EMAIL")),
    ]


def test_a_port_entry_without_tls_means_automatic_but_endpoints_inherit_the_flag() -> None:
    entry = {"port": {"number": 80}, "connectionPool": {"tcp": {"maxConnections": 1}}}
    policy = {**tls("ISTIO_MUTUAL"), "portLevelSettings": [entry]}
    resources = compiled(mesh(rule(policy), meshed=False))

    assert "transport_socket_matches" in cluster(resources)
    assert set(flags(resources).values()) == {True}  # row 18b of section 3.5


def test_a_subset_has_a_cluster_with_its_endpoints() -> None:
    resources = compiled(
        mesh(
            rule(
                tls("DISABLE"),
                subsets=[
                    {"name": "v1", "labels": {"version": "1"}},
                    {
                        "name": "v2",
                        "labels": {"version": "2"},
                        "trafficPolicy": tls("ISTIO_MUTUAL"),
                    },
                ],
            )
        )
    )

    assert flags(resources, f"outbound|80|v1|{WEB}") == {"10.0.0.1": False}
    assert flags(resources, f"outbound|80|v2|{WEB}") == {"10.0.0.2": True}
    assert flags(resources) == {"10.0.0.1": False, "10.0.0.2": False}
    assert "transport_socket" not in cluster(resources, subset="v1")
    second = cluster(resources, subset="v2")
    assert context(second["transport_socket"])["sni"] == f"outbound_.80_.v2_.{WEB}"
    assert second["metadata"]["filter_metadata"]["istio"]["subset"] == "v2"


def test_simple_verifies_the_server_and_proves_nothing() -> None:
    found = cluster(compiled(mesh(rule(tls("SIMPLE", caCertificates="/ca.pem")))))
    options = found["typed_extension_protocol_options"]
    http = options["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"]

    assert validation(found["transport_socket"])["trusted_ca"] == {"filename": "/ca.pem"}
    assert "tls_certificates" not in context(found["transport_socket"])["common_tls_context"]
    assert http["upstream_http_protocol_options"] == {"auto_sni": True, "auto_san_validation": True}


def test_names_in_a_rule_replace_what_the_host_header_says() -> None:
    policy = tls("SIMPLE", sni="x.example", subjectAltNames=["y.example"])
    found = cluster(compiled(mesh(rule(policy))))
    options = found["typed_extension_protocol_options"]
    http = options["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"]

    assert context(found["transport_socket"])["sni"] == "x.example"
    assert ("DNS", "y.example") in names(found["transport_socket"])
    assert not http["upstream_http_protocol_options"]


def test_mutual_proves_with_files_of_its_own() -> None:
    files = {"clientCertificate": "/cert.pem", "privateKey": "/key.pem"}
    found = cluster(compiled(mesh(rule(tls("MUTUAL", insecureSkipVerify=True, **files)))))
    common = context(found["transport_socket"])["common_tls_context"]

    assert common["tls_certificates"] == [
        {
            "certificate_chain": {"filename": "/cert.pem"},
            "private_key": {"filename": "/key.pem"},
        }
    ]
    assert common["validation_context"] == {"trust_chain_verification": "ACCEPT_UNTRUSTED"}


def test_foreign_tls_on_a_detected_port_offers_no_token_of_the_mesh() -> None:
    objects = mesh(rule(tls("SIMPLE"), exportTo=["."]))
    objects[SERVICES] = [service("shop", "web", AUTO)]
    near, far = (readable(compiled(objects, uid), LISTENER) for uid in (CLIENT, OTHER))

    assert "set_filter_state" not in str(near["10.96.0.9_81"])
    assert "set_filter_state" in str(far["10.96.0.9_81"])


def transport(resources: ProxyResources) -> Any:
    return cluster(resources)["transport_socket"]["typed_config"]


@pytest.mark.parametrize("mode", ["SIMPLE", "MUTUAL"])
def test_a_rule_for_some_clients_has_them_ask_for_its_secret(mode: str) -> None:
    names = tls(mode, credentialName="bank", subjectAltNames=["spiffe://a/b"])
    chosen = {"matchLabels": {"app": "client"}}
    context = transport(compiled(mesh(rule(names, workloadSelector=chosen))))["common_tls_context"]

    validation = context["combined_validation_context"]
    asked = validation["validation_context_sds_secret_config"]
    assert asked["name"] == "kubernetes://bank-cacert"
    assert asked["sds_config"]["initial_fetch_timeout"] == "1s"  # nobody waits for it for ever
    (matcher,) = validation["default_validation_context"]["match_typed_subject_alt_names"]
    assert matcher["matcher"] == {"exact": "spiffe://a/b"}
    own = [one["name"] for one in context.get("tls_certificate_sds_secret_configs", [])]
    assert own == (["kubernetes://bank"] if mode == "MUTUAL" else [])


def test_a_client_may_show_a_secrets_certificate_and_verify_nobody() -> None:
    names = tls("MUTUAL", credentialName="bank", insecureSkipVerify=True)
    chosen = {"matchLabels": {"app": "client"}}
    context = transport(compiled(mesh(rule(names, workloadSelector=chosen))))["common_tls_context"]

    assert context["validation_context"] == {"trust_chain_verification": "ACCEPT_UNTRUSTED"}
    assert "kubernetes://bank" in str(context["tls_certificate_sds_secret_configs"])


def test_a_rule_for_all_clients_gives_nobody_a_secret() -> None:
    context = transport(compiled(mesh(rule(tls("SIMPLE", credentialName="bank")))))

    assert "kubernetes://" not in str(context)


@pytest.mark.parametrize(("policy", "upgraded"), [("UPGRADE", True), ("DO_NOT_UPGRADE", False)])
def test_a_rule_upgrades_http(policy: str, *, upgraded: bool) -> None:
    pool = {"connectionPool": {"http": {"h2UpgradePolicy": policy}}}
    found = cluster(compiled(mesh(rule(pool)), h2_upgrade=not upgraded))

    assert ("http2_protocol_options" in str(found)) is upgraded
    tls_context = context(found["transport_socket_matches"][0]["transport_socket"])
    alpn = tls_context["common_tls_context"]["alpn_protocols"]
    assert ("istio-h2" in alpn) is upgraded


def test_a_rule_sends_connections_where_the_client_was_going() -> None:
    found = cluster(compiled(mesh(rule({"loadBalancer": {"simple": "PASSTHROUGH"}}))))

    assert found["type"] == "ORIGINAL_DST"
    assert "transport_socket" in found


def test_rules_count_only_where_they_are_seen() -> None:
    objects = mesh(rule(tls("DISABLE"), exportTo=["."]))

    assert "transport_socket_matches" not in cluster(compiled(objects))
    assert "transport_socket_matches" in cluster(compiled(objects, OTHER))


def test_a_service_kept_private_is_not_there_for_others() -> None:
    private = {"networking.istio.io/exportTo": "."}
    objects = mesh()
    objects[SERVICES][0]["metadata"]["annotations"] = private

    assert f"outbound|80||{WEB}" in compiled(objects)[CLUSTER]
    assert f"outbound|80||{WEB}" not in compiled(objects, OTHER)[CLUSTER]
    assert "0.0.0.0_80" in compiled(objects)[LISTENER]
    assert WEB not in str(readable(compiled(objects, OTHER), ROUTE))


def test_scopes_that_follow_the_same_rules_share_layers() -> None:
    objects = mesh(destination_rule("istio-system", "*.local", tls("ISTIO_MUTUAL")))
    compiler, snapshot = Compiler(), build_snapshot(objects)

    first, second = compiler.compile(snapshot, CLIENT), compiler.compile(snapshot, OTHER)

    assert first[CLUSTER].layers[2] is second[CLUSTER].layers[2]
    assert f"outbound|80||{WEB}" in first[CLUSTER].layers[2]


def test_a_rule_that_comes_and_goes_restores_the_configuration() -> None:
    compiler = Compiler()
    before = compiler.compile(build_snapshot(mesh()), CLIENT)
    with_rule = compiler.compile(build_snapshot(mesh(rule(tls("DISABLE")))), CLIENT)
    after = compiler.compile(build_snapshot(mesh()), CLIENT)

    assert with_rule[CLUSTER].changes(before[CLUSTER]).changed
    assert not with_rule[LISTENER].changes(before[LISTENER])
    assert [dict(after[kind]) for kind in after] == [dict(before[kind]) for kind in before]


EXTERNAL = {"number": 443, "name": "tls", "protocol": "TLS"}
PLAIN = {"number": 80, "name": "http", "protocol": "HTTP"}
RAW = {"number": 9000, "name": "tcp", "protocol": "TCP"}


def test_an_external_service_is_dialled_as_it_is() -> None:
    entry = service_entry(
        "shop",
        "api.example.com",
        PLAIN,
        resolution="STATIC",
        endpoints=[{"address": "10.9.9.9", "serviceAccount": "api"}],
    )
    found = cluster(compiled(mesh(entry)), host="api.example.com")

    assert found["type"] == "EDS"
    assert "transport_socket_matches" not in found


def test_an_internal_service_gets_mtls_where_it_has_a_sidecar() -> None:
    entry = service_entry(
        "shop",
        "legacy.mesh",
        PLAIN,
        location="MESH_INTERNAL",
        resolution="STATIC",
        subjectAltNames=["spiffe://cluster.local/ns/shop/sa/old"],
        endpoints=[
            {"address": "10.9.9.1", "serviceAccount": "api", "ports": {"http": 8080}},
            {"address": "10.9.9.2", "labels": {"security.istio.io/tlsMode": "istio"}},
            {"address": "10.9.9.3", "labels": {"app": "x"}},
            {"address": "10.9.9.4"},
        ],
    )
    resources = compiled(mesh(entry))
    found = cluster(resources, host="legacy.mesh")

    assert flags(resources, "outbound|80||legacy.mesh") == {
        "10.9.9.1": True,
        "10.9.9.2": True,
        "10.9.9.3": False,
        "10.9.9.4": False,
    }
    assert names(found["transport_socket_matches"][0]["transport_socket"]) == [
        ("URI", "spiffe://cluster.local/ns/shop/sa/api"),
        ("URI", "spiffe://cluster.local/ns/shop/sa/old"),
    ]
    assert "legacy.mesh" in str(readable(resources, ROUTE)["80"])


def test_pods_that_an_entry_selects_serve_it() -> None:
    entry = service_entry(
        "shop",
        "alias.mesh",
        {**PLAIN, "targetPort": 8080},
        location="MESH_INTERNAL",
        resolution="STATIC",
        workloadSelector={"labels": {"app": "web"}},
    )
    objects = mesh(entry)
    objects[PODS][0]["status"]["conditions"] = [{"type": "Ready", "status": "True"}]

    assert flags(compiled(objects), "outbound|80||alias.mesh") == {"10.0.0.1": True}


def test_names_are_resolved_by_the_proxy() -> None:
    entry = service_entry(
        "shop", "db.example", RAW, resolution="DNS", endpoints=[{"address": "real.example"}]
    )
    found = cluster(compiled(mesh(entry)), 9000, host="db.example")

    assert found["type"] == "STRICT_DNS"
    assert "real.example" in str(found["load_assignment"])
    assert f"outbound|{9000}||db.example" not in compiled(mesh(entry))[ENDPOINT]


def test_without_endpoints_the_host_itself_is_resolved() -> None:
    entry = service_entry("shop", "db.example", RAW, resolution="DNS_ROUND_ROBIN")
    found = cluster(compiled(mesh(entry)), 9000, host="db.example")

    assert found["type"] == "LOGICAL_DNS"
    assert "'address': 'db.example'" in str(found["load_assignment"])


def test_a_subset_that_nobody_is_in_is_a_cluster_that_envoy_takes() -> None:
    entry = service_entry("shop", "db.example", RAW, resolution="DNS_ROUND_ROBIN")
    subset = {"name": "v1", "labels": {"version": "v1"}}
    rule = destination_rule("shop", "db.example", subsets=[subset])
    found = readable(compiled(mesh(entry, rule)), CLUSTER)["outbound|9000|v1|db.example"]

    # LOGICAL_DNS must have exactly one endpoint.
    assert found["type"] == "STRICT_DNS"
    assert "endpoints" not in found["load_assignment"]


def test_without_an_address_tls_is_told_apart_by_its_server_name() -> None:
    entries = [
        service_entry("shop", "a.example", EXTERNAL, name="a", resolution="DNS"),
        service_entry("shop", "*.b.example", EXTERNAL, name="b"),
    ]
    listener = readable(compiled(mesh(*entries)), LISTENER)["0.0.0.0_443"]

    found = [one["filter_chain_match"]["server_names"] for one in listener["filter_chains"]]
    assert found == [["a.example"], ["*.b.example"]]
    assert listener["default_filter_chain"]["name"] == "PassthroughCluster"


def test_tcp_goes_by_address_by_network_or_takes_everything() -> None:
    entries = [
        service_entry("shop", "a", RAW, name="a", addresses=["10.8.0.1"]),
        service_entry("shop", "b", RAW, name="b", addresses=["10.8.1.0/24"]),
        service_entry("shop", "c", RAW, name="c"),
    ]
    listeners = readable(compiled(mesh(*entries)), LISTENER)
    shared = listeners["0.0.0.0_9000"]

    assert "outbound|9000||a" in str(listeners["10.8.0.1_9000"])
    ranges = shared["filter_chains"][0]["filter_chain_match"]["prefix_ranges"]
    assert ranges == [{"address_prefix": "10.8.1.0", "prefix_len": 24}]
    assert "outbound|9000||c" in str(shared["default_filter_chain"])


def taker(resources: ProxyResources) -> str:
    """Return the cluster of connections to port 9000 that nobody else has an address for."""
    last = readable(resources, LISTENER)["0.0.0.0_9000"]["default_filter_chain"]["filters"][-1]
    return str(last["typed_config"]["cluster"])


# fmt: off
TAKERS = [
    #            entries, oldest first: namespace, exportTo                    for shop, far
    pytest.param([("shop", "*"), ("shop", "*")],                               "a", "a", id="the oldest"),
    pytest.param([("far", "*"), ("shop", ".")],                                "b", "a", id="what a namespace keeps to itself comes first"),
    pytest.param([("shop", "."), ("far", "*")],                                "a", "b", id="whatever its age"),
    pytest.param([("far", "*"), ("far", "shop")],                              "b", "a", id="then what is exported to it by name"),
    pytest.param([("far", "shop"), ("shop", ".")],                             "b", "",  id="which is not its own"),
    pytest.param([("shop", "*"), ("far", "*"), ("far", ".")],                  "a", "c", id="then what everybody sees"),
    pytest.param([("shop", ".,far"), ("shop", "."), ("far", ".")],             "a", "c", id="its own is its own, exported or not"),
]
# fmt: on


@pytest.mark.parametrize(("entries", "shop", "far"), TAKERS)
@pytest.mark.parametrize("ruled", ["", "a", "b"])
def test_who_takes_a_port_that_several_entries_claim(
    entries: list[tuple[str, str]], shop: str, far: str, ruled: str
) -> None:
    made = [
        service_entry(
            namespace,
            name,
            RAW,
            name=name,
            created=f"2026-01-01T00:00:0{age}Z",
            exportTo=exported.split(","),
        )
        for age, (name, (namespace, exported)) in enumerate(zip("abc", entries, strict=False))
    ]
    # A rule about one of them says nothing about its place.
    rules = [destination_rule("istio-system", ruled, tls("DISABLE"))] if ruled else []
    objects = mesh(*reversed(made), *rules)

    def expected(name: str) -> str:
        return f"outbound|9000||{name}" if name else "PassthroughCluster"

    assert taker(compiled(objects)) == expected(shop)
    if far:
        assert taker(compiled(objects, OTHER)) == expected(far)
    else:
        assert "0.0.0.0_9000" not in readable(compiled(objects, OTHER), LISTENER)


def test_a_kubernetes_service_owns_its_name() -> None:
    entry = service_entry(
        "far", WEB, PLAIN, resolution="STATIC", endpoints=[{"address": "1.2.3.4"}]
    )

    assert flags(compiled(mesh(entry))) == {"10.0.0.1": True, "10.0.0.2": True}


@pytest.mark.parametrize("seen", [".", "*"])
def test_one_host_in_two_namespaces_is_each_clients_own(seen: str) -> None:
    entries = [
        service_entry(
            namespace,
            "x.example",
            {**PLAIN, "protocol": "HTTP"},
            {**PLAIN, "name": "only", "number": port, "protocol": "HTTP"},
            resolution="STATIC",
            exportTo=[seen],
            endpoints=[{"address": address}],
        )
        for namespace, address, port in (("shop", "10.9.0.1", 81), ("far", "10.9.0.2", 82))
    ]

    near, far = (compiled(mesh(*entries), uid) for uid in (CLIENT, OTHER))
    assert set(flags(near, "outbound|80||x.example")) == {"10.9.0.1"}
    assert set(flags(far, "outbound|80||x.example")) == {"10.9.0.2"}
    for client, port in ((near, 81), (far, 82)):
        assert f"outbound|{port}||x.example" in str(readable(client, ROUTE)[str(port)])


def test_a_namespace_that_is_switched_off_switches_off_what_has_no_rule() -> None:
    off = peer_authentication("shop", "DISABLE")

    assert "transport_socket_matches" not in cluster(compiled(mesh(off)))
    explicit = cluster(compiled(mesh(off, rule(tls("ISTIO_MUTUAL")))))
    assert "transport_socket" in explicit
