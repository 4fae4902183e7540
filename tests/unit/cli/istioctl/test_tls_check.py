"""`authn tls-check`: the STATUS rule, and the rows."""

import pytest

from mutua.api.object import (
    DESTINATION_RULES,
    ENDPOINT_SLICES,
    PEER_AUTHENTICATIONS,
    PODS,
    SERVICE_ENTRIES,
    SERVICES,
)
from mutua.api.security import MutualTlsMode
from mutua.cli.istioctl.target import Target
from mutua.cli.istioctl.tls_check import find_host, find_services, rows, status
from mutua.foundation.errors import Rejected
from mutua.model.build import build_snapshot
from mutua.model.service import ServiceName
from mutua.testing.mesh import (
    destination_rule,
    endpoint_slice,
    peer_authentication,
    pod,
    service,
    service_entry,
)

D, P, S = MutualTlsMode.DISABLE, MutualTlsMode.PERMISSIVE, MutualTlsMode.STRICT

TABLE = [
    # istio-semantics 10.7: server, DestinationRule's mode, automatic mTLS, status
    *((server, "", True, "AUTO") for server in (D, P, S)),
    *((server, "", False, "OK") for server in (D, P, S)),
    (D, "DISABLE", True, "OK"),
    (S, "ISTIO_MUTUAL", True, "OK"),
    (P, "ISTIO_MUTUAL", True, "OK"),
    (P, "DISABLE", True, "OK"),
    (S, "DISABLE", True, "CONFLICT"),
    (D, "ISTIO_MUTUAL", True, "CONFLICT"),
    *((server, rule, True, "CONFLICT") for server in (D, P, S) for rule in ("SIMPLE", "MUTUAL")),
]


@pytest.mark.parametrize(("server", "rule", "auto", "expected"), TABLE)
@pytest.mark.parametrize("with_rule_auto_is_irrelevant", [False, True])
def test_the_status_table(server, rule, auto, expected, with_rule_auto_is_irrelevant) -> None:
    auto_mtls = not auto if rule and with_rule_auto_is_irrelevant else auto

    assert status(server, rule, auto_mtls=auto_mtls) == expected


HTTP = {"name": "http", "port": 8000, "targetPort": 80}


def _mesh(*policies, servers=None, rules=(), entries=()):
    servers = servers or [pod("shop", "web", "10.244.0.2")]
    web = service("shop", "web", HTTP)
    late = service("shop", "late", {"name": "http", "port": 80}, {"name": "b", "port": 9})
    client, plain = pod("shop", "ui", "10.244.0.8"), pod("shop", "old", "10.244.0.9", meshed=False)
    return build_snapshot(
        {
            PODS: [*servers, client, plain],
            SERVICES: [web, late],
            ENDPOINT_SLICES: [endpoint_slice(web, servers)],
            PEER_AUTHENTICATIONS: policies,
            DESTINATION_RULES: rules,
            SERVICE_ENTRIES: entries,
        }
    )


def _web(snapshot, client="ui"):
    found = rows(snapshot, snapshot.workloads[f"shop-{client}"], {ServiceName("shop", "web")})
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize(
    ("policies", "expected"),
    [
        ((), ("AUTO", "PERMISSIVE", "ISTIO_MUTUAL", "-", "-")),
        (
            (peer_authentication("istio-system", "STRICT"),),
            ("AUTO", "STRICT", "ISTIO_MUTUAL", "istio-system/default", "-"),
        ),
        (
            (peer_authentication("shop", "DISABLE"),),
            ("AUTO", "DISABLE", "DISABLE", "shop/default", "-"),
        ),
        (
            (
                peer_authentication("istio-system", "STRICT"),
                peer_authentication(
                    "shop",
                    None,
                    name="ports",
                    selector={"matchLabels": {"app": "web"}},
                    portLevelMtls={"80": {"mode": "PERMISSIVE"}},
                ),
            ),
            ("AUTO", "PERMISSIVE", "ISTIO_MUTUAL", "shop/ports", "-"),
        ),
    ],
)
def test_a_meshed_client_is_automatic(policies, expected) -> None:
    assert _web(_mesh(*policies)) == ("web.shop.svc.cluster.local:8000", *expected)


@pytest.mark.parametrize(
    ("mode", "expected"), [("DISABLE", "OK"), ("PERMISSIVE", "OK"), ("STRICT", "CONFLICT")]
)
def test_a_client_without_sidecar_sends_plaintext_and_may_conflict(mode, expected) -> None:
    row = _web(_mesh(peer_authentication("shop", mode)), client="old")

    assert row[1:4] == (expected, mode, "DISABLE")


def test_a_server_without_sidecar_demands_nothing_whatever_the_policy_says() -> None:
    snapshot = _mesh(
        peer_authentication("shop", "STRICT"),
        servers=[pod("shop", "web", "10.244.0.2", meshed=False)],
    )

    assert _web(snapshot)[1:5] == ("AUTO", "DISABLE", "DISABLE", "-")


def test_endpoints_that_differ_are_all_named() -> None:
    servers = [
        pod("shop", "web", "10.244.0.2"),
        pod("shop", "web-old", "10.244.0.3", labels={"app": "web"}, meshed=False),
    ]
    snapshot = _mesh(peer_authentication("shop", "STRICT"), servers=servers)

    assert _web(snapshot)[1:5] == (
        "AUTO",
        "STRICT,DISABLE",
        "ISTIO_MUTUAL,DISABLE",
        "shop/default,-",
    )


def test_rows_come_by_host_then_port_and_a_service_without_pods_shows_what_they_would_get() -> None:
    snapshot = _mesh(peer_authentication("shop", "STRICT"))

    found = rows(snapshot, snapshot.workloads["shop-ui"])

    assert [row[0].split(".")[0] + ":" + row[0].split(":")[1] for row in found] == [
        "late:9", "late:80", "web:8000",
    ]  # fmt: skip
    assert found[0][2] == "STRICT"


@pytest.mark.parametrize(
    ("host", "namespace"),
    [
        ("web", "shop"),
        ("web.shop", "default"),
        ("web.shop.svc", "default"),
        ("web.shop.svc.cluster.local", "default"),
        ("web.shop.svc.cluster.local.", "default"),
    ],
)
def test_a_host_is_what_a_program_would_dial(host, namespace) -> None:
    assert find_host(_mesh(), host, namespace) == {ServiceName("shop", "web")}


def test_a_short_name_means_the_clients_own_namespace() -> None:
    with pytest.raises(Rejected, match="no Service is called 'web'"):
        find_host(_mesh(), "web", "default")


def test_a_pod_stands_for_the_services_that_select_it() -> None:
    asked = Target("deploy", "web", "shop")

    assert find_services(_mesh(), "shop-web", asked) == {ServiceName("shop", "web")}
    with pytest.raises(Rejected, match="no Service selects deploy/web"):
        find_services(_mesh(), "shop-ui", asked)


RULES = [
    # mode of the rule, mode of the server, status, what the client sends
    ("ISTIO_MUTUAL", "STRICT", "OK", "ISTIO_MUTUAL"),
    ("ISTIO_MUTUAL", "DISABLE", "CONFLICT", "ISTIO_MUTUAL"),
    ("DISABLE", "STRICT", "CONFLICT", "DISABLE"),
    ("DISABLE", "PERMISSIVE", "OK", "DISABLE"),
    ("SIMPLE", "PERMISSIVE", "CONFLICT", "SIMPLE"),
]


@pytest.mark.parametrize(("rule", "server", "expected", "sends"), RULES)
def test_a_rule_says_what_the_client_sends_and_is_named(rule, server, expected, sends) -> None:
    told = destination_rule("shop", "web", {"tls": {"mode": rule}})

    row = _web(_mesh(peer_authentication("shop", server), rules=[told]))

    assert row[1:] == (expected, server, sends, "shop/default", "shop/rule")


def test_a_rule_without_tls_is_named_and_leaves_the_choice_to_the_sidecar() -> None:
    row = _web(_mesh(rules=[destination_rule("shop", "web")]))

    assert row[1:] == ("AUTO", "PERMISSIVE", "ISTIO_MUTUAL", "-", "shop/rule")


def test_a_rule_that_the_client_does_not_see_is_not_shown() -> None:
    elsewhere = destination_rule("shop", "web", {"tls": {"mode": "DISABLE"}}, exportTo=["."])
    snapshot = _mesh(rules=[elsewhere])

    (row,) = rows(snapshot, snapshot.workloads["shop-old"], {ServiceName("shop", "web")})

    assert row[3:] == ("DISABLE", "-", "-")  # it has no sidecar, so no rule speaks to it


def test_every_subset_has_a_row_of_its_own() -> None:
    subset = {"name": "v1", "labels": {"v": "1"}, "trafficPolicy": {"tls": {"mode": "DISABLE"}}}
    split = destination_rule("shop", "web", {"tls": {"mode": "ISTIO_MUTUAL"}}, subsets=[subset])
    servers = [
        pod("shop", "web", "10.244.0.2"),
        pod("shop", "web-1", "10.244.0.3", labels={"app": "web", "v": "1"}),
    ]
    snapshot = _mesh(peer_authentication("shop", "STRICT"), servers=servers, rules=[split])

    whole, part = rows(snapshot, snapshot.workloads["shop-ui"], {ServiceName("shop", "web")})

    assert whole[:2] == ("web.shop.svc.cluster.local:8000", "OK")
    assert part[:2] == ("web.shop.svc.cluster.local|v1:8000", "CONFLICT")


def test_without_a_rule_a_call_that_cannot_work_is_a_conflict() -> None:
    insisting = peer_authentication(
        "shop", "STRICT", name="web", selector={"matchLabels": {"app": "web"}}
    )

    row = _web(_mesh(peer_authentication("shop", "DISABLE"), insisting))

    assert row[1:] == ("CONFLICT", "STRICT", "DISABLE", "shop/web", "-")


def test_what_is_outside_of_the_mesh_is_shown_on_request_only() -> None:
    entry = service_entry("shop", "api.example", {"number": 80, "name": "http", "protocol": "HTTP"})
    snapshot = _mesh(entries=[entry])

    everything = rows(snapshot, snapshot.workloads["shop-ui"])
    asked = rows(snapshot, snapshot.workloads["shop-ui"], find_host(snapshot, "api.example", "x"))

    assert not any(row[0].startswith("api.example") for row in everything)
    assert [row[0] for row in asked] == ["api.example:80"]
