from typing import Any

import pytest

from mutua.api.defaults import apply_defaults
from mutua.api.kinds import kind_of
from mutua.api.object import (
    DEPLOYMENTS,
    NAMESPACES,
    PEER_AUTHENTICATIONS,
    PODS,
    SECRETS,
    SERVICES,
    STATEFUL_SETS,
)


def container(**fields: Any) -> dict[str, Any]:
    pod = {"spec": {"containers": [{"name": "a", **fields}]}}
    found: dict[str, Any] = apply_defaults(kind_of(PODS), pod)["spec"]["containers"][0]
    return found


def test_a_namespace_is_labelled_with_its_name() -> None:
    namespace = apply_defaults(kind_of(NAMESPACES), {"metadata": {"name": "shop"}})

    assert namespace["metadata"]["labels"] == {"kubernetes.io/metadata.name": "shop"}
    assert namespace["status"] == {"phase": "Active"}


def test_text_of_a_secret_becomes_data_and_wins() -> None:
    secret = {"data": {"a": "eA==", "b": "eQ=="}, "stringData": {"a": "new"}}

    assert apply_defaults(kind_of(SECRETS), secret) == {
        "type": "Opaque",
        "data": {"a": "bmV3", "b": "eQ=="},
    }


def test_a_service_port_targets_itself() -> None:
    service = {"spec": {"ports": [{"port": 80}, {"port": 81, "targetPort": "http"}]}}

    spec = apply_defaults(kind_of(SERVICES), service)["spec"]

    assert spec["type"] == "ClusterIP"
    assert spec["ports"] == [
        {"port": 80, "protocol": "TCP", "targetPort": 80},
        {"port": 81, "protocol": "TCP", "targetPort": "http"},
    ]


def test_a_deployment_rolls_a_quarter_at_a_time() -> None:
    spec = apply_defaults(kind_of(DEPLOYMENTS), {"spec": {}})["spec"]

    assert spec["replicas"] == 1
    assert spec["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"},
    }


def test_a_stateful_set_is_in_order_and_rolls() -> None:
    assert apply_defaults(kind_of(STATEFUL_SETS), {"spec": {}})["spec"] == {
        "replicas": 1,
        "podManagementPolicy": "OrderedReady",
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
        "revisionHistoryLimit": 10,
        "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
    }
    manual = {"spec": {"updateStrategy": {"type": "OnDelete"}}}
    defaulted = apply_defaults(kind_of(STATEFUL_SETS), manual)
    assert defaulted["spec"]["updateStrategy"] == {"type": "OnDelete"}


def test_no_replicas_are_no_replicas() -> None:
    deployment = {"spec": {"replicas": 0, "strategy": {"type": "Recreate"}}}

    spec = apply_defaults(kind_of(DEPLOYMENTS), deployment)["spec"]

    assert spec["replicas"] == 0
    assert spec["strategy"] == {"type": "Recreate"}


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("httpbin", "Always"),
        ("httpbin:latest", "Always"),
        ("registry:5000/httpbin", "Always"),
        ("httpbin:1.0", "IfNotPresent"),
        ("registry:5000/httpbin:1.0", "IfNotPresent"),
        ("httpbin@sha256:00", "IfNotPresent"),
    ],
)
def test_images_are_pulled_as_their_tag_suggests(image: str, policy: str) -> None:
    assert container(image=image)["imagePullPolicy"] == policy


def test_probes_have_a_rhythm() -> None:
    probe = container(readinessProbe={"httpGet": {"port": 80}, "periodSeconds": 3})[
        "readinessProbe"
    ]

    assert probe == {
        "httpGet": {"port": 80, "path": "/", "scheme": "HTTP"},
        "periodSeconds": 3,
        "timeoutSeconds": 1,
        "successThreshold": 1,
        "failureThreshold": 3,
    }


def test_both_names_of_the_service_account_agree() -> None:
    pod = {"spec": {"containers": [], "serviceAccount": "web"}}

    spec = apply_defaults(kind_of(PODS), pod)["spec"]

    assert spec["serviceAccountName"] == spec["serviceAccount"] == "web"


@pytest.mark.parametrize(
    ("resources", "quality"),
    [
        ({}, "BestEffort"),
        ({"requests": {"cpu": "1"}}, "Burstable"),
        ({"limits": {"cpu": "1"}}, "Burstable"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}}, "Guaranteed"),
        ({"limits": {"cpu": "2", "memory": "1Gi"}, "requests": {"cpu": "1"}}, "Burstable"),
    ],
)
def test_quality_of_service(resources: dict[str, Any], quality: str) -> None:
    pod = {"spec": {"containers": [{"resources": resources}]}}

    assert apply_defaults(kind_of(PODS), pod)["status"]["qosClass"] == quality


def test_policies_have_no_defaults() -> None:
    policy = {"metadata": {"name": "x"}, "spec": {}}

    assert apply_defaults(kind_of(PEER_AUTHENTICATIONS), policy) == policy
