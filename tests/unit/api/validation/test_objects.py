# ruff: noqa: E501, Q003 - tables read better in one line per row
"""The other kinds of Kubernetes: names, Services, Deployments, content."""

from typing import Any

import pytest

from mutua.api.defaults import apply_defaults
from mutua.api.kinds import kind_of
from mutua.api.object import (
    CONFIG_MAPS,
    CONTROLLER_REVISIONS,
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    NAMESPACES,
    REPLICA_SETS,
    SECRETS,
    SERVICE_ACCOUNTS,
    SERVICES,
    STATEFUL_SETS,
    Resource,
)
from mutua.api.validation import validate


def judge(resource: Resource, obj: dict[str, Any], old: dict[str, Any] | None = None) -> list[str]:
    """Return the errors as kubectl prints them."""
    kind = kind_of(resource)
    whole = {"metadata": {"name": "web"}, **obj}
    return [str(error) for error in validate(kind, apply_defaults(kind, whole), old).errors]


# fmt: off
METADATA = [
    (NAMESPACES,       {"name": "shop"},                              None),
    (NAMESPACES,       {"name": "my.shop"},                           "metadata.name: Invalid value: \"my.shop\": a lowercase RFC 1123 label"),
    (NAMESPACES,       {"name": "x", "namespace": "y"},               "metadata.namespace: Forbidden"),
    (SERVICE_ACCOUNTS, {"name": "my.account"},                        None),
    (SERVICE_ACCOUNTS, {"name": "My"},                                "a lowercase RFC 1123 subdomain"),
    (SERVICE_ACCOUNTS, {"name": "a" * 254},                           "no more than 253"),
    (SERVICE_ACCOUNTS, {"name": "a/b"},                               "a lowercase RFC 1123 subdomain"),
    (SERVICE_ACCOUNTS, {"name": "a\n"},                               "a lowercase RFC 1123 subdomain"),
    (SERVICE_ACCOUNTS, {},                                            "name or generateName is required"),
    (SERVICE_ACCOUNTS, {"generateName": "web-"},                      None),
    (SERVICE_ACCOUNTS, {"generateName": "Web-"},                      "metadata.generateName"),
    (SERVICE_ACCOUNTS, {"name": "a", "namespace": "a.b"},             "metadata.namespace"),
    (SERVICE_ACCOUNTS, {"name": "a", "labels": {"a b": "c"}},         "metadata.labels: Invalid value: \"a b\""),
    (SERVICE_ACCOUNTS, {"name": "a", "labels": {"x.io/a": "c"}},      None),
    (SERVICE_ACCOUNTS, {"name": "a", "labels": {"X/a": "c"}},         "prefix part"),
    (SERVICE_ACCOUNTS, {"name": "a", "labels": {"a": "b c"}},         "a valid label must be"),
    (SERVICE_ACCOUNTS, {"name": "a", "labels": {"a": ""}},            None),
    (SERVICE_ACCOUNTS, {"name": "a", "labels": {"a": "x" * 64}},      "no more than 63"),
    (SERVICE_ACCOUNTS, {"name": "a", "annotations": {"a": "x" * 2**18}}, "Too long"),
    (SERVICE_ACCOUNTS, {"name": "a", "annotations": {"K8s.io/A": "any thing"}}, None),
    (SERVICE_ACCOUNTS, {"name": "a", "finalizers": ["a b"]},          "metadata.finalizers[0]"),
]


def service(**spec: Any) -> dict[str, Any]:
    return {"spec": {"ports": [{"port": 80}], **spec}}


SERVICE_RULES = [
    (service(),                                                       None),
    (service(ports=[]),                                               "spec.ports: Required value"),
    (service(ports=None, clusterIP="None"),                           None),
    (service(ports=[{"port": 80}, {"port": 81}]),                     "spec.ports[0].name: Required value"),
    (service(ports=[{"port": 80, "name": "a"}, {"port": 81, "name": "a"}]), "spec.ports[1].name: Duplicate value"),
    (service(ports=[{"port": 80, "name": "a"}, {"port": 80, "name": "b"}]), "spec.ports[1]: Duplicate value"),
    (service(ports=[{"port": 80, "name": "a"}, {"port": 80, "name": "b", "protocol": "UDP"}]), None),
    (service(ports=[{"port": 0}]),                                    "spec.ports[0].port: Invalid value: 0"),
    (service(ports=[{"port": 80, "targetPort": "http"}]),             None),
    (service(ports=[{"port": 80, "targetPort": 70000}]),              "spec.ports[0].targetPort: Invalid value: 70000"),
    (service(ports=[{"port": 80, "targetPort": "x" * 16}]),           "no more than 15"),
    (service(type="ExternalName", externalName="x.example"),          "spec.type: Unsupported value: \"ExternalName\""),
    (service(clusterIP="10.96.0.300"),                                "spec.clusterIP: Invalid value"),
    (service(selector={"a b": "c"}),                                  "spec.selector: Invalid value"),
]


def deployment(**spec: Any) -> dict[str, Any]:
    return {"spec": {
        "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "a", "image": "x"}]}},
        **spec,
    }}


TEMPLATE = deployment()["spec"]["template"]

DEPLOYMENT_RULES = [
    (deployment(),                                                    None),
    (deployment(replicas=-1),                                         "spec.replicas: Invalid value: -1"),
    (deployment(selector=None),                                       "spec.selector: Required value"),
    (deployment(selector={}),                                         "empty selector is invalid for deployment"),
    (deployment(selector={"matchLabels": {"app": "other"}}),          "`selector` does not match template `labels`"),
    (deployment(selector={"matchExpressions": [{"key": "app", "operator": "In"}]}), "wrong number of values"),
    (deployment(template=None),                                       "spec.template: Required value"),
    (deployment(template={"metadata": {"labels": {"app": "web"}}}),   "spec.template.spec: Required value"),
    (deployment(template={**TEMPLATE, "spec": {**TEMPLATE["spec"], "restartPolicy": "Never"}}), "supported values: \"Always\""),
    (deployment(strategy={"type": "Recreate", "rollingUpdate": {}}),  "may not be specified when strategy"),
    (deployment(strategy={"rollingUpdate": {"maxSurge": "a lot"}}),   "maxSurge: Invalid value"),
    (deployment(strategy={"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "0%"}}), "may not be 0 when"),
    (deployment(strategy={"type": "Recreate"}),                       None),
]

CHANGED = {**TEMPLATE, "spec": {"containers": [{"name": "a", "image": "y"}]}}


def stateful(**spec: Any) -> dict[str, Any]:
    return deployment(**{"serviceName": "web", **spec})


STATEFUL_RULES = [
    (stateful(),                                                      None),
    (stateful(serviceName=""),                                        None),
    (stateful(serviceName="web.shop"),                                "spec.serviceName: Invalid value"),
    (stateful(selector={}),                                           "empty selector is invalid for statefulset"),
    (stateful(selector={"matchLabels": {"app": "other"}}),            "`selector` does not match template `labels`"),
    (stateful(template=None),                                         "spec.template: Required value"),
    (stateful(podManagementPolicy="Any"),                             'spec.podManagementPolicy: Unsupported value: "Any": supported values: "OrderedReady", "Parallel"'),
    (stateful(updateStrategy={"type": "Recreate"}),                   "spec.updateStrategy.type: Unsupported value"),
    (stateful(updateStrategy={"rollingUpdate": {"partition": -1}}),   "spec.updateStrategy.rollingUpdate.partition: Invalid value: -1"),
    (stateful(updateStrategy={"rollingUpdate": {"maxUnavailable": 2}}), "spec.updateStrategy.rollingUpdate.maxUnavailable: Forbidden: not supported"),
    (stateful(updateStrategy={"rollingUpdate": {"maxUnavailable": 1}}), None),
    (stateful(updateStrategy={"type": "OnDelete"}),                   None),
    (stateful(updateStrategy={"type": "OnDelete", "rollingUpdate": {}}), "spec.updateStrategy.rollingUpdate: Forbidden: only allowed for"),
    (stateful(ordinals={"start": -1}),                                "spec.ordinals.start: Invalid value: -1"),
    (stateful(volumeClaimTemplates=[{"metadata": {"name": "data"}}]), "spec.volumeClaimTemplates: Forbidden: not supported by mutua: there are no persistent volumes"),
    (stateful() | {"metadata": {"name": "x" * 53}},                   "metadata.name: Invalid value"),
    (stateful() | {"metadata": {"name": "x" * 52}},                   None),
    (stateful() | {"metadata": {"name": "my.web"}},                   "its pods' host names begin with it"),
]
STATEFUL_CHANGES = [
    (stateful(replicas=3, minReadySeconds=4, ordinals={"start": 2}),  None),
    (stateful(template=CHANGED, updateStrategy={"type": "OnDelete"}), None),
    (stateful(revisionHistoryLimit=3),                                None),
    (stateful(persistentVolumeClaimRetentionPolicy={"whenDeleted": "Delete"}), None),
    (stateful(serviceName="other"),                                   "spec.serviceName: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"),
    (stateful(podManagementPolicy="Parallel"),                        "spec.podManagementPolicy: Forbidden"),
    (stateful(selector={"matchExpressions": [{"key": "app", "operator": "Exists"}]}), "spec.selector: Forbidden"),
]
CONTENT = [
    (CONFIG_MAPS, {"data": {"a.b-C_1": "x"}},                         None),
    (CONFIG_MAPS, {"data": {"a/b": "x"}},                             "data[a/b]: Invalid value"),
    (CONFIG_MAPS, {"data": {"..": "x"}},                              "must not start with '..'"),
    (CONFIG_MAPS, {"data": {"a": "x"}, "binaryData": {"a": "eA=="}},  "binaryData[a]: Duplicate value"),
    (CONFIG_MAPS, {"data": {"a": "x" * (2**20 + 1)}},                 "data: Too long"),
    (SECRETS,     {"data": {"a": "eA=="}},                            None),
    (SECRETS,     {"stringData": {"a b": "x"}},                       "data[a b]: Invalid value"),
    (SECRETS,     {"type": "kubernetes.io/tls", "data": {"tls.crt": ""}}, "data[tls.key]: Required value"),
]
# fmt: on


def assert_verdict(errors: list[str], complaint: str | None) -> None:
    if complaint is None:
        assert errors == []
    else:
        assert any(complaint in error for error in errors), errors


@pytest.mark.parametrize(("resource", "metadata", "complaint"), METADATA)
def test_names_and_labels(
    resource: Resource, metadata: dict[str, Any], complaint: str | None
) -> None:
    assert_verdict(judge(resource, {"metadata": metadata}), complaint)


def test_a_service_is_named_like_one_dns_label() -> None:
    named = service() | {"metadata": {"name": "1web"}}

    assert_verdict(judge(SERVICES, named), "a DNS-1035 label")


@pytest.mark.parametrize(("obj", "complaint"), SERVICE_RULES)
def test_services(obj: dict[str, Any], complaint: str | None) -> None:
    assert_verdict(judge(SERVICES, obj), complaint)


def test_a_cluster_address_never_changes() -> None:
    old = service(clusterIP="10.96.0.7")

    assert_verdict(judge(SERVICES, service(clusterIP="10.96.0.8"), old), "field is immutable")
    assert_verdict(judge(SERVICES, service(clusterIP="10.96.0.7"), old), None)


@pytest.mark.parametrize(
    "spec", [{"type": "NodePort"}, {"sessionAffinity": "ClientIP"}, {"externalIPs": ["1.2.3.4"]}]
)
def test_service_features_without_effect_are_warned_about(spec: dict[str, Any]) -> None:
    verdict = validate(kind_of(SERVICES), {"metadata": {"name": "web"}, **service(**spec)})

    assert verdict.errors == []
    assert len(verdict.warnings) == 1


@pytest.mark.parametrize(("obj", "complaint"), DEPLOYMENT_RULES)
def test_deployments(obj: dict[str, Any], complaint: str | None) -> None:
    assert_verdict(judge(DEPLOYMENTS, obj), complaint)


@pytest.mark.parametrize(("obj", "complaint"), STATEFUL_RULES)
def test_stateful_sets(obj: dict[str, Any], complaint: str | None) -> None:
    assert_verdict(judge(STATEFUL_SETS, obj), complaint)


@pytest.mark.parametrize(("obj", "complaint"), STATEFUL_CHANGES)
def test_only_some_of_a_stateful_set_may_change(obj: dict[str, Any], complaint: str | None) -> None:
    old = apply_defaults(kind_of(STATEFUL_SETS), stateful())

    assert_verdict(judge(STATEFUL_SETS, obj, old), complaint)


def test_a_revision_never_changes() -> None:
    old = {"data": {"spec": {}}, "revision": 1}

    assert_verdict(judge(CONTROLLER_REVISIONS, {"data": {}, "revision": 2}, old), "data: Invalid")
    assert_verdict(judge(CONTROLLER_REVISIONS, {"data": {"spec": {}}, "revision": 2}, old), None)


@pytest.mark.parametrize("resource", [DEPLOYMENTS, REPLICA_SETS])
def test_a_selector_never_changes(resource: Resource) -> None:
    old = deployment(selector={"matchExpressions": [{"key": "app", "operator": "Exists"}]})

    assert_verdict(judge(resource, deployment(), old), "spec.selector: Invalid value")


@pytest.mark.parametrize(("resource", "obj", "complaint"), CONTENT)
def test_content(resource: Resource, obj: dict[str, Any], complaint: str | None) -> None:
    assert_verdict(judge(resource, obj), complaint)


def test_immutable_means_it() -> None:
    old = {"data": {"a": "x"}, "immutable": True}

    assert_verdict(
        judge(CONFIG_MAPS, {"data": {"a": "y"}, "immutable": True}, old), "data: Forbidden"
    )
    assert_verdict(judge(CONFIG_MAPS, {"data": {"a": "x"}}, old), "immutable: Forbidden")
    assert_verdict(judge(CONFIG_MAPS, old, old), None)


def test_a_secret_keeps_its_type() -> None:
    assert_verdict(judge(SECRETS, {"type": "x"}, {"type": "Opaque"}), "type: Invalid value")


def test_endpoint_slices() -> None:
    def one(address: str) -> dict[str, Any]:
        return {"addressType": "IPv4", "endpoints": [{"addresses": [address]}]}

    assert_verdict(judge(ENDPOINT_SLICES, one("10.244.0.7")), None)
    assert_verdict(judge(ENDPOINT_SLICES, one("web")), "endpoints[0].addresses[0]: Invalid value")
    assert_verdict(
        judge(ENDPOINT_SLICES, one("10.244.0.7"), {"addressType": "IPv6"}), "field is immutable"
    )
