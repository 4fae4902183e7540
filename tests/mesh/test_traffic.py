"""Names, addresses, protocols and modes, as programs in pods experience them."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from mutua.testing.running_mesh import RunningMesh, eventually

ECHO = """
import os, socketserver, sys
class Greeter(socketserver.StreamRequestHandler):
    def handle(self):
        # "server": greets at once.  "client": waits to be spoken to.
        if sys.argv[2] == "client" and not self.rfile.readline():
            return
        self.wfile.write(os.uname().nodename.encode() + b"\\n")
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    def handle_error(self, *_): pass
Server(("0.0.0.0", int(sys.argv[1])), Greeter).serve_forever()
"""

ASK = """
import socket, sys
for _ in range(int(sys.argv[3])):
    try:
        with socket.create_connection((sys.argv[1], int(sys.argv[2])), 20) as s:
            s.settimeout(float(sys.argv[5]))
            if sys.argv[4] == "client":
                s.sendall(b"hello\\n")
            print(s.makefile().readline().strip() or "closed")
    except OSError:
        print("closed")
"""

LOAD = """
import collections, http.client, json, os, sys, time
seen = collections.Counter()
while not os.path.exists("/tmp/enough"):
    try:
        c = http.client.HTTPConnection(sys.argv[1], timeout=20)
        c.request("GET", "/")
        answer = c.getresponse()
        answer.read()
        seen[str(answer.status)] += 1
        c.close()
    except OSError as error:
        seen[repr(error)] += 1
    open("/tmp/asking", "a").close()
    time.sleep(0.005)
print(json.dumps(seen))
"""


def indented(text: str) -> str:
    return "".join(f"    {line}\n" for line in text.strip().splitlines())


def client(name: str, *, meshed: bool) -> str:
    return f"""
---
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: shop, labels: {{sidecar.istio.io/inject: "{meshed}"}}}}
spec:
  containers:
  - {{name: c, image: curl, volumeMounts: [{{name: p, mountPath: /p}}]}}
  volumes: [{{name: p, configMap: {{name: programs}}}}]
""".replace('"True"', '"true"').replace('"False"', '"false"')


MANIFEST = f"""
apiVersion: v1
kind: Namespace
metadata: {{name: shop, labels: {{istio-injection: enabled}}}}
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: programs, namespace: shop}}
data:
  echo.py: |
{indented(ECHO)}
  ask.py: |
{indented(ASK)}
  load.py: |
{indented(LOAD)}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: echo, namespace: shop}}
spec:
  replicas: 2
  selector: {{matchLabels: {{app: echo}}}}
  template:
    metadata: {{labels: {{app: echo}}}}
    spec:
      initContainers:
      - name: first
        image: x
        command: [sh, -c, "echo made > /data/x"]
        volumeMounts: [{{name: data, mountPath: /data}}]
      containers:
      - name: server-speaks-first
        image: x
        command: [python3, /p/echo.py, "9000", server]
        ports: [{{name: tcp-greet, containerPort: 9000}}]
        readinessProbe: {{tcpSocket: {{port: tcp-greet}}, periodSeconds: 1}}
        livenessProbe:
          exec: {{command: [test, -f, /data/x]}}
          periodSeconds: 1
          timeoutSeconds: 20
        volumeMounts:
        - {{name: p, mountPath: /p}}
        - {{name: data, mountPath: /data}}
        - {{name: p, mountPath: /data/programs}}
      - name: client-speaks-first
        image: x
        command: [python3, /p/echo.py, "9001", client]
        ports: [{{name: tcp-ask, containerPort: 9001}}]
        startupProbe: {{tcpSocket: {{port: 9001}}, periodSeconds: 1, failureThreshold: 60}}
        volumeMounts: [{{name: p, mountPath: /p}}]
      - name: web
        image: x
        command: [python3, -m, http.server, "8080"]
        ports: [{{name: web, containerPort: 8080}}]
        readinessProbe: {{httpGet: {{port: web, path: /etc/hostname}}, periodSeconds: 1}}
      volumes: [{{name: p, configMap: {{name: programs}}}}, {{name: data, emptyDir: {{}}}}]
---
apiVersion: v1
kind: Service
metadata: {{name: echo, namespace: shop}}
spec:
  selector: {{app: echo}}
  ports:
  - {{name: tcp-greet, port: 19000, targetPort: tcp-greet}}
  - {{name: tcp-ask, port: 19001, targetPort: tcp-ask}}
  - {{name: http-web, port: 80, targetPort: web}}
---
apiVersion: v1
kind: Service
metadata: {{name: heads, namespace: shop}}
spec:
  clusterIP: None
  selector: {{app: echo}}
  ports: [{{name: tcp-ask, port: 9001, targetPort: tcp-ask}}]
{client("inside", meshed=True)}
{client("outside", meshed=False)}
"""


@pytest.fixture(scope="module")
def shop(mesh: RunningMesh) -> RunningMesh:
    mesh.apply(MANIFEST)
    mesh.kubectl("rollout", "status", "deploy/echo", "-n", "shop", "--timeout=60s")
    mesh.kubectl("wait", "--for=condition=Ready", "pod", "--all", "-n", "shop", "--timeout=60s")
    return mesh


def run(mesh: RunningMesh, pod: str, *argv: str) -> str:
    return mesh.kubectl("exec", "-n", "shop", pod, "-c", "c", "--", *argv, check=False).stdout


def ask(
    mesh: RunningMesh,
    pod: str,
    host: str,
    port: int,
    who: str,
    *,
    times: int = 1,
    patience: int = 20,
) -> set[str]:
    """Return who answered within so many seconds."""
    argv = ("python3", "/p/ask.py", host, str(port), str(times), who, str(patience))
    return set(run(mesh, pod, *argv).split())


def http(mesh: RunningMesh, pod: str, url: str) -> str:
    argv = ("curl", "-s", "-m", "20", "-o", "/dev/null", "-w", "%{http_code}", url)
    return run(mesh, pod, *argv)


def echoes(mesh: RunningMesh) -> dict[str, str]:
    """Return the names of the serving pods and their addresses."""
    pods = mesh.get("pods", "-n", "shop", "-l", "app=echo")["items"]
    return {pod["metadata"]["name"]: pod["status"]["podIP"] for pod in pods}


def set_mode(mesh: RunningMesh, mode: str) -> None:
    mesh.apply(
        "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\n"
        f"metadata: {{name: default, namespace: shop}}\nspec: {{mtls: {{mode: {mode}}}}}\n"
    )
    mesh.kubectl("wait", "--for=condition=InForce", "pa/default", "-n", "shop")


# Which answers a client gets: in the mesh; outside, by who speaks first.  Under PERMISSIVE the
# server's proxy has to see the client's first bytes to tell TLS from plaintext, so a server that
# speaks first is not heard, for as long as this client waits, by a client without a sidecar.
MODES = {
    "STRICT": ({"server", "client"}, set()),
    "PERMISSIVE": ({"server", "client"}, {"client"}),
    "DISABLE": ({"server", "client"}, {"server", "client"}),
}


@pytest.mark.parametrize("mode", MODES)
def test_tcp_services_follow_the_mode(shop: RunningMesh, mode: str) -> None:
    set_mode(shop, mode)
    pods = set(echoes(shop))

    for pod, heard in zip(("inside", "outside"), MODES[mode], strict=True):
        for who, port in (("server", 19000), ("client", 19001)):
            answers = ask(shop, pod, "echo", port, who, patience=20 if who in heard else 2)
            expected = pods if who in heard else {"closed"}
            assert answers <= expected, (mode, pod, who)
            assert answers, (mode, pod, who)


@pytest.mark.parametrize("pod", ["inside", "outside"])
def test_every_form_of_a_name_leads_there_and_two_pods_share_the_work(
    shop: RunningMesh, pod: str
) -> None:
    set_mode(shop, "PERMISSIVE")
    pods = echoes(shop)

    assert ask(shop, pod, "echo", 19001, "client", times=40) == set(pods)
    for host in ("echo.shop", "echo.shop.svc", "echo.shop.svc.cluster.local"):
        assert ask(shop, pod, host, 19001, "client") <= set(pods)
        assert http(shop, pod, f"http://{host}/") == "200"
    assert ask(shop, pod, "heads", 9001, "client") <= set(pods)
    for name, address in pods.items():
        assert ask(shop, pod, address, 9001, "client") == {name}
    assert http(shop, pod, "http://no-such-name/") == "000"


def test_a_volume_inside_a_volume_leaves_the_outer_one_writable(shop: RunningMesh) -> None:
    (name, *_) = echoes(shop)
    script = "echo more > /data/y && echo more > /tmp/y && cat /data/x && ls /data/programs"
    argv = ("exec", "-n", "shop", name, "-c", "server-speaks-first", "--", "sh", "-c", script)

    assert shop.kubectl(*argv).stdout.split() == ["made", "ask.py", "echo.py", "load.py"]


def test_a_pod_reaches_its_own_service(shop: RunningMesh) -> None:
    set_mode(shop, "STRICT")

    shop.kubectl("scale", "deploy/echo", "-n", "shop", "--replicas=1")
    (name,) = eventually(lambda: len(pods := echoes(shop)) == 1 and pods, "one pod is left")
    argv = ("curl", "-s", "-m", "20", "-o", "/dev/null", "-w", "%{http_code}", "http://echo/")
    exec_ = ("exec", "-n", "shop", name, "-c", "web", "--", *argv)
    # Its proxy may hear a moment later that the other pod is gone.
    eventually(lambda: shop.kubectl(*exec_, check=False).stdout == "200", "it reaches itself")
    shop.kubectl("scale", "deploy/echo", "-n", "shop", "--replicas=2")
    shop.kubectl("rollout", "status", "deploy/echo", "-n", "shop", "--timeout=60s")


def test_what_no_service_describes_is_passed_through(shop: RunningMesh) -> None:
    shop.apply(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: loner, namespace: default}\nspec: {containers:"
        " [{name: a, image: x, command: [python3, -m, http.server, '7777']}]}\n"
    )
    shop.kubectl("wait", "--for=condition=Ready", "pod/loner", "-n", "default", "--timeout=60s")
    address = shop.get("pod", "loner", "-n", "default")["status"]["podIP"]

    for pod in ("inside", "outside"):
        eventually(
            lambda pod=pod: http(shop, pod, f"http://{address}:7777/") == "200",
            "a pod without a Service answers",
        )


def test_probes_of_every_kind_hold_under_strict(shop: RunningMesh) -> None:
    set_mode(shop, "STRICT")

    shop.kubectl("rollout", "restart", "deploy/echo", "-n", "shop")
    shop.kubectl("rollout", "status", "deploy/echo", "-n", "shop", "--timeout=60s")
    for pod in shop.get("pods", "-n", "shop", "-l", "app=echo")["items"]:
        if not pod["metadata"].get("deletionTimestamp"):
            assert [c["restartCount"] for c in pod["status"]["containerStatuses"]] == [0] * 4


def test_a_rolling_restart_loses_no_request(shop: RunningMesh) -> None:
    set_mode(shop, "PERMISSIVE")
    clients = ("inside", "outside")

    with ThreadPoolExecutor(2) as pool:
        load = [pool.submit(run, shop, pod, "python3", "/p/load.py", "echo") for pod in clients]
        try:
            for pod in clients:
                eventually(lambda pod=pod: run(shop, pod, "ls", "/tmp/asking"), f"{pod} asks")
            shop.kubectl("rollout", "restart", "deploy/echo", "-n", "shop")
            shop.kubectl("rollout", "status", "deploy/echo", "-n", "shop", "--timeout=60s")
        finally:
            for pod in clients:
                run(shop, pod, "touch", "/tmp/enough")
        seen = [json.loads(one.result()) for one in load]

    assert [set(one) for one in seen] == [{"200"}, {"200"}], seen
