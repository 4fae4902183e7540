# ruff: noqa: E501, Q003 - tables read better in one line per row
"""AuthorizationPolicy and DestinationRule: istio-semantics, sections 5.7 and 6.2, row by row."""

from typing import Any

import pytest

from mutua.api.kinds import kind_of
from mutua.api.object import AUTHORIZATION_POLICIES, DESTINATION_RULES, Resource
from mutua.api.validation import validate
from mutua.api.verdict import Verdict


def judge(resource: Resource, spec: dict[str, Any], annotations: Any = None) -> Verdict:
    metadata = {"name": "x", "namespace": "shop", "annotations": annotations or {}}
    return validate(kind_of(resource), {"metadata": metadata, "spec": spec})


def source(**fields: Any) -> dict[str, Any]:
    return {"rules": [{"from": [{"source": fields}]}]}


def operation(**fields: Any) -> dict[str, Any]:
    return {"rules": [{"to": [{"operation": fields}]}]}


def when(key: str, *values: str, **fields: Any) -> dict[str, Any]:
    return {"rules": [{"when": [{"key": key, "values": list(values), **fields}]}]}


def custom(rules: dict[str, Any]) -> dict[str, Any]:
    return {"action": "CUSTOM", "provider": {"name": "authz"}, **rules}


SELECTOR = {"matchLabels": {"app": "web"}}
TARGET = {"kind": "Service", "name": "web"}

# fmt: off
POLICIES_REFUSED = [
    ({"selector": SELECTOR, "targetRef": TARGET},                "only one of"),
    ({"targetRef": TARGET, "targetRefs": [TARGET]},              "only one of"),
    ({"targetRef": {**TARGET, "namespace": "x"}},                "cross namespace"),
    ({"targetRef": {"kind": "Service"}},                         "spec.targetRef.name: Required value"),
    ({"targetRefs": [{"kind": "Pod", "name": "x"}]},             "not a kind that a policy can target"),
    ({"targetRefs": [TARGET] * 17},                              "at most 16"),
    ({"rules": [{"from": []}]},                                  "spec.rules[0].from"),
    ({"rules": [{"to": []}]},                                    "spec.rules[0].to"),
    ({"rules": [{"from": [{}]}]},                                "spec.rules[0].from[0].source: Required value"),
    ({"rules": [{"from": [{"source": {}}]}]},                    "spec.rules[0].from[0].source: Required value"),
    ({"rules": [{"to": [{"operation": None}]}]},                 "spec.rules[0].to[0].operation: Required value"),
    (source(principals=[]),                                      "principals: Invalid value: []"),
    (source(principals=["a", ""]),                               "principals[1]"),
    (source(serviceAccounts=["a"], namespaces=["b"]),            "cannot be set together"),
    (source(serviceAccounts=["a"], notPrincipals=["b"]),         "cannot be set together"),
    (source(notServiceAccounts=["a/*"]),                         "without wildcards"),
    (source(serviceAccounts=["a/b/c"]),                          "namespace/account"),
    (source(serviceAccounts=["a/"]),                             "namespace/account"),
    (source(serviceAccounts=["a"] * 17),                         "at most 16"),
    (source(serviceAccounts=["a" * 321]),                        "no more than 320"),
    (source(trustDomains=["a/b"]),                               "must not contain '/'"),
    (source(trustDomains=["a*b"]),                               "one wildcard"),
    (source(trustDomains=["*a*"]),                               "one wildcard"),
    (source(ipBlocks=["10.0.0.0/33"]),                           "IP address or a CIDR"),
    (source(notRemoteIpBlocks=["web"]),                          "IP address or a CIDR"),
    (operation(ports=["70000"]),                                 "port number"),
    (operation(ports=["http"]),                                  "port number"),
    (operation(paths=["/a/{*}b"]),                               "path template segment"),
    (operation(paths=["/{**}/a/{*}"]),                           "must be the last operator"),
    (operation(paths=["/a b/{*}"]),                              "path template segment"),
    (when("source.ip", "x"),                                     "IP address or a CIDR"),
    (when("destination.port", "x"),                              "port number"),
    (when("destination.labels[app]", "x"),                       "unknown attribute"),
    (when("request.headers", "x"),                               "unknown attribute"),
    (when("", "x"),                                              "key: Required value"),
    (when("source.namespace"),                                   "at least one of values"),
    (when("source.namespace", ""),                               "must not be empty"),
    ({"action": "CUSTOM", "rules": [{}]},                        "spec.provider.name: Required value"),
    (custom({}),                                                 "spec.rules: Required value"),
    (custom(source(namespaces=["a"])),                           "not available to CUSTOM"),
    (custom(source(notRequestPrincipals=["a"])),                 "not available to CUSTOM"),
    (custom(when("source.principal", "a")),                      "not available to CUSTOM"),
    (custom(when("request.auth.claims[a]", "a")),                "not available to CUSTOM"),
    ({"provider": {"name": "x"}},                                "spec.provider: Forbidden"),
    ({"action": "DENY"},                                         "spec.rules: Required value"),
    ({"action": "MAYBE"},                                        "Unsupported value: \"MAYBE\""),
    ({"selector": {"matchLabels": {"a": "*"}}},                  "wildcards are not supported"),
    ({"rules": [{}] * 513},                                      "at most 512"),
]
POLICIES_ACCEPTED = [
    {},
    {"rules": []},
    {"rules": [{}]},
    {"action": "AUDIT"},
    {"action": "DENY", "rules": [{}]},
    {"selector": SELECTOR, **source(principals=["cluster.local/ns/a/sa/b", "*"], notIpBlocks=["10.0.0.1", "::/0"])},
    source(serviceAccounts=["a", "b/c"], trustDomains=["*.local", "td"]),
    operation(hosts=["*.com"], methods=["GET"], ports=["80"], paths=["/a/{*}/b/{**}", "/x*", "*.php"]),
    when("request.headers[x-id]", "*"),
    when("request.auth.claims[a][b]", "c"),
    when("connection.sni", notValues=["x"]),
    when("experimental.envoy.filters.a.b[key]", "x"),
    custom(operation(paths=["/admin"])),
]
RULES_REFUSED = [
    ({},                                                         "spec.host: Required value"),
    ({"host": "bad host"},                                       "spec.host: Invalid value"),
    ({"host": "a.*.com"},                                        "spec.host: Invalid value"),
    ({"host": "a", "trafficPolicy": {}},                         "spec.trafficPolicy: Required value"),
    ({"host": "a", "trafficPolicy": {"portLevelSettings": [{"tls": {}}]}}, "port.number: Required value"),
    ({"host": "a", "trafficPolicy": {"portLevelSettings": [{"port": {"number": 80}}]}}, "besides port"),
    ({"host": "a", "trafficPolicy": {"tls": {"mode": "MTLS"}}},  "Unsupported value"),
    ({"host": "a", "subsets": [{"name": "v1"}, {"name": "v1"}]}, "spec.subsets[1].name: Duplicate value"),
    ({"host": "a", "subsets": [None]},                           "spec.subsets[0]: Invalid value"),
    ({"host": "a", "exportTo": ["x", "x"]},                      "Duplicate value"),
    ({"host": "a", "exportTo": [".", "shop"]},                   "Duplicate value"),
    ({"host": "a", "exportTo": ["*", "x"]},                      "cannot be combined"),
    ({"host": "a", "exportTo": ["*"], "workloadSelector": SELECTOR}, "its own namespace only"),
    ({"host": "a", "workloadSelector": {"matchLabels": {"": "x"}}}, "empty key"),
]
TLS_REFUSED = [
    ({"mode": "MUTUAL"},                                         "clientCertificate: Required value"),
    ({"mode": "MUTUAL", "clientCertificate": "a"},               "privateKey: Required value"),
    ({"mode": "SIMPLE", "credentialName": "a", "caCertificates": "b"}, "with credentialName"),
    ({"mode": "MUTUAL", "credentialName": "a", "caCrl": "b"},    "with credentialName"),
    ({"mode": "SIMPLE", "insecureSkipVerify": True, "subjectAltNames": ["a"]}, "with insecureSkipVerify"),
    ({"mode": "SIMPLE", "insecureSkipVerify": True, "credentialName": "a"}, "with insecureSkipVerify"),
    ({"mode": "SIMPLE", "credentialName": "configmap://other/a"}, "in the namespace of"),
]
RULES_ACCEPTED = [
    {"host": "*"},
    {"host": "*.local"},
    {"host": "web.shop.svc.cluster.local", "trafficPolicy": {"tls": {}}},
    {"host": "web", "trafficPolicy": {"tls": {"mode": "ISTIO_MUTUAL", "clientCertificate": "ignored"}}},
    {"host": "web", "trafficPolicy": {"tls": {"mode": "MUTUAL", "credentialName": "a", "insecureSkipVerify": True}}},
    {"host": "web", "trafficPolicy": {"portLevelSettings": [{"port": {"number": 80}, "tls": {"mode": "DISABLE"}}]}},
    {"host": "web", "subsets": [{"name": "v1", "labels": {"version": "v1"}}], "exportTo": ["."]},
    {"host": "web", "exportTo": ["."], "workloadSelector": SELECTOR},
]
# fmt: on


@pytest.mark.parametrize(("spec", "complaint"), POLICIES_REFUSED)
def test_authorization_policies_that_are_refused(spec: dict[str, Any], complaint: str) -> None:
    verdict = judge(AUTHORIZATION_POLICIES, spec)

    assert any(complaint in str(error) for error in verdict.errors), verdict
    assert verdict.warnings == []


@pytest.mark.parametrize("spec", POLICIES_ACCEPTED)
def test_authorization_policies_that_are_stored(spec: dict[str, Any]) -> None:
    verdict = judge(AUTHORIZATION_POLICIES, spec)

    assert verdict.errors == []
    assert ["not enforced yet" in warning for warning in verdict.warnings] == [True]


@pytest.mark.parametrize(
    ("action", "value", "accepted"),
    [("DENY", "true", True), ("DENY", "perhaps", False), ("AUDIT", "true", False)],
)
def test_a_dry_run_is_a_boolean_and_only_of_what_decides(
    action: str, value: str, accepted: bool
) -> None:
    spec = {"action": action, "rules": [{}]}

    verdict = judge(AUTHORIZATION_POLICIES, spec, {"istio.io/dry-run": value})

    assert (verdict.errors == []) is accepted


def test_a_policy_with_an_empty_selector_is_warned_about() -> None:
    verdict = judge(AUTHORIZATION_POLICIES, {"selector": {}})

    assert verdict.errors == []
    assert any("spec.selector" in warning for warning in verdict.warnings)


@pytest.mark.parametrize(
    ("spec", "complaint"),
    RULES_REFUSED
    + [({"host": "web", "trafficPolicy": {"tls": tls}}, words) for tls, words in TLS_REFUSED]
    + [
        ({"host": "web", "subsets": [{"name": "a", "trafficPolicy": {"tls": tls}}]}, words)
        for tls, words in TLS_REFUSED
    ],
)
def test_destination_rules_that_are_refused(spec: dict[str, Any], complaint: str) -> None:
    verdict = judge(DESTINATION_RULES, spec)

    assert any(complaint in str(error) for error in verdict.errors), verdict


@pytest.mark.parametrize("spec", RULES_ACCEPTED)
def test_destination_rules_that_are_stored(spec: dict[str, Any]) -> None:
    verdict = judge(DESTINATION_RULES, spec)

    assert verdict.errors == []
    assert any("credentialName" in one for one in verdict.warnings) is (
        "credentialName" in str(spec)
    )


@pytest.mark.parametrize(
    ("credential", "selector", "words"),
    [
        ("bank", {}, "only by a rule with a workloadSelector"),
        ("bank", SELECTOR, ""),
        ("configmap://bank", SELECTOR, "ConfigMaps are not read here"),
    ],
)
def test_whether_a_secret_has_an_effect(
    credential: str, selector: dict[str, Any], words: str
) -> None:
    tls = {"mode": "SIMPLE", "credentialName": credential}
    spec = {"host": "web", "trafficPolicy": {"tls": tls}, "workloadSelector": selector}

    warnings = judge(DESTINATION_RULES, spec).warnings

    assert [words in one for one in warnings] == ([True] if words else [])


# fmt: off
WITHOUT_EFFECT: list[tuple[dict[str, Any], list[str]]] = [
    ({"loadBalancer": {"simple": "RANDOM"}},                              []),
    ({"outlierDetection": {"consecutive5xxErrors": 3, "interval": "5m"}}, []),
    ({"connectionPool": {"tcp": {"maxConnections": 1}, "http": {"maxRetries": 1, "idleTimeout": "1h"}}}, []),
    ({"outlierDetection": {"consecutiveErrors": 3}},                      ["outlierDetection.consecutiveErrors"]),
    ({"loadBalancer": {"consistentHash": {"useSourceIp": True}}},         ["loadBalancer.consistentHash"]),
    ({"loadBalancer": {"simple": "RANDOM", "warmupDurationSecs": "10s"}}, ["loadBalancer.warmupDurationSecs"]),
    ({"loadBalancer": {"localityLbSetting": {"enabled": False}}},         ["loadBalancer.localityLbSetting"]),
    ({"connectionPool": {"tcp": {"idleTimeout": "1h", "maxConnectionDuration": "1h"}}}, ["connectionPool.tcp.maxConnectionDuration", "connectionPool.tcp.idleTimeout"]),
    ({"connectionPool": {"http": {"useClientProtocol": True}}},           ["connectionPool.http.useClientProtocol"]),
]
OF_A_WHOLE_POLICY: list[tuple[dict[str, Any], list[str]]] = [
    ({"tunnel": {"targetHost": "a", "targetPort": 1}},                    ["tunnel"]),
    ({"proxyProtocol": {"version": "V1"}},                                ["proxyProtocol"]),
    ({"retryBudget": {"percent": 20}},                                    ["retryBudget"]),
]
TRAFFIC_REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"connectionPool": {}},                                              "connectionPool: Required value"),
    ({"connectionPool": {"tcp": {"connectTimeout": "soon"}}},             "tcp.connectTimeout: Invalid value"),
    ({"connectionPool": {"tcp": {"connectTimeout": "0s"}}},               "tcp.connectTimeout: Invalid value"),
    ({"connectionPool": {"tcp": {"idleTimeout": "1500us"}}},              "whole milliseconds"),
    ({"connectionPool": {"tcp": {"tcpKeepalive": {"time": "10h"}}}},      "tcpKeepalive.time: Invalid value"),
    ({"connectionPool": {"tcp": {"tcpKeepalive": {"interval": "1ms"}}}},  "tcpKeepalive.interval: Invalid value"),
    ({"connectionPool": {"tcp": {"tcpKeepalive": {"probes": 200}}}},      "tcpKeepalive.probes: Invalid value"),
    ({"connectionPool": {"tcp": {"maxConnections": -1}}},                 "tcp.maxConnections: Invalid value"),
    ({"connectionPool": {"http": {"idleTimeout": "-1s"}}},                "http.idleTimeout: Invalid value"),
    ({"connectionPool": {"http": {"h2UpgradePolicy": "UPGRADE", "useClientProtocol": True}}}, "useClientProtocol: Invalid value"),
    ({"outlierDetection": {"interval": "0s"}},                            "interval: Invalid value"),
    ({"outlierDetection": {"baseEjectionTime": "x"}},                     "baseEjectionTime: Invalid value"),
    ({"outlierDetection": {"maxEjectionPercent": 101}},                   "maxEjectionPercent: Invalid value"),
    ({"outlierDetection": {"minHealthPercent": 101}},                     "minHealthPercent: Invalid value"),
    ({"outlierDetection": {"consecutiveLocalOriginFailures": 1}},         "consecutiveLocalOriginFailures: Invalid value"),
]
# fmt: on


def everywhere(policy: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Return a rule for each place that a policy may stand in, and the place's path."""
    entry = {"portLevelSettings": [{"port": {"number": 80}, **policy}]}
    return [
        ("spec.trafficPolicy", {"trafficPolicy": policy}),
        ("spec.trafficPolicy.portLevelSettings[0]", {"trafficPolicy": entry}),
        (
            "spec.subsets[0].trafficPolicy",
            {"subsets": [{"name": "a", "trafficPolicy": policy}]},
        ),
        (
            "spec.subsets[0].trafficPolicy.portLevelSettings[0]",
            {"subsets": [{"name": "a", "trafficPolicy": entry}]},
        ),
    ]


@pytest.mark.parametrize(("policy", "expected"), WITHOUT_EFFECT + OF_A_WHOLE_POLICY)
def test_what_a_rule_says_without_effect_is_named(
    policy: dict[str, Any], expected: list[str]
) -> None:
    places = everywhere(policy)
    if (policy, expected) in OF_A_WHOLE_POLICY:
        places = [one for one in places if "portLevelSettings" not in one[0]]
    for path, spec in places:
        verdict = judge(DESTINATION_RULES, {"host": "a", **spec})

        assert verdict.errors == []
        named = [warning.partition(":")[0] for warning in verdict.warnings]
        assert named == [f"{path}.{name}" for name in expected]


@pytest.mark.parametrize(("policy", "complaint"), TRAFFIC_REFUSED)
def test_traffic_policies_that_are_refused(policy: dict[str, Any], complaint: str) -> None:
    for path, spec in everywhere(policy):
        verdict = judge(DESTINATION_RULES, {"host": "a", **spec})

        assert [path in str(one) and complaint in str(one) for one in verdict.errors] == [True]
