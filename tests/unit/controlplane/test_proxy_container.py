import json
from typing import Any

import pytest

from mutua.api.object import Object
from mutua.controlplane.proxy_container import InjectionSettings, inject, without_injection

MESH = InjectionSettings()


def pod(**metadata: Any) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web-5d8-x7", "namespace": "shop", **metadata},
        "spec": {
            "containers": [
                {"name": "app", "ports": [{"containerPort": 80, "name": "http"}]},
                {"name": "logger"},
            ]
        },
    }


def owned_by(kind: str, name: str, version: str = "apps/v1") -> list[Object]:
    return [{"apiVersion": version, "kind": kind, "name": name, "controller": True}]


def proxy_of(injected: Object) -> Object:
    return injected["spec"]["containers"][-1]


def environment(injected: Object) -> dict[str, Any]:
    return {
        one["name"]: one.get("value", one.get("valueFrom")) for one in proxy_of(injected)["env"]
    }


def test_the_proxy_has_istios_name_ports_and_probes() -> None:
    proxy = proxy_of(inject(pod(), MESH))

    ready = {"path": "/healthz/ready", "port": 15021}
    assert proxy["name"] == "istio-proxy"
    assert proxy["ports"] == [
        {"containerPort": 15090, "name": "http-envoy-prom", "protocol": "TCP"}
    ]
    assert proxy["startupProbe"] == {
        "httpGet": ready,
        "timeoutSeconds": 3,
        "periodSeconds": 1,
        "failureThreshold": 600,
    }
    assert proxy["readinessProbe"] == {
        "httpGet": ready,
        "timeoutSeconds": 3,
        "periodSeconds": 15,
        "failureThreshold": 4,
    }
    assert proxy["args"][:4] == [
        "proxy",
        "sidecar",
        "--domain",
        "$(POD_NAMESPACE).svc.cluster.local",
    ]


def test_the_environment_describes_the_workload_as_istio_does() -> None:
    labels = {"app": "web", "pod-template-hash": "5d8"}
    injected = inject(pod(labels=labels, ownerReferences=owned_by("ReplicaSet", "web-5d8")), MESH)

    found = environment(injected)

    assert found["POD_NAME"] == {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}
    assert found["INSTANCE_IP"] == {"fieldRef": {"apiVersion": "v1", "fieldPath": "status.podIP"}}
    assert found["ISTIO_META_WORKLOAD_NAME"] == "web"
    assert found["ISTIO_META_OWNER"] == (
        "kubernetes://apis/apps/v1/namespaces/shop/deployments/web"
    )
    assert found["ISTIO_META_APP_CONTAINERS"] == "app,logger"
    assert json.loads(found["ISTIO_META_POD_PORTS"]) == [{"containerPort": 80, "name": "http"}]
    assert found["TRUST_DOMAIN"] == found["ISTIO_META_MESH_ID"] == "cluster.local"


def test_nothing_secret_is_in_the_pod() -> None:
    assert "PRIVATE" not in json.dumps(inject(pod(), MESH))


@pytest.mark.parametrize(
    ("metadata", "name", "owner"),
    [
        pytest.param({}, "web-5d8-x7", "v1/namespaces/shop/pods/web-5d8-x7", id="a bare pod"),
        pytest.param(
            {"name": "", "generateName": "job-"},
            "job",
            "v1/namespaces/shop/pods/job",
            id="a pod without a name yet",
        ),
        pytest.param(
            {"ownerReferences": owned_by("ReplicaSet", "web-5d8")},
            "web-5d8",
            "apps/v1/namespaces/shop/replicasets/web-5d8",
            id="a replica set that no deployment made",
        ),
        pytest.param(
            {"name": "web-0", "ownerReferences": owned_by("StatefulSet", "web")},
            "web",
            "apps/v1/namespaces/shop/statefulsets/web",
            id="a stateful set",
        ),
        pytest.param(
            {"ownerReferences": owned_by("Job", "nightly", "batch/v1")},
            "nightly",
            "batch/v1/namespaces/shop/jobs/nightly",
            id="a job",
        ),
    ],
)
def test_whose_pod_it_is(metadata: dict[str, Any], name: str, owner: str) -> None:
    found = environment(inject(pod(**metadata), MESH))

    assert found["ISTIO_META_WORKLOAD_NAME"] == name
    assert found["ISTIO_META_OWNER"] == f"kubernetes://apis/{owner}"


@pytest.mark.parametrize(
    ("labels", "name", "revision"),
    [
        pytest.param({}, "web-5d8-x7", "latest", id="nothing said: the workload's name"),
        pytest.param({"app": "web", "version": "v2"}, "web", "v2", id="app and version"),
        pytest.param(
            {
                "app": "a",
                "version": "1",
                "app.kubernetes.io/name": "b",
                "app.kubernetes.io/version": "2",
            },
            "b",
            "2",
            id="the recommended labels come first",
        ),
        pytest.param(
            {
                "app": "a",
                "service.istio.io/canonical-name": "c",
                "service.istio.io/canonical-revision": "3",
            },
            "c",
            "3",
            id="the author's canonical labels stay",
        ),
    ],
)
def test_canonical_labels(labels: dict[str, str], name: str, revision: str) -> None:
    found = inject(pod(labels=labels), MESH)["metadata"]["labels"]

    assert found == {
        **labels,
        "security.istio.io/tlsMode": "istio",
        "service.istio.io/canonical-name": name,
        "service.istio.io/canonical-revision": revision,
    }


def test_a_long_workload_name_still_makes_a_valid_label() -> None:
    name = "a" * 62 + "-" + "b" * 100

    labels = inject(pod(name=name), MESH)["metadata"]["labels"]

    assert labels["service.istio.io/canonical-name"] == "a" * 62


def test_annotations() -> None:
    found = inject(pod(), MESH)["metadata"]["annotations"]

    status = json.loads(found.pop("sidecar.istio.io/status"))
    assert found == {
        "istio.io/rev": "default",
        "kubectl.kubernetes.io/default-container": "app",
        "kubectl.kubernetes.io/default-logs-container": "app",
    }
    assert status == {
        "initContainers": None,
        "containers": ["istio-proxy"],
        "volumes": ["istio-podinfo", "istio-token"],
        "imagePullSecrets": None,
        "revision": "default",
    }


def test_the_authors_default_container_stays() -> None:
    mine = {"kubectl.kubernetes.io/default-container": "logger"}

    found = inject(pod(annotations=mine), MESH)["metadata"]["annotations"]

    assert found["kubectl.kubernetes.io/default-container"] == "logger"


def test_an_istio_proxy_in_the_pods_text_sets_its_resources() -> None:
    author = pod()
    mine = {"limits": {"memory": "64Mi"}}
    author["spec"]["containers"].insert(
        0, {"name": "istio-proxy", "image": "auto", "resources": mine}
    )

    injected = inject(author, MESH)

    assert [one["name"] for one in injected["spec"]["containers"]] == [
        "app",
        "logger",
        "istio-proxy",
    ]
    assert proxy_of(injected)["resources"] == mine
    assert proxy_of(injected)["image"].startswith("mutua/proxyv2:")


def test_the_author_gives_the_proxy_files_which_a_second_injection_does_not_double() -> None:
    volume = {"name": "client", "secret": {"secretName": "shop-client"}}
    mount = {"name": "client", "mountPath": "/etc/client"}
    given = {
        "sidecar.istio.io/userVolume": json.dumps([volume]),
        "sidecar.istio.io/userVolumeMount": json.dumps([mount]),
    }
    injected = inject(pod(annotations=given), MESH)

    assert volume in injected["spec"]["volumes"]
    assert {**mount, "readOnly": True} in proxy_of(injected)["volumeMounts"]
    assert all("volumeMounts" not in one for one in injected["spec"]["containers"][:-1])
    assert inject(without_injection(injected), MESH) == injected


def test_two_pods_share_no_mutable_part() -> None:
    first, second = inject(pod(), MESH), inject(pod(), MESH)

    proxy_of(first)["resources"]["limits"]["cpu"] = "changed"

    assert proxy_of(second)["resources"]["limits"]["cpu"] == "2"
