# ruff: noqa: E501 - messages are written out
"""What clients send against what servers accept: the rows of istio-semantics 3.5 that fail."""

import pytest

from mutua.analysis.analyze import analyze
from mutua.analysis.mesh import Mesh
from mutua.testing.mesh import (
    by_resource,
    deployment,
    destination_rule,
    namespace,
    peer_authentication,
    pod,
    service,
)

HTTP = {"name": "http", "port": 8000, "targetPort": 80}
WEB = deployment("shop", "web", 80)
SERVED = service("shop", "web", HTTP)
HEADLESS = service("shop", "web", HTTP, address="None")
PLAIN_POD = pod("shop", "old", meshed=False, labels={"app": "web"})
SPACES = (namespace("shop"), namespace("store"))
CODES = {"IST0113", "MUT0103", "MUT0104", "MUT0105"}


def said(*objects):
    found = analyze(Mesh(by_resource(*SPACES, *objects)))
    return [one for one in found if one.code.code in CODES]


def rule(mode: str, where: str = "shop", host: str = "web.shop.svc.cluster.local", **extra):
    return destination_rule(where, host, {"tls": {"mode": mode}}, **extra)


def strict(where: str = "shop", **extra):
    return peer_authentication(where, "STRICT", **extra)


def workload(mode: str, name: str = "web"):
    return peer_authentication("shop", mode, name=name, selector={"matchLabels": {"app": "web"}})


FITS = [
    pytest.param([], id="nothing"),
    pytest.param([strict()], id="1 3: automatic mTLS"),
    pytest.param([strict(), rule("ISTIO_MUTUAL")], id="10: mTLS to a sidecar"),
    pytest.param([rule("DISABLE")], id="14: plaintext to PERMISSIVE"),
    pytest.param([rule("DISABLE"), peer_authentication("shop", "DISABLE")], id="14: to DISABLE"),
    pytest.param([peer_authentication("shop", "DISABLE")], id="5: DISABLE on both sides"),
    pytest.param([workload("DISABLE"), strict()], id="7: the endpoint alone says DISABLE"),
    pytest.param([strict(), rule("MUTUAL")], id="16: a certificate of the rule's own may be good"),
]


@pytest.mark.parametrize("objects", FITS)
def test_what_fits_is_not_spoken_about(objects) -> None:
    assert said(WEB, SERVED, *objects) == []


CONFLICTS = [
    # rule, policies, what is said, the policy that is part of it
    pytest.param(
        rule("DISABLE"),
        [strict()],
        "clients send plaintext to web.shop:8000, but PeerAuthentication shop/default says STRICT: the server's proxy closes the connection",
        ["PeerAuthentication shop/default"],
        id="13: plaintext to STRICT",
    ),
    pytest.param(
        rule("ISTIO_MUTUAL"),
        [peer_authentication("shop", "DISABLE")],
        "clients send mTLS to web.shop:8000, but PeerAuthentication shop/default says DISABLE: the server's proxy finds no HTTP in it",
        ["PeerAuthentication shop/default"],
        id="12: mTLS to DISABLE",
    ),
    pytest.param(
        rule("SIMPLE"),
        [],
        "clients send TLS (SIMPLE) to web.shop:8000, but the default says PERMISSIVE: the server's proxy closes the connection",
        [],
        id="15: one-way TLS to PERMISSIVE",
    ),
    pytest.param(
        rule("DISABLE", where="store"),
        [strict("istio-system")],
        "clients send plaintext to web.shop:8000, but PeerAuthentication istio-system/default says STRICT: the server's proxy closes the connection",
        ["PeerAuthentication istio-system/default"],
        id="a rule next to the client",
    ),
    pytest.param(
        rule("DISABLE", where="istio-system", host="*.local"),
        [strict()],
        "clients send plaintext to web.shop:8000, but PeerAuthentication shop/default says STRICT: the server's proxy closes the connection",
        ["PeerAuthentication shop/default"],
        id="a mesh-wide rule",
    ),
    pytest.param(
        rule("DISABLE", workloadSelector={"matchLabels": {"app": "ui"}}),
        [strict()],
        "clients send plaintext to web.shop:8000, but PeerAuthentication shop/default says STRICT: the server's proxy closes the connection",
        ["PeerAuthentication shop/default"],
        id="a rule for some clients",
    ),
]


@pytest.mark.parametrize(("dr", "policies", "text", "related"), CONFLICTS)
def test_a_rule_that_contradicts_the_server_is_named_with_the_policy(
    dr, policies, text, related
) -> None:
    (one,) = said(WEB, SERVED, dr, *policies)

    assert (one.code.code, one.origin.kind, one.path, one.text) == (
        "IST0113", "DestinationRule", "spec.trafficPolicy.tls", text,
    )  # fmt: skip
    assert [str(other) for other in one.related] == related


def test_a_mesh_wide_rule_is_also_judged_by_the_clients_next_to_it() -> None:
    for_some = {"workloadSelector": {"matchLabels": {"tier": "a"}}}
    hiding = [rule("ISTIO_MUTUAL", where, name="own", **for_some) for where in ("shop", "store")]
    mesh_wide = rule("DISABLE", where="istio-system")
    client = pod("istio-system", "client")

    (one,) = said(WEB, SERVED, strict(), mesh_wide, *hiding, client)

    assert str(one.origin) == "DestinationRule istio-system/rule"
    assert "clients send plaintext to web.shop:8000" in one.text


def test_mtls_to_a_workload_without_a_sidecar_is_in_vain() -> None:
    (one,) = said(PLAIN_POD, SERVED, rule("ISTIO_MUTUAL"))

    assert one.text == (
        "clients send mTLS to web.shop:8000, but pod/old has no sidecar to take it: the TLS handshake reaches the application"
    )


def test_a_subset_is_judged_by_its_own_pods_and_its_own_policy() -> None:
    pods = [
        deployment("shop", name, 80, labels={"app": "web", "version": name})
        for name in ("v1", "v2")
    ]
    subsets = [
        {"name": "a", "labels": {"version": "v1"}, "trafficPolicy": {"tls": {"mode": "DISABLE"}}},
        {"name": "b", "labels": {"version": "v2"}},
    ]
    split = destination_rule("shop", "web", {"tls": {"mode": "ISTIO_MUTUAL"}}, subsets=subsets)

    (one,) = said(*pods, SERVED, strict(), split)

    assert (one.path, "clients send plaintext" in one.text) == ("spec.subsets", True)


def test_a_port_of_a_rule_is_judged_for_itself() -> None:
    policy = {
        "tls": {"mode": "ISTIO_MUTUAL"},
        "portLevelSettings": [{"port": {"number": 8000}, "tls": {"mode": "DISABLE"}}],
    }
    two_ports = service("shop", "web", HTTP, {"name": "http-b", "port": 9000, "targetPort": 80})

    (one,) = said(WEB, two_ports, strict(), destination_rule("shop", "web", policy))

    assert one.path == "spec.trafficPolicy.portLevelSettings"
    assert "to web.shop:8000, but" in one.text


def test_a_mesh_wide_rule_that_breaks_everything_is_one_message() -> None:
    many = [service("shop", f"web{n}", HTTP) for n in range(9)]
    for one in many:
        one["spec"]["selector"] = {"app": "web"}

    (found,) = said(WEB, *many, strict(), rule("DISABLE", where="istio-system", host="*.local"))

    assert "web0.shop:8000, web1.shop:8000, web2.shop:8000, web3.shop:8000 and 5 more" in found.text


def test_a_rule_of_which_another_takes_the_place_is_not_judged() -> None:
    local = rule("ISTIO_MUTUAL", name="local")
    mesh_wide = rule("DISABLE", where="istio-system", host="*.local", name="wide")

    assert said(WEB, SERVED, strict(), local, mesh_wide) == []


def test_clients_are_asked_for_where_they_see_the_service() -> None:
    hidden = service("shop", "web", HTTP)
    hidden["metadata"]["annotations"] = {"networking.istio.io/exportTo": "store"}
    mesh_wide = rule("DISABLE", where="istio-system", host="*.local")

    (one,) = said(WEB, hidden, strict(), mesh_wide)

    assert (one.code.code, str(one.origin)) == ("IST0113", "DestinationRule istio-system/rule")


def test_clients_elsewhere_do_not_follow_a_private_rule() -> None:
    off = peer_authentication("shop", "DISABLE", name="off")
    private = rule("ISTIO_MUTUAL", exportTo=["."])

    (one,) = said(WEB, SERVED, off, workload("STRICT"), private, deployment("store", "till"))

    assert (one.code.code, str(one.origin)) == ("MUT0103", "PeerAuthentication shop/web")


def test_6_strict_in_a_namespace_that_says_disable_is_unreachable() -> None:
    off = peer_authentication("shop", "DISABLE", name="off")

    (one,) = said(WEB, SERVED, off, workload("STRICT"))

    assert (one.code.code, str(one.origin)) == ("MUT0103", "PeerAuthentication shop/web")
    assert one.text == (
        "sidecars send plaintext to web.shop:8000, because PeerAuthentication shop/off says DISABLE, and this policy refuses it; let that one say PERMISSIVE or STRICT"
    )
    assert [str(other) for other in one.related] == ["PeerAuthentication shop/off"]


def test_6_is_mended_by_a_rule() -> None:
    off = peer_authentication("shop", "DISABLE", name="off")

    assert said(WEB, SERVED, off, workload("STRICT"), rule("ISTIO_MUTUAL")) == []


def test_8_a_headless_service_ignores_the_disable_of_a_workload() -> None:
    (one,) = said(WEB, HEADLESS, workload("DISABLE"))

    assert (one.code.code, str(one.origin)) == ("MUT0104", "PeerAuthentication shop/web")
    assert "sidecars send mTLS to web.shop:8000 in spite of DISABLE" in one.text
    assert [str(other) for other in one.related] == ["Service shop/web"]
    assert said(WEB, HEADLESS, peer_authentication("shop", "DISABLE")) == []


def test_9_one_pod_without_a_sidecar_makes_a_headless_service_plaintext() -> None:
    (harmless,) = said(WEB, PLAIN_POD, HEADLESS)
    (refused,) = said(WEB, PLAIN_POD, HEADLESS, strict())

    assert (harmless.code.code, str(harmless.origin)) == ("MUT0105", "Service shop/web")
    assert harmless.text == (
        "of this headless Service pod/old has no sidecar, so sidecars send plaintext to deploy/web too"
    )
    assert refused.text == harmless.text + ", and PeerAuthentication shop/default refuses it"
    assert said(WEB, HEADLESS, strict()) == []
    assert said(WEB, PLAIN_POD, SERVED) == []
