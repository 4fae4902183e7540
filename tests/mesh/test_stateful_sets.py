"""Meshed StatefulSets behind headless Services: each pod by its own name, over mutual TLS."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from mutua.testing.running_mesh import RunningMesh, eventually

SERVE = """
import http.server, json, os, socketserver, threading
name = os.uname().nodename
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        proof = self.headers.get("X-Forwarded-Client-Cert", "")
        body = json.dumps({"host": name, "proof": proof}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
class Echo(socketserver.StreamRequestHandler):
    def handle(self):
        self.rfile.readline()
        self.wfile.write(name.encode() + b"\\n")
socketserver.ThreadingTCPServer.allow_reuse_address = True
tcp = socketserver.ThreadingTCPServer(("0.0.0.0", 9000), Echo)
threading.Thread(target=tcp.serve_forever, daemon=True).start()
http.server.ThreadingHTTPServer(("0.0.0.0", 8080), Answer).serve_forever()
"""

ASK = """
import socket, sys
with socket.create_connection((sys.argv[1], 9000), 20) as s:
    s.sendall(b"hello\\n")
    print(s.makefile().readline().strip())
"""

KEEP_ASKING = """
import collections, json, os, socket
seen = collections.Counter()
while not os.path.exists("/tmp/enough"):
    for pod in ("web-0", "web-1"):
        try:
            address = socket.gethostbyname(f"{pod}.web")
        except OSError:
            seen["away"] += 1
            continue
        try:
            with socket.create_connection((address, 9000), 20) as s:
                s.sendall(b"hello\\n")
                seen[s.makefile().readline().strip() or "closed"] += 1
        except OSError as error:
            seen[repr(error)] += 1
    open("/tmp/asking", "a").close()
print(json.dumps(seen))
"""


def indented(text: str) -> str:
    return "".join(f"    {line}\n" for line in text.strip().splitlines())


def client(name: str, *, injected: str) -> str:
    return f"""
---
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: shop, labels: {{sidecar.istio.io/inject: "{injected}"}}}}
spec:
  containers: [{{name: c, image: curl, volumeMounts: [{{name: p, mountPath: /p}}]}}]
  volumes: [{{name: p, configMap: {{name: programs}}}}]
"""


MANIFEST = f"""
apiVersion: v1
kind: Namespace
metadata: {{name: shop, labels: {{istio-injection: enabled}}}}
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: programs, namespace: shop}}
data:
  serve.py: |
{indented(SERVE)}
  ask.py: |
{indented(ASK)}
  keep_asking.py: |
{indented(KEEP_ASKING)}
---
apiVersion: v1
kind: Service
metadata: {{name: web, namespace: shop}}
spec:
  clusterIP: None
  selector: {{app: web}}
  ports: [{{name: http, port: 8080}}, {{name: tcp-echo, port: 9000}}]
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {{name: web, namespace: shop}}
spec:
  serviceName: web
  replicas: 2
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      containers:
      - name: app
        image: x
        command: [python3, /p/serve.py]
        readinessProbe: {{httpGet: {{port: 8080}}, periodSeconds: 1}}
        volumeMounts: [{{name: p, mountPath: /p}}]
      volumes: [{{name: p, configMap: {{name: programs}}}}]
{client("inside", injected="true")}
{client("outside", injected="false")}
"""

PODS = ("web-0", "web-1")


@pytest.fixture(scope="module")
def shop(mesh: RunningMesh) -> RunningMesh:
    mesh.apply(MANIFEST)
    rolled_out(mesh, "web")
    mesh.kubectl("wait", "--for=condition=Ready", "pod", "--all", "-n", "shop", "--timeout=60s")
    return mesh


def rolled_out(mesh: RunningMesh, name: str) -> None:
    mesh.kubectl("rollout", "status", f"sts/{name}", "-n", "shop", "--timeout=60s")


def run(mesh: RunningMesh, pod: str, *argv: str) -> str:
    return mesh.kubectl("exec", "-n", "shop", pod, "--", *argv, check=False).stdout


def get(mesh: RunningMesh, pod: str, host: str) -> dict[str, Any]:
    """Return what a request over HTTP was answered, {} when it was refused."""
    said = run(mesh, pod, "curl", "-s", "-m", "20", f"http://{host}:8080/")
    answer: dict[str, Any] = json.loads(said) if said.startswith("{") else {}
    return answer


def first_answer(mesh: RunningMesh, host: str) -> dict[str, Any]:
    """Return what the meshed client is answered first: a name may come a moment after its pod."""
    answer: dict[str, Any] = eventually(lambda: get(mesh, "inside", host), f"{host} answers")
    return answer


def identities(mesh: RunningMesh) -> dict[str, str]:
    pods = mesh.get("pods", "-n", "shop", "-l", "app=web")["items"]
    return {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in pods}


def demand_mutual_tls(mesh: RunningMesh) -> None:
    mesh.apply(
        "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\n"
        "metadata: {name: default, namespace: shop}\nspec: {mtls: {mode: STRICT}}\n"
    )
    mesh.kubectl("wait", "--for=condition=InForce", "pa/default", "-n", "shop")


def test_each_pod_is_reached_by_its_own_name_over_mutual_tls(shop: RunningMesh) -> None:
    for pod, name in zip(PODS, ("web-0.web.shop", "web-1.web"), strict=True):
        answer = first_answer(shop, name)
        assert answer["host"] == pod
        assert "URI=spiffe://cluster.local/ns/shop/sa/default" in answer["proof"]
        assert run(shop, "inside", "python3", "/p/ask.py", f"{pod}.web.shop") == f"{pod}\n"
        assert get(shop, "outside", f"{pod}.web") == {"host": pod, "proof": ""}


def test_under_strict_a_pod_without_a_sidecar_is_refused(shop: RunningMesh) -> None:
    demand_mutual_tls(shop)

    for pod in PODS:
        assert get(shop, "outside", f"{pod}.web") == {}
        assert run(shop, "outside", "python3", "/p/ask.py", f"{pod}.web") == ""
        assert get(shop, "inside", f"{pod}.web")["host"] == pod
        assert run(shop, "inside", "python3", "/p/ask.py", f"{pod}.web") == f"{pod}\n"


def test_a_pod_knows_its_own_name(shop: RunningMesh) -> None:
    said = run(shop, "web-1", "sh", "-c", "hostname; hostname -f; grep web-1 /etc/hosts")

    full = "web-1.web.shop.svc.cluster.local"
    address = shop.get("pod", "web-1", "-n", "shop")["status"]["podIP"]
    assert said.splitlines() == ["web-1", full, f"{address}\t{full} web-1"]


def test_istioctl_knows_the_set(shop: RunningMesh) -> None:
    said = shop.mutua("istioctl", "x", "describe", "pod", "sts/web.shop").stdout

    assert said.startswith("Pod: web-")


def test_whoever_finds_a_pod_s_name_reaches_it_over_mutual_tls(shop: RunningMesh) -> None:
    demand_mutual_tls(shop)

    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(run, shop, "inside", "python3", "/p/keep_asking.py")
        try:
            eventually(lambda: run(shop, "inside", "ls", "/tmp/asking"), "it asks")
            shop.kubectl("rollout", "restart", "sts/web", "-n", "shop")
            rolled_out(shop, "web")
        finally:
            run(shop, "inside", "touch", "/tmp/enough")
        seen = json.loads(asking.result())

    assert seen.keys() == {"web-0", "web-1", "away"}, seen


def test_names_outlive_the_pods_and_a_rollout_outlives_the_daemon(shop: RunningMesh) -> None:
    before = identities(shop)

    shop.kubectl("rollout", "restart", "sts/web", "-n", "shop")
    eventually(lambda: identities(shop) != before, "the first pod is replaced")
    shop.kill_daemon()
    shop.up()
    rolled_out(shop, "web")

    after = identities(shop)
    assert after.keys() == before.keys()
    assert not {*after.values()} & {*before.values()}
    for pod in PODS:
        eventually(lambda pod=pod: get(shop, "inside", f"{pod}.web").get("host") == pod, pod)


def test_scaling_adds_and_removes_at_the_end(shop: RunningMesh) -> None:
    shop.kubectl("scale", "sts/web", "-n", "shop", "--replicas=3")
    rolled_out(shop, "web")
    assert "URI=spiffe://" in first_answer(shop, "web-2.web.shop")["proof"]

    shop.kubectl("scale", "sts/web", "-n", "shop", "--replicas=2")
    shop.kubectl("wait", "--for=delete", "pod/web-2", "-n", "shop", "--timeout=60s")
    assert identities(shop).keys() == {*PODS}


def bare_set(name: str, image: str, **fields: str) -> str:
    more = "".join(f"  {key}: {value}\n" for key, value in fields.items())
    return f"""
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {{name: {name}, namespace: shop}}
spec:
  serviceName: {name}
  selector: {{matchLabels: {{app: {name}}}}}
{more}  template:
    metadata: {{labels: {{app: {name}, sidecar.istio.io/inject: "false"}}}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: app
        image: {image}
        readinessProbe: {{exec: {{command: [test, -e, /tmp/{name}]}}, periodSeconds: 1}}
"""


PEERS = """
apiVersion: v1
kind: Service
metadata: {name: early, namespace: shop}
spec: {clusterIP: None, publishNotReadyAddresses: true, selector: {app: early}}
---
apiVersion: v1
kind: Service
metadata: {name: late, namespace: shop}
spec: {clusterIP: None, selector: {app: early}}
""" + bare_set("early", "curl", replicas="2", podManagementPolicy="Parallel")


def test_peers_find_each_other_before_they_are_ready(shop: RunningMesh) -> None:
    shop.apply(PEERS)

    for one, other in (("early-0", "early-1"), ("early-1", "early-0")):
        found = eventually(
            lambda one=one, other=other: run(shop, one, "getent", "hosts", f"{other}.early"),
            f"{one} finds {other}",
        )
        assert shop.get("pod", other, "-n", "shop")["status"]["podIP"] == found.split()[0]
    assert run(shop, "outside", "getent", "hosts", "late") == ""
    eventually(lambda: run(shop, "early-1", "sh", "-c", "touch /tmp/early && echo done"), "ready")
    eventually(lambda: run(shop, "outside", "getent", "hosts", "late"), "a ready pod is found")


def test_a_wrong_image_is_corrected_and_kubectl_goes_back_to_it(shop: RunningMesh) -> None:
    shop.apply(bare_set("oops", "no/such/image"))
    eventually(
        lambda: "ErrImagePull" in shop.kubectl("get", "pods", "-n", "shop").stdout,
        "the image is unknown",
    )

    shop.kubectl("set", "image", "sts/oops", "-n", "shop", "app=curl")
    eventually(lambda: run(shop, "oops-0", "sh", "-c", "touch /tmp/oops && echo done"), "it runs")
    rolled_out(shop, "oops")

    history = shop.kubectl("rollout", "history", "sts/oops", "-n", "shop").stdout
    assert [line.split()[0] for line in history.splitlines()[2:] if line] == ["1", "2"]
    said = shop.kubectl("rollout", "undo", "sts/oops", "-n", "shop").stdout
    assert said == "statefulset.apps/oops rolled back\n"
    [container] = shop.get("sts", "oops", "-n", "shop")["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "no/such/image"


def test_deleting_the_set_takes_pods_and_names_along(shop: RunningMesh) -> None:
    shop.kubectl("delete", "sts", "--all", "-n", "shop")
    gone = ("--for=delete", "pod", "-l", "app in (web,early,oops)", "--timeout=60s")
    shop.kubectl("wait", *gone, "-n", "shop")

    left = ("get", "sts,controllerrevisions", "-n", "shop", "-o", "name")
    eventually(lambda: shop.kubectl(*left).stdout == "", "neither sets nor revisions are left")
    eventually(lambda: not run(shop, "outside", "getent", "hosts", "web-0.web"), "no such name")
