"""apply, create, get, describe, label, annotate, patch, delete: as typed by a user."""

import json
from typing import Any

import yaml

from mutua.api.object import DEPLOYMENTS, NAMESPACES, PEER_AUTHENTICATIONS, PODS

Cluster = Any  # the fixture's class lives in conftest, which tests cannot import

STRICT = """
apiVersion: security.istio.io/v1beta1
kind: PeerAuthentication
metadata:
  name: default
  namespace: istio-system
spec:
  mtls:
    mode: STRICT
"""

DEPLOYMENT = """
apiVersion: v1
kind: Namespace
metadata:
  name: shop
  labels:
    istio-injection: enabled
---
apiVersion: v1
kind: Service
metadata:
  name: web
  namespace: shop
spec:
  selector: {app: web}
  ports:
  - {name: http, port: 8000, targetPort: 80}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  namespace: shop
spec:
  replicas: 2
  selector:
    matchLabels: {app: web}
  template:
    metadata:
      labels: {app: web}
    spec:
      containers:
      - name: web
        image: docker.io/kennethreitz/httpbin
        command: [python3, -m, http.server]
        ports:
        - containerPort: 80
"""

POD = """
apiVersion: v1
kind: Pod
metadata: {name: p, namespace: default, labels: {app: p}}
spec:
  containers:
  - {name: app, image: x, command: [sleep, "1"]}
"""


def apply(cluster: Cluster, manifest: str, *args: str) -> str:
    out: str = cluster.kubectl("apply", "-f", "-", *args, stdin=manifest)
    return out


def stored(cluster: Cluster, kind: str, name: str, namespace: str) -> dict[str, Any]:
    text = cluster.kubectl("get", kind, name, "-n", namespace, "-o", "json")
    obj: dict[str, Any] = json.loads(text)
    return obj


def test_a_policy_is_created_configured_and_left_alone(cluster: Cluster) -> None:
    assert "peerauthentication.security.istio.io/default created" in apply(cluster, STRICT)
    assert "default unchanged" in apply(cluster, STRICT)
    assert "default configured" in apply(cluster, STRICT.replace("STRICT", "PERMISSIVE"))
    assert "MODE" in (out := cluster.kubectl("get", "peerauthentication", "-A"))
    assert out.split("\n")[1].split()[:3] == ["istio-system", "default", "PERMISSIVE"]


def test_built_in_kinds_are_applied_twice_without_a_difference(cluster: Cluster) -> None:
    assert apply(cluster, DEPLOYMENT).splitlines() == [
        "namespace/shop created",
        "service/web created",
        "deployment.apps/web created",
    ]
    assert apply(cluster, DEPLOYMENT).splitlines() == [
        "namespace/shop unchanged",
        "service/web unchanged",
        "deployment.apps/web unchanged",
    ]
    changed = DEPLOYMENT.replace("http.server]", "http.server, '81']").replace("s: 2", "s: 3")
    assert "deployment.apps/web configured" in apply(cluster, changed)
    spec = stored(cluster, "deploy", "web", "shop")["spec"]
    assert spec["replicas"] == 3
    assert spec["template"]["spec"]["containers"][0]["command"][-1] == "81"


def test_removing_a_field_from_the_manifest_removes_it(cluster: Cluster) -> None:
    apply(cluster, DEPLOYMENT)

    apply(cluster, DEPLOYMENT.replace("        command: [python3, -m, http.server]\n", ""))

    containers = stored(cluster, "deploy", "web", "shop")["spec"]["template"]["spec"]["containers"]
    assert "command" not in containers[0]
    assert containers[0]["ports"][0]["containerPort"] == 80


def test_the_same_object_has_every_version(cluster: Cluster) -> None:
    apply(cluster, STRICT)

    for version in ("v1", "v1beta1"):
        kind = f"peerauthentications.{version}.security.istio.io"
        obj = stored(cluster, kind, "default", "istio-system")
        assert obj["apiVersion"] == f"security.istio.io/{version}"
        assert obj["spec"] == {"mtls": {"mode": "STRICT"}}


def test_create_namespace_secret_configmap_and_more(cluster: Cluster) -> None:
    k = cluster.kubectl
    assert k("create", "namespace", "shop") == "namespace/shop created\n"
    assert k("create", "secret", "generic", "s", "-n", "shop", "--from-literal=a=b")
    assert k("create", "configmap", "c", "-n", "shop", "--from-literal=colour=red")
    assert k("create", "serviceaccount", "robot", "-n", "shop")
    assert k("create", "deployment", "d", "-n", "shop", "--image=x", "--", "sleep", "9")

    assert stored(cluster, "secret", "s", "shop")["data"] == {"a": "Yg=="}
    assert stored(cluster, "cm", "c", "shop")["data"] == {"colour": "red"}
    assert stored(cluster, "deploy", "d", "shop")["spec"]["replicas"] == 1
    assert k("create", "token", "robot", "-n", "shop").count(".") == 2
    complaint = k("create", "namespace", "shop", fails=True)
    assert 'Error from server (AlreadyExists): namespaces "shop" already exists' in complaint


def test_get_in_all_forms(cluster: Cluster) -> None:
    apply(cluster, DEPLOYMENT)
    k = cluster.kubectl

    assert k("get", "deploy", "-n", "shop").split()[:5] == [
        "NAME",
        "READY",
        "UP-TO-DATE",
        "AVAILABLE",
        "AGE",
    ]
    assert "CONTAINERS" in k("get", "deploy", "-n", "shop", "-o", "wide")
    assert yaml.safe_load(k("get", "svc", "web", "-n", "shop", "-o", "yaml"))["kind"] == "Service"
    assert k("get", "deploy,svc", "-n", "shop", "-o", "name").split() == [
        "deployment.apps/web",
        "service/web",
    ]
    assert k("get", "ns", "shop", "-o", "jsonpath={.status.phase}") == "Active"
    assert "istio-injection=enabled" in k("get", "ns", "-l", "istio-injection", "--show-labels")
    assert "No resources found" in k("get", "ns", "-l", "istio-injection=disabled")
    assert "deployment.apps/web" in k("get", "all", "-n", "shop")
    assert 'pods "nope" not found' in k("get", "pod", "nope", fails=True)


def test_get_watch_shows_changes_as_they_come(cluster: Cluster) -> None:
    apply(cluster, STRICT)

    with cluster.start("get", "pa", "-A", "-w", "--output-watch-events") as watching:
        assert watching.stdout is not None
        lines = [watching.stdout.readline().split() for _ in range(2)]
        apply(cluster, STRICT.replace("STRICT", "DISABLE"))
        lines.append(watching.stdout.readline().split())
        cluster.kubectl("delete", "pa", "default", "-n", "istio-system")
        lines.append(watching.stdout.readline().split())
        watching.terminate()

    assert [(line[0], line[3]) for line in lines[1:]] == [
        ("ADDED", "STRICT"),
        ("MODIFIED", "DISABLE"),
        ("DELETED", "DISABLE"),
    ]


def test_describe_policies_and_workloads(cluster: Cluster) -> None:
    apply(cluster, STRICT)
    apply(cluster, DEPLOYMENT)
    apply(cluster, POD)

    assert "STRICT" in cluster.kubectl("describe", "pa", "default", "-n", "istio-system")
    assert "kennethreitz/httpbin" in cluster.kubectl("describe", "deploy", "web", "-n", "shop")
    assert "Containers:" in cluster.kubectl("describe", "pod", "p")
    assert "istio-injection=enabled" in cluster.kubectl("describe", "ns", "shop")
    assert "TargetPort:" in cluster.kubectl("describe", "svc", "web", "-n", "shop")


def test_label_annotate_and_patch(cluster: Cluster) -> None:
    apply(cluster, DEPLOYMENT)
    k = cluster.kubectl

    assert "labeled" in k("label", "namespace", "default", "istio-injection=enabled")
    assert "unlabeled" in k("label", "namespace", "default", "istio-injection-")
    assert "annotated" in k("annotate", "deploy", "web", "-n", "shop", "a=b")
    k("patch", "deploy", "web", "-n", "shop", "-p", '{"spec":{"replicas":5}}')
    k("patch", "deploy", "web", "-n", "shop", "--type=merge", "-p", '{"spec":{"paused":true}}')
    operations = '[{"op":"replace","path":"/spec/replicas","value":6}]'
    k("patch", "deploy", "web", "-n", "shop", "--type=json", "-p", operations)

    deployment = stored(cluster, "deploy", "web", "shop")
    assert (deployment["spec"]["replicas"], deployment["spec"]["paused"]) == (6, True)
    assert deployment["metadata"]["annotations"]["a"] == "b"
    assert "istio-injection" not in stored(cluster, "ns", "default", "")["metadata"]["labels"]


def test_scale_and_restart_change_the_deployment(cluster: Cluster) -> None:
    apply(cluster, DEPLOYMENT)

    cluster.kubectl("scale", "deploy/web", "-n", "shop", "--replicas=4")
    cluster.kubectl("rollout", "restart", "deploy/web", "-n", "shop")

    spec = stored(cluster, "deploy", "web", "shop")["spec"]
    assert spec["replicas"] == 4
    annotations = spec["template"]["metadata"]["annotations"]
    assert "kubectl.kubernetes.io/restartedAt" in annotations


def test_rollout_status_waits_for_the_controller(cluster: Cluster) -> None:
    apply(cluster, DEPLOYMENT)

    with cluster.start("rollout", "status", "deploy/web", "-n", "shop") as waiting:
        assert waiting.stdout is not None
        assert "Waiting for deployment" in waiting.stdout.readline()
        deployment = cluster.run(cluster.registry.get(DEPLOYMENTS, "shop", "web"))
        counts = dict.fromkeys(
            ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), 2
        )
        status = counts | {"observedGeneration": deployment["metadata"]["generation"]}
        cluster.run(cluster.registry.update_status(DEPLOYMENTS, deployment | {"status": status}))
        rest = waiting.stdout.read()

    assert 'deployment "web" successfully rolled out' in rest
    assert waiting.returncode == 0


def test_wait_for_a_condition(cluster: Cluster) -> None:
    apply(cluster, STRICT)

    arguments = ["pa/default", "-n", "istio-system", "--for=condition=InForce", "--timeout=60s"]
    with cluster.start("wait", *arguments) as waiting:
        policy = cluster.run(cluster.registry.get(PEER_AUTHENTICATIONS, "istio-system", "default"))
        status = {"conditions": [{"type": "InForce", "status": "True"}]}
        update = cluster.registry.update_status(PEER_AUTHENTICATIONS, policy | {"status": status})
        cluster.run(update)
        out, _ = waiting.communicate(timeout=60)

    assert "condition met" in out


def test_delete_removes_a_policy(cluster: Cluster) -> None:
    apply(cluster, STRICT)

    out = cluster.kubectl("delete", "-f", "-", stdin=STRICT)

    assert 'peerauthentication.security.istio.io "default" deleted' in out
    assert "not found" in cluster.kubectl("get", "pa", "default", "-n", "istio-system", fails=True)


def test_delete_of_a_namespace_waits_until_it_is_empty(cluster: Cluster) -> None:
    cluster.kubectl("create", "namespace", "shop")

    with cluster.start("delete", "namespace", "shop") as deleting:
        with cluster.start("get", "ns", "shop", "-w", "-o", "name") as watching:
            watching.terminate()
        namespace = cluster.run(_terminating(cluster))
        refused = cluster.kubectl("create", "cm", "late", "-n", "shop", fails=True)
        assert deleting.poll() is None
        metadata = namespace["metadata"] | {"finalizers": []}
        metadata.pop("resourceVersion")
        cluster.run(cluster.registry.update(NAMESPACES, namespace | {"metadata": metadata}))
        out, _ = deleting.communicate(timeout=60)

    assert namespace["status"]["phase"] == "Terminating"
    assert "because it is being terminated" in refused
    assert 'namespace "shop" deleted' in out


async def _terminating(cluster: Cluster) -> dict[str, Any]:
    async for event in cluster.registry.watch(NAMESPACES, since=0):
        obj: dict[str, Any] = event.object
        if (obj.get("status") or {}).get("phase") == "Terminating":
            return obj
    raise AssertionError("a watch does not end")


def test_a_pod_that_a_node_runs_gets_its_grace(cluster: Cluster) -> None:
    apply(cluster, POD)
    pod = cluster.run(cluster.registry.get(PODS, "default", "p"))
    pod["spec"]["nodeName"] = "mutua-node"
    cluster.run(cluster.registry.update(PODS, pod))

    cluster.kubectl("delete", "pod", "p", "--wait=false", "--grace-period=7")

    ending = cluster.run(cluster.registry.get(PODS, "default", "p"))
    assert ending["metadata"]["deletionGracePeriodSeconds"] == 7
    cluster.run(cluster.registry.delete(PODS, "default", "p", grace=0))
    assert "not found" in cluster.kubectl("get", "pod", "p", fails=True)


def test_dry_run_stores_nothing(cluster: Cluster) -> None:
    assert "created (server dry run)" in apply(cluster, STRICT, "--dry-run=server")
    assert "No resources found" in cluster.kubectl("get", "pa", "-A")
    apply(cluster, STRICT)
    changed = STRICT.replace("STRICT", "DISABLE")
    assert "configured (server dry run)" in apply(cluster, changed, "--dry-run=server")
    assert stored(cluster, "pa", "default", "istio-system")["spec"]["mtls"]["mode"] == "STRICT"


def test_diff_and_replace(cluster: Cluster) -> None:
    apply(cluster, STRICT)
    changed = STRICT.replace("STRICT", "DISABLE")

    assert "replaced" in cluster.kubectl("replace", "-f", "-", stdin=changed)
    assert stored(cluster, "pa", "default", "istio-system")["spec"]["mtls"]["mode"] == "DISABLE"


def test_logs_are_streamed_with_their_options(cluster: Cluster) -> None:
    apply(cluster, POD)

    out = cluster.kubectl("logs", "p", "-c", "app", "-f", "--tail=5", "--timestamps")

    assert out == "first line\nsecond line\n"
    asked = cluster.containers.asked[-1]
    assert (asked.container, asked.follow, asked.tail, asked.timestamps) == ("app", True, 5, True)


def test_refusals_of_the_containers_reach_the_user(cluster: Cluster) -> None:
    apply(cluster, POD)

    assert "is not valid for pod" in cluster.kubectl("logs", "p", "-c", "no", fails=True)
    assert "cannot run sh -c" in cluster.kubectl("exec", "p", "--", "sh", "-c", "x", fails=True)
    assert 'pods "q" not found' in cluster.kubectl("exec", "q", "--", "true", fails=True)


ROBOT = """
apiVersion: v1
kind: Pod
metadata: {name: web-1, namespace: shop}
spec: {serviceAccountName: robot, containers: [{name: app, image: x}]}
"""


def review(cluster: Cluster, token: str, audience: str) -> dict[str, Any]:
    asked = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "spec": {"token": token, "audiences": [audience]},
    }
    answer = cluster.kubectl("create", "-o", "json", "-f", "-", stdin=json.dumps(asked))
    return json.loads(answer)["status"]


def test_tokens_are_bound_to_pods_and_reviewed(cluster: Cluster) -> None:
    k = cluster.kubectl
    k("create", "namespace", "shop")
    k("create", "serviceaccount", "robot", "-n", "shop")
    k("create", "serviceaccount", "other", "-n", "shop")
    k("apply", "-f", "-", stdin=ROBOT)
    uid = stored(cluster, "pod", "web-1", "shop")["metadata"]["uid"]
    argv = ["create", "token", "robot", "-n", "shop", "--audience=istio-ca"]
    to_pod = ["--bound-object-kind=Pod", "--bound-object-name=web-1"]
    token = k(*argv, *to_pod, f"--bound-object-uid={uid}").strip()

    found = review(cluster, token, "istio-ca")
    assert found["authenticated"]
    assert found["audiences"] == ["istio-ca"]
    assert found["user"]["username"] == "system:serviceaccount:shop:robot"
    assert "system:serviceaccounts" in found["user"]["groups"]
    assert found["user"]["extra"]["authentication.kubernetes.io/pod-uid"] == [uid]
    assert "another audience" in review(cluster, token, "vault")["error"]
    assert "not a token" in review(cluster, "x.y.z", "istio-ca")["error"]

    k("delete", "pod", "web-1", "-n", "shop", "--now")
    gone = review(cluster, token, "istio-ca")
    assert not gone.get("authenticated")
    assert "pod shop/web-1, which is gone" in gone["error"]


def test_tokens_that_are_refused(cluster: Cluster) -> None:
    k = cluster.kubectl
    k("create", "namespace", "shop")
    for name in ("robot", "other"):
        k("create", "serviceaccount", name, "-n", "shop")
    k("apply", "-f", "-", stdin=ROBOT)
    argv = ["create", "token", "robot", "-n", "shop"]
    to_pod = ["--bound-object-kind=Pod", "--bound-object-name=web-1"]

    assert "less than 10 minutes" in k(*argv, "--duration=60s", fails=True)
    assert "does not match the UID" in k(*argv, *to_pod, "--bound-object-uid=x", fails=True)
    other = ["create", "token", "other", "-n", "shop", *to_pod]
    assert "different serviceaccount name" in k(*other, fails=True)
    missing = [*argv, "--bound-object-kind=Pod", "--bound-object-name=web-2"]
    assert 'pods "web-2" not found' in k(*missing, fails=True)
    secret = [*argv, "--bound-object-kind=Secret", "--bound-object-name=s"]
    assert "bound to a v1 Pod or to nothing" in k(*secret, fails=True)
