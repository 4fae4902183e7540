"""From Envoy's config dump to istioctl's names and rows."""

import base64
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mutua.cli.istioctl import clusters, endpoints, listeners, routes, secrets
from mutua.cli.istioctl.dump import readable, section
from mutua.cli.istioctl.sync import client_config, judge
from mutua.foundation.errors import Rejected
from mutua.foundation.spiffe import SpiffeId
from mutua.identity.authority import Authority
from mutua.identity.csr import new_request
from mutua.identity.x509 import self_signed_ca
from mutua.testing.clock import ManualClock

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)

TYPE = "type.googleapis.com/envoy.admin.v3."


def test_field_names_become_json_names_and_users_keys_stay() -> None:
    dump = {
        "dynamic_active_secrets": [{"version_info": "1"}],
        "node": {"metadata": {"MY_key": {"snake_case": 1}}},
        "metadata": {"filter_metadata": {"istio": {"default_original_port": 80}}},
        "typed_config": {"@type": TYPE + "X", "envoy.filters.http.router": {"a_b": 1}},
    }

    assert readable(dump) == {
        "dynamicActiveSecrets": [{"versionInfo": "1"}],
        "node": {"metadata": {"MY_key": {"snake_case": 1}}},
        "metadata": {"filterMetadata": {"istio": {"default_original_port": 80}}},
        "typedConfig": {"@type": TYPE + "X", "envoy.filters.http.router": {"aB": 1}},
    }
    assert readable(readable(dump)) == readable(dump)


@pytest.mark.parametrize("field", ["private_key", "privateKey", "password", "session_ticket_keys"])
def test_secrets_never_pass(field) -> None:
    shown = readable({"secret": {"tls_certificate": {field: {"inline_bytes": "c2VjcmV0"}}}})

    assert "c2VjcmV0" not in str(shown)


def test_what_is_no_dump_is_refused() -> None:
    with pytest.raises(Rejected, match="not an Envoy config dump"):
        section({"hello": 1}, "ClustersConfigDump")


def test_cluster_names_become_columns() -> None:
    found = [
        {"name": "outbound|8000|v1|web.shop.svc.cluster.local", "type": "EDS"},
        {"name": "inbound|80||", "type": "ORIGINAL_DST"},
        {"name": "xds-grpc"},
        {"name": "outbound|80||web.shop.svc.cluster.local", "type": "EDS", "metadata": {
            "filterMetadata": {"istio": {
                "config": "/apis/networking.istio.io/v1/namespaces/shop/destination-rule/web"}}}},
    ]  # fmt: skip

    assert clusters.rows(clusters.select(found, {})) == [
        ("", "80", "-", "inbound", "ORIGINAL_DST", ""),
        ("web.shop.svc.cluster.local", "80", "-", "outbound", "EDS", "web.shop"),
        ("web.shop.svc.cluster.local", "8000", "v1", "outbound", "EDS", ""),
        ("xds-grpc", "-", "-", "-", "STATIC", ""),
    ]
    assert len(clusters.select(found, {"direction": "outbound", "port": "80"})) == 1


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        ({}, "ALL"),
        ({"destinationPort": 80}, "Addr: *:80"),
        ({"serverNames": ["a", "b"]}, "SNI: a,b"),
        (
            {"transportProtocol": "tls", "applicationProtocols": ["istio", "istio-peer-exchange"]},
            "Trans: tls; App: TCP TLS",
        ),
        ({"applicationProtocols": ["http/1.1", "h2c"]}, "App: HTTP"),
        ({"applicationProtocols": ["x", "y"]}, "App: x,y"),
        (
            {
                "prefixRanges": [{"addressPrefix": "10.0.0.1", "prefixLen": 32}],
                "destinationPort": 9,
            },
            "Addr: 10.0.0.1/32:9",
        ),
    ],
)
def test_what_a_filter_chain_matches(match, expected) -> None:
    assert listeners.match_of(match) == expected


def _chain(kind, **config):
    return {"filters": [{"typedConfig": {"@type": f"type.googleapis.com/x.{kind}", **config}}]}


def _inline(match, cluster="inbound|80||"):
    return _chain(
        "HttpConnectionManager",
        routeConfig={
            "virtualHosts": [{"routes": [{"match": match, "route": {"cluster": cluster}}]}]
        },
    )


@pytest.mark.parametrize(
    ("chain", "expected"),
    [
        (_chain("HttpConnectionManager", rds={"routeConfigName": "8000"}), "Route: 8000"),
        (_inline({"prefix": "/"}), "Cluster: inbound|80||"),
        (_inline({"path": "/ready"}), "Inline Route: /ready"),
        (_inline({"prefix": "/a"}), "Inline Route: /a*"),
        (_chain("TcpProxy", cluster="inbound|9||"), "Cluster: inbound|9||"),
        (_chain("TcpProxy", cluster="PassthroughCluster"), "PassthroughCluster"),
        (_chain("Echo"), "Non-HTTP/Non-TCP"),
    ],
)
def test_where_a_filter_chain_leads(chain, expected) -> None:
    assert listeners.destination_of(chain) == expected


def test_listeners_by_port_with_their_type_and_default_chain() -> None:
    def listener(port, *chains, default=None):
        address = {"socketAddress": {"address": "0.0.0.0", "portValue": port}}
        return {"address": address, "filterChains": chains, "defaultFilterChain": default}

    found = [
        listener(9000, _inline({"prefix": "/"}), default=_chain("TcpProxy", cluster="X")),
        listener(80, _chain("TcpProxy", cluster="Y")),
    ]

    assert listeners.short_rows(listeners.select(found)) == [
        ("0.0.0.0", "80", "TCP"),
        ("0.0.0.0", "9000", "HTTP+TCP"),
    ]
    assert len(listeners.rows(found)) == 3
    assert listeners.select(found, kind="tcp") == [found[1]]


def test_routes_say_404_where_nothing_answers() -> None:
    found = [{"name": "80", "virtualHosts": [
        {"name": "empty", "domains": ["a"]},
        {"name": "web", "domains": ["web", "web:80", "web.shop", "web.shop.svc"], "routes": [
            {"match": {"prefix": "/"}, "route": {"cluster": "c"}},
            {"match": {"path": "/x"}},
        ]},
    ]}]  # fmt: skip

    assert routes.rows(found) == [
        ("80", "empty", "a", "/*", "404"),
        ("80", "web", "web, web.shop + 1 more...", "/*", ""),
        ("80", "web", "web, web.shop + 1 more...", "/x", "404"),
    ]


def test_routes_come_in_the_order_of_their_ports() -> None:
    assert [one["name"] for one in routes.select([{"name": "8000"}, {"name": "80"}])] == [
        "80", "8000",
    ]  # fmt: skip


def test_endpoints_with_their_health() -> None:
    socket = {"socketAddress": {"address": "10.0.0.1", "portValue": 80}}
    found = [
        {"name": "c", "hostStatuses": [
            {"address": socket, "healthStatus": {"edsHealthStatus": "HEALTHY"}},
            {"address": {"pipe": {"path": "/s"}},
             "healthStatus": {"edsHealthStatus": "HEALTHY", "failedOutlierCheck": True}},
        ]},
        {"name": "empty"},
    ]  # fmt: skip

    assert endpoints.rows(endpoints.select(found, {})) == [
        ("10.0.0.1:80", "HEALTHY", "OK", "c"),
        ("unix:///s", "HEALTHY", "FAILED", "c"),
    ]
    assert len(endpoints.select(found, {"port": "80"})[0]["hostStatuses"]) == 1


def test_endpoints_are_found_in_a_saved_dump_too() -> None:
    def endpoint(address, **health):
        socket = {"socketAddress": {"address": address, "portValue": 80}}
        return {"endpoint": {"address": socket}, **health}

    hosts = [endpoint("10.0.0.1"), endpoint("10.0.0.2", healthStatus="DRAINING")]
    assignment = {"clusterName": "c", "endpoints": [{"lbEndpoints": hosts}]}
    part = {"@type": TYPE + "EndpointsConfigDump",
            "dynamicEndpointConfigs": [{"endpointConfig": assignment}, {}]}  # fmt: skip

    found = endpoints.held({"configs": [part]})

    assert endpoints.rows(endpoints.select(found, {})) == [
        ("10.0.0.1:80", "HEALTHY", "OK", "c"),
        ("10.0.0.2:80", "DRAINING", "OK", "c"),
    ]


def _dump_with(*entries):
    return {"configs": [{"@type": TYPE + "SecretsConfigDump", "dynamicActiveSecrets": entries}]}


def _encoded(pem: str) -> dict[str, str]:
    return {"inlineBytes": base64.b64encode(pem.encode()).decode()}


def test_the_proxys_own_certificate_comes_first_and_each_root_has_a_row() -> None:
    clock = ManualClock(NOW)
    root = self_signed_ca("a", lifetime=timedelta(hours=1), clock=clock)
    other = self_signed_ca("b", lifetime=timedelta(hours=1), clock=clock)
    trust = {"trustedCa": _encoded(root.chain_pem + other.chain_pem)}
    chain = {"certificateChain": _encoded(root.chain_pem + other.chain_pem)}
    found = secrets.secrets(
        _dump_with(
            {"name": "ROOTCA", "secret": {"validationContext": trust}},
            {"name": "credential", "secret": {"tlsCertificate": chain}},
            {"name": "default", "secret": {"tlsCertificate": chain}},
            {"name": "later", "secret": {}},
        )
    )

    assert found["dynamicActiveSecrets"][0]["name"] == "default"
    header, rows = secrets.table(found, clock.now())
    assert header == secrets.HEADER
    assert [row[:4] for row in rows] == [
        ("default", "Cert Chain", "ACTIVE", "true"),
        ("credential", "Cert Chain", "ACTIVE", "true"),
        ("ROOTCA", "CA", "ACTIVE", "true"),
        ("ROOTCA", "CA", "ACTIVE", "true"),
        ("later", "CA", "UNINITIALIZED", "false"),
    ]
    assert rows[0][4] == rows[1][4] == f"{root.certificate.serial_number:032x}"
    _, late = secrets.table(found, clock.now() + timedelta(hours=2))
    assert {row[3] for row in late} == {"false"}


def test_roots_are_compared_by_what_they_are() -> None:
    def trusting(*credentials):
        bundle = _encoded("".join(one.chain_pem for one in credentials))
        secret = {"validationContext": {"trustedCa": bundle}}
        return secrets.roots(_dump_with({"name": "ROOTCA", "secret": secret}))

    clock = ManualClock(NOW)
    one, other = (self_signed_ca("r", lifetime=timedelta(hours=1), clock=clock) for _ in "ab")

    same = secrets.compare_roots(("a", trusting(one, other)), ("b", trusting(other, one)))
    assert same == "a and b hold the same roots: mutual TLS between them can work"
    with pytest.raises(Rejected, match=r"a and b hold different roots: .* cannot work"):
        secrets.compare_roots(("a", trusting(one)), ("b", trusting(other)))
    with pytest.raises(Rejected, match="different roots, and some in common"):
        secrets.compare_roots(("a", trusting(one)), ("b", trusting(one, other)))
    with pytest.raises(Rejected, match="the proxy of b holds no roots yet"):
        secrets.compare_roots(("a", trusting(one)), ("b", frozenset()))


def _root_number_7() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "root")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).serial_number(7)
    builder = builder.not_valid_before(NOW).not_valid_after(NOW + timedelta(hours=1))
    certificate = builder.public_key(key.public_key()).sign(key, hashes.SHA256())
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def test_roots_with_the_same_serial_number_are_different_roots() -> None:
    held = []
    for _ in range(2):
        trust = {"validationContext": {"trustedCa": _encoded(_root_number_7())}}
        held.append(secrets.roots(_dump_with({"name": "ROOTCA", "secret": trust})))

    with pytest.raises(Rejected, match="hold different roots"):
        secrets.compare_roots(("a", held[0]), ("b", held[1]))


def test_a_trust_domain_is_shown_where_every_certificate_names_one() -> None:
    clock = ManualClock(NOW)
    root = self_signed_ca("", organization="td", lifetime=timedelta(hours=1), clock=clock)
    identity = SpiffeId("td", "shop", "web")
    leaf = Authority(root, "td", clock).sign(new_request(identity).csr_pem, identity).leaf
    own = {"name": "default", "secret": {"tlsCertificate": {"certificateChain": _encoded(leaf)}}}
    trust = {"validationContext": {"trustedCa": _encoded(root.chain_pem)}}

    header, rows = secrets.table(secrets.secrets(_dump_with(own)), clock.now())
    assert (header[-1], rows[0][-1]) == ("TRUST DOMAIN", "td")
    both = secrets.secrets(_dump_with(own, {"name": "ROOTCA", "secret": trust}))
    assert secrets.table(both, clock.now())[0] == secrets.HEADER


CONFIGS = [
    {"typeUrl": "type.googleapis.com/envoy.config.listener.v3.Listener", "configStatus": "SYNCED"},
    {"typeUrl": "type.googleapis.com/envoy.config.cluster.v3.Cluster", "configStatus": "ERROR",
     "errorState": {"details": "no"}},
    {"typeUrl": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
     "configStatus": "NOT_SENT"},
]  # fmt: skip


def _proxy(configs=CONFIGS, **listener):
    dump = {"configs": [
        {"@type": TYPE + "BootstrapConfigDump",
         "bootstrap": {"node": {"metadata": {"CLUSTER_ID": "K", "MUTUA_VERSION": "1"}}}},
        {"@type": TYPE + "ListenersConfigDump",
         "dynamicListeners": [
             {"activeState": {"lastUpdated": "2026-01-01T11:59:00Z"}, **listener}]},
    ]}  # fmt: skip
    proxy = judge("web.shop", dump, configs, now=NOW)
    return proxy, client_config(proxy, dump, configs)


def test_the_state_of_each_type_is_the_control_planes_word() -> None:
    proxy, _ = _proxy()

    assert (proxy.cluster, proxy.version, proxy.received) == ("K", "1", ("LDS",))
    assert proxy.states == {"LDS": "SYNCED (1m)", "CDS": "ERROR", "EDS": "IGNORED",
                            "RDS": "NOT SENT"}  # fmt: skip


def test_a_proxy_that_lost_the_control_plane_is_stale_in_what_it_holds() -> None:
    proxy, _ = _proxy(configs=())

    assert proxy.states == {"LDS": "STALE (1m)", "CDS": "NOT SENT", "EDS": "NOT SENT",
                            "RDS": "NOT SENT"}  # fmt: skip


def test_programs_are_told_in_the_fields_of_envoys_client_config() -> None:
    _, document = _proxy()

    assert document["node"] == {
        "id": "web.shop", "metadata": {"CLUSTER_ID": "K", "ISTIO_VERSION": "1"}
    }  # fmt: skip
    listener, cluster, _ = document["genericXdsConfigs"]
    assert listener == {**CONFIGS[0], "lastUpdated": "2026-01-01T11:59:00Z"}
    assert cluster == CONFIGS[1]
