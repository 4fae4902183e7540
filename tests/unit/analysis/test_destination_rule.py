# ruff: noqa: E501 - messages are written out
"""DestinationRules that do not do what their author may think."""

import pytest

from mutua.analysis.analyze import analyze
from mutua.analysis.mesh import Mesh
from mutua.testing.mesh import (
    by_resource,
    deployment,
    destination_rule,
    namespace,
    service,
    service_entry,
)

OBJECTS = (
    namespace("shop"),
    namespace("store"),
    deployment("shop", "web", 80, labels={"version": "v1"}),
    service("shop", "web", {"name": "http", "port": 8000, "targetPort": 80}),
)
HOST = "web.shop.svc.cluster.local"
MUTUAL = {"tls": {"mode": "ISTIO_MUTUAL"}}
OFF = {"tls": {"mode": "DISABLE"}}
LATER = "2026-02-02T00:00:00Z"


def said(*rules):
    found = analyze(Mesh(by_resource(*OBJECTS, *rules)))
    return [
        (one.code.code, one.origin.name, one.path, one.text)
        for one in found
        if one.origin.kind == "DestinationRule"
    ]


def ports(*entries, **policy):
    settings = [{"port": {"number": number}, **entry} for number, entry in entries]
    return {**policy, "portLevelSettings": settings}


SILENT = [
    pytest.param(destination_rule("shop", "web", MUTUAL), id="a short name"),
    pytest.param(destination_rule("store", HOST, MUTUAL), id="a full name from elsewhere"),
    pytest.param(destination_rule("shop", "*.local", MUTUAL), id="a wildcard"),
    pytest.param(destination_rule("shop", "*.nowhere.example", MUTUAL), id="a wildcard for nobody"),
    pytest.param(destination_rule("shop", "web"), id="no policy"),
    pytest.param(
        destination_rule("shop", "web", ports((8000, MUTUAL), **MUTUAL)), id="a repeated tls block"
    ),
    pytest.param(
        destination_rule("shop", "web", subsets=[{"name": "v1", "labels": {"version": "v1"}}]),
        id="a subset with pods",
    ),
    pytest.param(
        destination_rule(
            "shop", "web", {"tls": {"mode": "SIMPLE", "caCertificates": "/ca.pem"}},
            workloadSelector={"matchLabels": {"app": "ui"}}, exportTo=["."],
        ),
        id="a server that is verified",
    ),
]  # fmt: skip


@pytest.mark.parametrize("rule", SILENT)
def test_a_rule_that_works_is_not_spoken_about(rule) -> None:
    found = said(rule)

    assert [one for one in found if one[0] != "IST0113"] == []


def test_the_host_of_a_service_entry_is_known() -> None:
    entry = service_entry(
        "shop", "api.example.com", {"number": 443, "name": "tls", "protocol": "TLS"}
    )

    assert said(entry, destination_rule("shop", "api.example.com", MUTUAL)) == []


HOSTS = [
    ("nothing", "no Service and no ServiceEntry is called nothing.shop.svc.cluster.local"),
    ("api.example.com", "no Service and no ServiceEntry is called api.example.com"),
    (
        "web.shop",
        "no Service and no ServiceEntry is called web.shop; a host with a dot is taken for a full name: write web.shop.svc.cluster.local",
    ),
    (
        "till",
        "no Service and no ServiceEntry is called till.shop.svc.cluster.local; a short name means the rule's own namespace, but there is till.store.svc.cluster.local",
    ),
]


@pytest.mark.parametrize(("host", "text"), HOSTS)
def test_a_host_that_nobody_has_is_named_with_the_one_that_was_meant(host, text) -> None:
    till = service("store", "till", {"name": "http", "port": 80})

    assert said(till, destination_rule("shop", host, MUTUAL)) == [
        ("IST0174", "rule", "spec.host", text)
    ]


def test_a_subset_without_pods_is_named_with_the_labels_there_are() -> None:
    rule = destination_rule("shop", "web", subsets=[
        {"name": "v1", "labels": {"version": "v1"}},
        {"name": "v2", "labels": {"version": "v2"}},
    ])  # fmt: skip

    assert said(rule) == [
        ("IST0173", "rule", "spec.subsets[1].labels", "subset v2 has no pods: none of web is labelled version=v2; there are version=v1")
    ]  # fmt: skip


def test_a_service_that_has_no_pods_at_all_has_no_empty_subsets() -> None:
    empty = service("store", "till", {"name": "http", "port": 80})
    rule = destination_rule("store", "till", subsets=[{"name": "v1", "labels": {"version": "v1"}}])

    assert said(empty, rule) == []


@pytest.mark.parametrize(
    ("policy", "path"),
    [
        ({"tls": {}}, "spec.trafficPolicy.tls"),
        ({"tls": {"sni": "x"}}, "spec.trafficPolicy.tls"),
        (ports((8000, {"tls": {}})), "spec.trafficPolicy.portLevelSettings[0].tls"),
    ],
)
def test_a_tls_block_without_a_mode_disables(policy, path) -> None:
    (found,) = said(destination_rule("shop", "web", policy))

    assert found[:3] == ("MUT0111", "rule", path)


def test_a_tls_block_of_a_subset_without_a_mode_disables() -> None:
    subset = {"name": "v1", "labels": {"version": "v1"}, "trafficPolicy": {"tls": {}}}

    (found,) = said(destination_rule("shop", "web", subsets=[subset]))

    assert found[:3] == ("MUT0111", "rule", "spec.subsets[0].trafficPolicy.tls")


@pytest.mark.parametrize(
    ("policy", "code", "what"),
    [
        ({"tls": {"mode": "SIMPLE"}}, "IST0128", "against the system's roots"),
        ({"tls": {"mode": "SIMPLE", "insecureSkipVerify": True}}, "IST0128", "not verified at all"),
        (ports((8000, {"tls": {"mode": "SIMPLE"}})), "IST0129", "against the system's roots"),
    ],
)
def test_a_server_that_is_not_verified_against_the_mesh_is_named(policy, code, what) -> None:
    found = said(destination_rule("shop", "web", policy))

    assert [one[0] for one in found if one[0] != "IST0113"] == [code]
    assert any(what in one[3] for one in found)


def test_an_entry_for_a_port_drops_the_tls_of_the_whole() -> None:
    pool = {"loadBalancer": {"simple": "PASSTHROUGH"}}

    found = said(destination_rule("shop", "web", ports((8000, pool), **MUTUAL)))

    assert found == [
        ("MUT0113", "rule", "spec.trafficPolicy.portLevelSettings", "the entry for port 8000 replaces the whole policy and has no tls: ISTIO_MUTUAL does not hold there; repeat the tls block in the entry")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (
            80,
            "80 is the workload's port; rules name the Service's, 8000: this entry changes nothing",
        ),
        (9, "web has no port 9: this entry changes nothing"),
    ],
)
def test_an_entry_for_a_port_that_the_service_does_not_have(number, text) -> None:
    assert said(destination_rule("shop", "web", ports((number, MUTUAL)))) == [
        ("MUT0115", "rule", "spec.trafficPolicy.portLevelSettings", text)
    ]


def test_of_rules_for_one_host_the_older_counts() -> None:
    subset = {"name": "v1", "labels": {"version": "v1"}}
    first = destination_rule("shop", "web", MUTUAL, name="first", subsets=[subset])
    second = destination_rule(
        "shop", HOST, OFF, name="second", created=LATER, subsets=[subset, {**subset, "name": "x"}]
    )

    assert said(first, second) == [
        ("MUT0114", "second", "", "DestinationRule shop/first is for the same host and older: its trafficPolicy and its subset v1 changes nothing")
    ]  # fmt: skip


def test_an_older_rule_without_a_policy_leaves_room_for_one() -> None:
    first = destination_rule("shop", "web", name="first")
    second = destination_rule("shop", "web", MUTUAL, name="second", created=LATER)

    assert said(first, second) == []


def test_a_wildcard_next_to_the_client_beats_the_rule_for_the_very_host() -> None:
    exact = destination_rule("shop", "web", MUTUAL, name="exact")
    wide = destination_rule("store", "*.local", OFF, name="wide")

    found = analyze(Mesh(by_resource(*OBJECTS, exact, wide)))

    (one,) = [one for one in found if one.code.code == "MUT0112"]
    assert (str(one.origin), [str(other) for other in one.related]) == (
        "DestinationRule store/wide",
        ["DestinationRule shop/exact"],
    )
    assert one.text.startswith(f"clients in store follow this rule to {HOST}, and not")


def test_a_mesh_wide_wildcard_does_not_come_first() -> None:
    exact = destination_rule("shop", "web", MUTUAL, name="exact")
    wide = destination_rule("istio-system", "*.local", MUTUAL, name="wide")

    assert said(exact, wide) == []


WHOLE = ("tls.crt", "tls.key", "ca.crt")


def secret(name: str, where: str = "shop", *, keys: tuple[str, ...] = WHOLE):
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"namespace": where, "name": name},
        "data": dict.fromkeys(keys, "YQ=="),
    }


def with_credential(mode: str, **extra):
    tls = {"mode": mode, "credentialName": "bank", **extra}
    selector = {"matchLabels": {"app": "ui"}}
    return destination_rule("shop", "web", {"tls": tls}, workloadSelector=selector)


@pytest.mark.parametrize(
    ("rule", "secrets"),
    [
        pytest.param(with_credential("MUTUAL"), [], id="none"),
        pytest.param(with_credential("SIMPLE"), [], id="none, for the roots alone"),
        pytest.param(with_credential("MUTUAL"), [secret("bank-cacert")], id="only the roots"),
        pytest.param(with_credential("MUTUAL"), [secret("bank", "store")], id="in a namespace off"),
    ],
)
def test_a_secret_that_there_is_not_is_named(rule, secrets) -> None:
    found = [one for one in said(rule, *secrets) if one[0] == "IST0101"]

    path = "spec.trafficPolicy.tls.credentialName"
    text = "Secret shop/bank does not exist, so connections fail"
    assert found == [("IST0101", "rule", path, text)]


@pytest.mark.parametrize(
    ("mode", "secrets", "fault"),
    [
        ("MUTUAL", [secret("bank", keys=("tls.crt", "ca.crt"))], "shop/bank has no tls.key"),
        ("MUTUAL", [secret("bank", keys=("key", "cacert"))], "shop/bank has no tls.crt"),
        ("MUTUAL", [secret("bank", keys=("tls.crt", "tls.key"))], "shop/bank has no ca.crt"),
        ("SIMPLE", [secret("bank-cacert", keys=())], "shop/bank-cacert has no ca.crt"),
    ],
)
def test_a_secret_that_lacks_what_the_rule_needs_is_named(mode, secrets, fault) -> None:
    found = [one for one in said(with_credential(mode), *secrets) if one[0] == "MUT0117"]

    path = "spec.trafficPolicy.tls.credentialName"
    assert found == [("MUT0117", "rule", path, f"Secret {fault}, so connections fail")]


@pytest.mark.parametrize(
    ("rule", "secrets"),
    [
        pytest.param(with_credential("MUTUAL"), [secret("bank")], id="both in one"),
        pytest.param(
            with_credential("MUTUAL"),
            [secret("bank", keys=()) | {"stringData": dict.fromkeys(WHOLE, "a")}],
            id="in a manifest's plain text",
        ),
        pytest.param(with_credential("SIMPLE"), [secret("bank-cacert")], id="the roots"),
        pytest.param(with_credential("SIMPLE", insecureSkipVerify=True), [], id="not needed"),
        pytest.param(
            destination_rule("shop", "web", {"tls": {"mode": "SIMPLE", "credentialName": "bank"}}),
            [],
            id="not read: the rule selects no client",
        ),
    ],
)
def test_a_secret_that_there_is_or_that_nobody_needs_is_not(rule, secrets) -> None:
    assert {code for code, *_ in said(rule, *secrets)}.isdisjoint({"IST0101", "MUT0117"})
