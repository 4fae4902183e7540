# ruff: noqa: E501 - the decision table is read across, one case per line
"""Does this pod get a proxy?  Istio's table (istio-semantics 8.2), row by row."""

from typing import Any

import pytest

from mutua.api.object import Object
from mutua.policy.injection import Injection, Reason, Revisions, Verdict, decide

YES, NO = Verdict.INJECT, Verdict.SKIP
ENABLED = {"istio-injection": "enabled"}
DISABLED = {"istio-injection": "disabled"}


def rev(name: str) -> dict[str, str]:
    return {"istio.io/rev": name}


def wish(value: str) -> dict[str, str]:
    return {"sidecar.istio.io/inject": value}


def namespace(labels: dict[str, str], name: str = "shop") -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": labels},
    }


def pod(
    labels: dict[str, str] | None = None,
    annotations: dict[str, str] | None = None,
    **spec: Any,
) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "web-1",
            "namespace": "shop",
            "labels": labels or {},
            "annotations": annotations or {},
        },
        "spec": {"containers": [{"name": "app", "image": "app"}], **spec},
    }


# fmt: off
DECISIONS = [
    #             namespace labels             pod labels                     annotations     verdict  reason
    pytest.param(ENABLED,                      {},                            {},             YES, Reason.NAMESPACE_ENABLED,     id="enabled"),
    pytest.param(ENABLED,                      wish("true"),                  {},             YES, Reason.NAMESPACE_ENABLED,     id="enabled, and the pod too"),
    pytest.param(ENABLED | rev("canary"),      {},                            {},             YES, Reason.NAMESPACE_ENABLED,     id="istio-injection beats istio.io/rev"),
    pytest.param(ENABLED,                      rev("canary"),                 {},             YES, Reason.NAMESPACE_ENABLED,     id="an enabled namespace ignores the pod's revision"),
    pytest.param(ENABLED,                      wish("false"),                 {},             NO,  Reason.POD_DISABLED,          id="the pod's label opts out"),
    pytest.param(ENABLED,                      {},                            wish("false"),  NO,  Reason.POD_DISABLED,          id="the pod's annotation opts out"),
    pytest.param(ENABLED,                      wish("true"),                  wish("false"),  YES, Reason.NAMESPACE_ENABLED,     id="the label beats the annotation"),
    pytest.param(ENABLED,                      wish("false"),                 wish("true"),   NO,  Reason.POD_DISABLED,          id="the label beats the annotation, the other way round"),
    pytest.param(ENABLED,                      wish("yes"),                   {},             YES, Reason.NAMESPACE_ENABLED,     id="a label that is neither true nor false means nothing"),
    pytest.param(ENABLED,                      wish(""),                      {},             YES, Reason.NAMESPACE_ENABLED,     id="an empty label means nothing"),
    pytest.param(ENABLED,                      wish("yes"),                   wish("false"),  YES, Reason.NAMESPACE_ENABLED,     id="a meaningless label still hides the annotation"),
    pytest.param(ENABLED,                      {},                            wish("False"),  YES, Reason.NAMESPACE_ENABLED,     id="only the exact word false counts"),
    pytest.param(DISABLED,                     {},                            {},             NO,  Reason.NAMESPACE_NOT_ENABLED, id="disabled"),
    pytest.param(DISABLED,                     wish("true"),                  {},             NO,  Reason.NAMESPACE_NOT_ENABLED, id="disabled beats the pod's label"),
    pytest.param(DISABLED | rev("default"),    wish("true"),                  {},             NO,  Reason.NAMESPACE_NOT_ENABLED, id="disabled beats the namespace's revision"),
    pytest.param({"istio-injection": "on"},    wish("true"),                  {},             NO,  Reason.NAMESPACE_NOT_ENABLED, id="another value than enabled is not enabled"),
    pytest.param({"istio-injection": ""},      {},                            {},             NO,  Reason.NAMESPACE_NOT_ENABLED, id="an empty value is not enabled"),
    pytest.param({},                           {},                            {},             NO,  Reason.NOTHING_ASKED,         id="nobody asks"),
    pytest.param({},                           wish("true"),                  {},             YES, Reason.POD_ENABLED,           id="the pod's label asks"),
    pytest.param({},                           {},                            wish("true"),   NO,  Reason.NOTHING_ASKED,         id="the pod's annotation cannot ask alone"),
    pytest.param({},                           wish("yes"),                   {},             NO,  Reason.NOTHING_ASKED,         id="a meaningless label asks for nothing"),
    pytest.param({},                           wish("true"),                  wish("false"),  YES, Reason.POD_ENABLED,           id="the label asks, whatever the annotation says"),
    pytest.param({},                           rev("default"),                {},             YES, Reason.POD_REVISION,          id="the pod names this revision"),
    pytest.param({},                           rev("default") | wish("true"), {},             YES, Reason.POD_REVISION,          id="the pod names this revision and asks"),
    pytest.param({},                           rev("default") | wish("false"), {},            NO,  Reason.POD_DISABLED,          id="the pod names this revision and opts out"),
    pytest.param({},                           rev("default"),                wish("false"),  NO,  Reason.POD_DISABLED,          id="the pod names this revision, its annotation opts out"),
    pytest.param({},                           rev("canary"),                 {},             NO,  Reason.OTHER_REVISION,        id="the pod names another revision"),
    pytest.param({},                           rev("canary") | wish("true"),  {},             NO,  Reason.OTHER_REVISION,        id="the pod asks another revision"),
    pytest.param(rev("default"),               {},                            {},             YES, Reason.NAMESPACE_REVISION,    id="the namespace names this revision"),
    pytest.param(rev("default"),               wish("true"),                  {},             YES, Reason.NAMESPACE_REVISION,    id="the namespace names this revision, the pod asks"),
    pytest.param(rev("default"),               wish("false"),                 {},             NO,  Reason.POD_DISABLED,          id="the namespace names this revision, the pod opts out"),
    pytest.param(rev("prod"),                  {},                            {},             YES, Reason.NAMESPACE_REVISION,    id="the namespace names a tag of this revision"),
    pytest.param(rev("canary"),                {},                            {},             NO,  Reason.OTHER_REVISION,        id="the namespace names another revision"),
    pytest.param(rev("canary"),                wish("true"),                  {},             NO,  Reason.OTHER_REVISION,        id="the namespace names another revision, the pod asks"),
    pytest.param(rev("default"),               rev("canary"),                 {},             YES, Reason.NAMESPACE_REVISION,    id="the namespace's revision beats the pod's"),
]
# fmt: on


@pytest.mark.parametrize(("labels", "pod_labels", "annotations", "verdict", "reason"), DECISIONS)
def test_the_decision(
    labels: dict[str, str],
    pod_labels: dict[str, str],
    annotations: dict[str, str],
    verdict: Verdict,
    reason: Reason,
) -> None:
    revisions = Revisions(tags=("prod",))

    decision = decide(namespace(labels), pod(pod_labels, annotations), revisions)

    assert decision == Injection(verdict=verdict, reason=reason)


def test_pods_on_the_hosts_network_are_not_injected() -> None:
    assert decide(namespace(ENABLED), pod(hostNetwork=True)).reason is Reason.HOST_NETWORK


@pytest.mark.parametrize(
    "name", ["kube-system", "kube-public", "kube-node-lease", "local-path-storage"]
)
def test_system_namespaces_are_not_injected(name: str) -> None:
    decision = decide(namespace(ENABLED, name), pod(wish("true")))

    assert decision.reason is Reason.SYSTEM_NAMESPACE


def test_a_mesh_may_enable_namespaces_by_default() -> None:
    revisions = Revisions(enabled_by_default=True)

    verdicts = [
        decide(namespace(labels), pod(pod_labels), revisions).verdict
        for labels, pod_labels in (({}, {}), (DISABLED, {}), ({}, wish("false")), ({}, wish("yes")))
    ]

    assert verdicts == [YES, NO, NO, NO]
