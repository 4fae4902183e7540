# ruff: noqa: E501 - tables read better in one line per row
"""Pods: Kubernetes' rules, then the limits of the process runtime, each with its field's path."""

import copy
from typing import Any

import pytest

from mutua.api.defaults import apply_defaults
from mutua.api.kinds import kind_of
from mutua.api.object import DEPLOYMENTS, PODS
from mutua.api.validation import validate
from mutua.api.validation.support import (
    REFUSED_CONTAINER_FIELDS,
    REFUSED_MOUNT_FIELDS,
    REFUSED_POD_FIELDS,
    REFUSED_PRIVILEGES,
)
from mutua.api.validation.workloads import check_deployment
from mutua.api.verdict import Verdict

HTTP = {"httpGet": {"port": 80}}


def pod(*containers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    whole = [{"name": f"c{n}", "image": "x", **each} for n, each in enumerate(containers or ({},))]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"containers": whole, **spec},
    }


def annotated(name: str, value: str = "false") -> dict[str, Any]:
    made = pod()
    return {**made, "metadata": {**made.get("metadata", {}), "annotations": {name: value}}}


def judge(obj: dict[str, Any], old: dict[str, Any] | None = None) -> Verdict:
    return validate(kind_of(PODS), apply_defaults(kind_of(PODS), obj), old)


def volume(**source: Any) -> dict[str, Any]:
    return pod(volumes=[{"name": "v", **source}])


def mount(**fields: Any) -> dict[str, Any]:
    volumes = [{"name": "v", "emptyDir": {}}]
    return pod({"volumeMounts": [{"name": "v", "mountPath": "/v", **fields}]}, volumes=volumes)


# fmt: off
KUBERNETES = [
    (pod(containers=[]),                                       "spec.containers",                        "Required value"),
    (pod({"name": "Web"}),                                     "spec.containers[0].name",                "RFC 1123 label"),
    (pod({"name": "a"}, {"name": "a"}),                        "spec.containers[1].name",                "Duplicate value"),
    (pod({"image": ""}),                                       "spec.containers[0].image",               "Required value"),
    (pod({"ports": [{"containerPort": 0}]}),                   "spec.containers[0].ports[0].containerPort", "greater than or equal to 1"),
    (pod({"ports": [{"containerPort": 80, "name": "HTTP"}]}),  "spec.containers[0].ports[0].name",       "lower case"),
    (pod({"ports": [{"containerPort": n, "name": "a"} for n in (1, 2)]}), "spec.containers[0].ports[1].name", "Duplicate value"),
    (pod({"env": [{"name": "A=B"}]}),                          "spec.containers[0].env[0].name",         "environment variable"),
    (pod({"env": [{"name": "A", "valueFrom": {}}]}),           "spec.containers[0].env[0].valueFrom",    "must specify one of"),
    (pod({"env": [{"name": "A", "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]}),
                                                               "spec.containers[0].env[0].valueFrom",    "when `value` is not empty"),
    (pod({"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.x"}}}]}),
                                                               "spec.containers[0].env[0].valueFrom.fieldRef.fieldPath", "supported values"),
    (pod({"envFrom": [{}]}),                                   "spec.containers[0].envFrom[0]",          "must specify one of"),
    (pod({"volumeMounts": [{"name": "v", "mountPath": "/v"}]}), "spec.containers[0].volumeMounts[0].name", "no volume"),
    (mount(mountPath="v"),                                     "spec.containers[0].volumeMounts[0].mountPath", "absolute"),
    (mount(subPath="../x"),                                    "spec.containers[0].volumeMounts[0].subPath", "'..'"),
    (mount(subPath="/x"),                                      "spec.containers[0].volumeMounts[0].subPath", "relative"),
    (pod({"readinessProbe": {}}),                              "spec.containers[0].readinessProbe",      "must specify a handler type"),
    (pod({"readinessProbe": {**HTTP, "exec": {"command": ["x"]}}}), "spec.containers[0].readinessProbe.httpGet", "more than 1 handler"),
    (pod({"readinessProbe": {"httpGet": {"port": 0}}}),        "spec.containers[0].readinessProbe.httpGet.port", "between 1 and 65535"),
    (pod({"readinessProbe": {**HTTP, "periodSeconds": 0}}),    "spec.containers[0].readinessProbe.periodSeconds", "greater than 0"),
    (pod({"livenessProbe": {**HTTP, "successThreshold": 2}}),  "spec.containers[0].livenessProbe.successThreshold", "must be 1"),
    (pod({"resources": {"limits": {"cpu": "-1"}}}),            "spec.containers[0].resources.limits[cpu]", "greater than or equal to 0"),
    (pod({"resources": {"limits": {"cpu": "lots"}}}),          "spec.containers[0].resources.limits[cpu]", "quantity"),
    (pod(initContainers=[{"name": "i", "image": "x", "readinessProbe": HTTP}]), "spec.initContainers[0].readinessProbe", "init containers"),
    (pod(terminationGracePeriodSeconds=-1),                    "spec.terminationGracePeriodSeconds",     "greater than or equal to 0"),
    (pod(restartPolicy="Sometimes"),                           "spec.restartPolicy",                     "Unsupported value"),
    (pod(serviceAccountName="A"),                              "spec.serviceAccountName",                "RFC 1123 subdomain"),
    (pod(hostname="a.b"),                                      "spec.hostname",                          "RFC 1123 label"),
    (volume(),                                                 "spec.volumes[0]",                        "must specify a volume type"),
    (volume(emptyDir={}, secret={"secretName": "s"}),          "spec.volumes[0].secret",                 "more than 1 volume type"),
    (volume(secret={}),                                        "spec.volumes[0].secret.secretName",      "Required value"),
    (volume(configMap={}),                                     "spec.volumes[0].configMap.name",         "Required value"),
    (volume(configMap={"name": "c", "items": [{"key": "k", "path": "../../etc"}]}), "spec.volumes[0].configMap.items[0].path", "'..'"),
    (volume(configMap={"name": "c", "defaultMode": 0o1000}),   "spec.volumes[0].configMap.defaultMode",  "0777"),
    (volume(projected={"sources": [{}]}),                      "spec.volumes[0].projected.sources[0]",   "must specify one of"),
    (volume(projected={"sources": [{"serviceAccountToken": {"path": "/t"}}]}), "spec.volumes[0].projected.sources[0].serviceAccountToken.path", "relative"),
    (volume(projected={"sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 10}}]}),
                                                               "spec.volumes[0].projected.sources[0].serviceAccountToken.expirationSeconds", "10 minutes"),
]
UNSUPPORTED = [
    (pod(hostNetwork=True),                                    "spec.hostNetwork"),
    (pod(hostPID=True),                                        "spec.hostPID"),
    (pod(hostIPC=True),                                        "spec.hostIPC"),
    (pod(shareProcessNamespace=True),                          "spec.shareProcessNamespace"),
    (pod(ephemeralContainers=[{}]),                            "spec.ephemeralContainers"),
    (pod(dnsPolicy="None"),                                    "spec.dnsPolicy"),
    (pod(dnsConfig={"nameservers": ["1.1.1.1"]}),              "spec.dnsConfig"),
    (pod(runtimeClassName="gvisor"),                           "spec.runtimeClassName"),
    (pod(readinessGates=[{}]),                                 "spec.readinessGates"),
    (pod(schedulingGates=[{}]),                                "spec.schedulingGates"),
    (pod(resourceClaims=[{}]),                                 "spec.resourceClaims"),
    (pod(setHostnameAsFQDN=True),                              "spec.setHostnameAsFQDN"),
    (pod(activeDeadlineSeconds=5),                             "spec.activeDeadlineSeconds"),
    (volume(hostPath={"path": "/"}),                           "spec.volumes[0].hostPath"),
    (volume(persistentVolumeClaim={"claimName": "x"}),         "spec.volumes[0].persistentVolumeClaim"),
    (volume(projected={"sources": [{"clusterTrustBundle": {}}]}), "spec.volumes[0].projected.sources[0].clusterTrustBundle"),
    (pod({"stdin": True}),                                     "spec.containers[0].stdin"),
    (pod({"tty": True}),                                       "spec.containers[0].tty"),
    (pod({"restartPolicy": "Always"}),                         "spec.containers[0].restartPolicy"),
    (pod({"volumeDevices": [{}]}),                             "spec.containers[0].volumeDevices"),
    (pod({"ports": [{"containerPort": 80, "hostPort": 80}]}),  "spec.containers[0].ports[0].hostPort"),
    (pod({"securityContext": {"privileged": True}}),           "spec.containers[0].securityContext.privileged"),
    (pod({"securityContext": {"procMount": "Unmasked"}}),      "spec.containers[0].securityContext.procMount"),
    (pod({"securityContext": {"capabilities": {"add": ["NET_ADMIN"]}}}), "spec.containers[0].securityContext.capabilities.add"),
    (mount(subPathExpr="$(A)"),                                "spec.containers[0].volumeMounts[0].subPathExpr"),
    (mount(mountPropagation="Bidirectional"),                  "spec.containers[0].volumeMounts[0].mountPropagation"),
    (pod({"livenessProbe": {"grpc": {"port": 1}}}),            "spec.containers[0].livenessProbe.grpc"),
    (pod({"lifecycle": {"postStart": {"exec": {"command": ["x"]}}}}), "spec.containers[0].lifecycle.postStart"),
    (pod({"lifecycle": {"preStop": HTTP}}),                    "spec.containers[0].lifecycle.preStop.httpGet"),
]
WARNED = [
    (pod(nodeSelector={"a": "b"}),                             "spec.nodeSelector"),
    (pod(affinity={"nodeAffinity": {}}),                       "spec.affinity"),
    (pod(topologySpreadConstraints=[{}]),                      "spec.topologySpreadConstraints"),
    (pod(priorityClassName="high"),                            "spec.priorityClassName"),
    (pod(securityContext={"runAsUser": 1000}),                 "spec.securityContext.runAsUser"),
    (pod(securityContext={"fsGroup": 0}),                      "spec.securityContext.fsGroup"),
    (pod({"securityContext": {"readOnlyRootFilesystem": True}}), "spec.containers[0].securityContext.readOnlyRootFilesystem"),
    (pod({"securityContext": {"seccompProfile": {"type": "X"}}}), "spec.containers[0].securityContext.seccompProfile"),
    (annotated("sidecar.istio.io/rewriteAppHTTPProbers"),      "metadata.annotations[sidecar.istio.io/rewriteAppHTTPProbers]"),
    (annotated("sidecar.istio.io/nativeSidecar"),              "metadata.annotations[sidecar.istio.io/nativeSidecar]"),
    (annotated("proxy.istio.io/config", "holdApplicationUntilProxyStarts: false"), "metadata.annotations[proxy.istio.io/config].holdApplicationUntilProxyStarts"),
]
ORDINARY = [
    pod(),
    pod({}, {}),
    pod(volumes=None, initContainers=None, nodeSelector=None),
    pod({"command": ["sleep"], "args": ["5"], "env": [{"name": "A", "value": "b"}], "resources": {"limits": {"cpu": 1, "memory": "64Mi"}}}),
    pod({"readinessProbe": HTTP, "livenessProbe": {"tcpSocket": {"port": "http"}}, "startupProbe": {"exec": {"command": ["true"]}}}),
    pod({"lifecycle": {"preStop": {"exec": {"command": ["x"]}}}}, terminationGracePeriodSeconds=0),
    pod({"securityContext": {"privileged": False, "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}}),
    pod({"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}}]}),
    pod(dnsPolicy="ClusterFirst", hostNetwork=False, tolerations=[{}], imagePullSecrets=[{"name": "x"}]),
    volume(emptyDir={"medium": "Memory"}),
    volume(downwardAPI={"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}),
    volume(projected={"sources": [{"serviceAccountToken": {"path": "token"}}]}),
    mount(readOnly=True, subPath="a/b"),
    annotated("sidecar.istio.io/rewriteAppHTTPProbers", "true"),
    annotated("sidecar.istio.io/nativeSidecar", "true"),
    annotated("proxy.istio.io/config", "holdApplicationUntilProxyStarts: true"),
    annotated("proxy.istio.io/config", "{"),
]
# fmt: on


@pytest.mark.parametrize(("obj", "path", "complaint"), KUBERNETES)
def test_what_kubernetes_refuses(obj: dict[str, Any], path: str, complaint: str) -> None:
    errors = {error.path: str(error) for error in judge(obj).errors}

    assert list(errors) == [path]
    assert complaint in errors[path]


@pytest.mark.parametrize(("obj", "path"), UNSUPPORTED, ids=[row[1] for row in UNSUPPORTED])
def test_what_the_process_runtime_cannot_do_is_refused(obj: dict[str, Any], path: str) -> None:
    errors = {error.path: str(error) for error in judge(obj).errors}

    assert list(errors) == [path]
    assert "Forbidden" in errors[path]


def test_every_row_of_the_support_tables_is_exercised() -> None:
    exercised = {row[1].rpartition(".")[2] for row in UNSUPPORTED}

    for rules in (
        REFUSED_POD_FIELDS,
        REFUSED_CONTAINER_FIELDS,
        REFUSED_PRIVILEGES,
        REFUSED_MOUNT_FIELDS,
    ):
        assert set(rules) <= exercised


@pytest.mark.parametrize(("obj", "path"), WARNED, ids=[row[1] for row in WARNED])
def test_what_makes_no_difference_is_a_warning(obj: dict[str, Any], path: str) -> None:
    verdict = judge(obj)

    assert verdict.errors == []
    assert [warning.partition(":")[0] for warning in verdict.warnings] == [path]


@pytest.mark.parametrize("obj", ORDINARY)
def test_ordinary_pods_pass_without_a_word(obj: dict[str, Any]) -> None:
    assert judge(obj) == Verdict()


def test_the_injected_proxy_may_ask_for_what_it_needs() -> None:
    security = {"runAsUser": 1337, "capabilities": {"add": ["NET_ADMIN"]}}

    assert judge(pod({"name": "istio-proxy", "securityContext": security})) == Verdict()


def test_annotations_of_a_template_are_judged_at_its_own_path() -> None:
    made = annotated("sidecar.istio.io/nativeSidecar")
    made["metadata"]["labels"] = {"app": "x"}
    deployment = {
        "metadata": {"name": "web"},
        "spec": {"selector": {"matchLabels": {"app": "x"}}, "template": made},
    }

    (warning,) = check_deployment(deployment, None).warnings
    where = "spec.template.metadata.annotations[sidecar.istio.io/nativeSidecar]"
    assert warning == (
        f"{where}: has no effect: the proxy always starts before the pod's containers and ends "
        "after them"
    )


def test_a_template_is_judged_at_its_own_path() -> None:
    template = {"metadata": {"labels": {"app": "x"}}, "spec": pod(hostNetwork=True)["spec"]}
    deployment = {
        "metadata": {"name": "web"},
        "spec": {"selector": {"matchLabels": {"app": "x"}}, "template": template},
    }

    errors = validate(kind_of(DEPLOYMENTS), deployment).errors

    assert [error.path for error in errors] == ["spec.template.spec.hostNetwork"]


CHANGES = [
    pytest.param({"image": "y"}, {}, True, id="an image"),
    pytest.param({}, {"terminationGracePeriodSeconds": 5}, True, id="the grace period"),
    pytest.param({}, {"nodeName": "mutua-node"}, True, id="the node, once"),
    pytest.param({"command": ["x"]}, {}, False, id="a command"),
    pytest.param({}, {"serviceAccountName": "other"}, False, id="the identity"),
    pytest.param({}, {"volumes": [{"name": "v", "emptyDir": {}}]}, False, id="the volumes"),
]


@pytest.mark.parametrize(("container", "spec", "allowed"), CHANGES)
def test_what_may_change_in_a_pod(
    container: dict[str, Any], spec: dict[str, Any], allowed: bool
) -> None:
    old = apply_defaults(kind_of(PODS), pod())
    new = copy.deepcopy(old)
    new["spec"]["containers"][0] |= container
    new["spec"] |= spec

    assert (judge(new, old).errors == []) is allowed


def test_a_pod_is_scheduled_only_once() -> None:
    old = apply_defaults(kind_of(PODS), pod(nodeName="a"))

    assert judge(pod(nodeName="b"), old).errors
