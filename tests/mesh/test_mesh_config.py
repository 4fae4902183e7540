"""Settings of the whole mesh, changed with kubectl while pods talk."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from mutua.testing.running_mesh import RunningMesh, eventually

LOAD = """
import collections, http.client, json, sys, time
# Ask until all that is expected has been seen, and a second longer.
seen, expected = collections.Counter(), set(sys.argv[1:])
end = time.monotonic() + 60
while time.monotonic() < end:
    # To a TCP port: one TLS handshake between the proxies for every connection.
    connection = http.client.HTTPConnection("web", 81, timeout=20)
    try:
        connection.request("GET", "/headers")
        answer = connection.getresponse()
        body = answer.read().decode()
        peer = body.partition("URI=spiffe://")[2].partition("/")[0]
        outcome = f"{answer.status} {peer}"
    except OSError as error:
        outcome = repr(error)
    connection.close()
    if not seen:
        print("begun", flush=True)
    seen[outcome] += 1
    if expected and expected <= seen.keys():
        expected, end = set(), time.monotonic() + 1
print(json.dumps(seen))
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
  load.py: {json.dumps(LOAD)}
---
apiVersion: v1
kind: Pod
metadata: {{name: web, namespace: shop, labels: {{app: web}}}}
spec:
  containers:
  - {{name: c, image: kong/httpbin, readinessProbe: {{tcpSocket: {{port: 80}}, periodSeconds: 1}}}}
---
apiVersion: v1
kind: Service
metadata: {{name: web, namespace: shop}}
spec:
  selector: {{app: web}}
  ports: [{{name: http, port: 80}}, {{name: tcp, port: 81, targetPort: 80}}]
---
apiVersion: v1
kind: Pod
metadata: {{name: client, namespace: shop}}
spec:
  containers:
  - {{name: c, image: curl, volumeMounts: [{{name: p, mountPath: /p}}]}}
  volumes: [{{name: p, configMap: {{name: programs}}}}]
---
apiVersion: v1
kind: Pod
metadata: {{name: outsider, namespace: default}}
spec: {{containers: [{{name: c, image: curl}}]}}
"""
LOCAL = """
apiVersion: v1
kind: Pod
metadata: {name: local, namespace: shop, labels: {app: local}}
spec:
  containers:
  - {name: a, image: x, command: [python3, -m, http.server, --bind, 127.0.0.1, "8080"]}
  - {name: b, image: x, command: [python3, -m, http.server, --bind, 127.0.0.1, "8081"]}
  - name: c
    image: x
    command: [python3, -m, http.server, "8082"]
    readinessProbe: {tcpSocket: {port: 8082}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: local, namespace: shop}
spec: {selector: {app: local}, ports: [{name: http, port: 80, targetPort: 8080}]}
"""
GUEST = """
apiVersion: v1
kind: Pod
metadata: {name: guest, namespace: default}
spec:
  containers: [{name: c, image: curl, volumeMounts: [{name: peer, mountPath: /peer}]}]
  volumes: [{name: peer, secret: {secretName: peer}}]
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: web, namespace: shop}
spec: {selector: {matchLabels: {app: web}}, mtls: {mode: STRICT}}
"""
HYBRID, CLASSICAL = "X25519MLKEM768", "X25519"


class Shop:
    """A client and a server, both meshed, and somebody outside."""

    def __init__(self, mesh: RunningMesh) -> None:
        self.mesh = mesh
        mesh.apply(MANIFEST)
        for namespace in ("shop", "default"):
            ready = ("--for=condition=Ready", "--timeout=60s")
            mesh.kubectl("wait", "pod", "--all", "-n", namespace, *ready)

    def settings(self, **config: Any) -> None:
        """Replace the MeshConfig."""
        patch = {"data": {"mesh": yaml.safe_dump(config)}}
        argv = ("patch", "cm", "istio", "-n", "istio-system", "--type=merge", "-p")
        self.mesh.kubectl(*argv, json.dumps(patch))

    def curl(self, *argv: str, pod: str = "client", namespace: str = "shop") -> str:
        """Run curl in a pod and return its answer, "" when there is none."""
        command = ("curl", "-s", "-m", "20", *argv)
        exec_ = ("exec", pod, "-n", namespace, "-c", "c", "--")
        return self.mesh.kubectl(*exec_, *command, check=False).stdout

    def admin(self, pod: str, path: str, port: int = 15000) -> str:
        """Ask a pod's proxy."""
        url = f"http://127.0.0.1:{port}{path}"
        argv = ("exec", pod, "-n", "shop", "-c", "istio-proxy", "--", "curl", "-s", url)
        return self.mesh.kubectl(*argv).stdout

    def handshakes(self, pod: str, curve: str) -> int:
        """Return how many TLS handshakes of a pod's proxy used a key exchange."""
        found = re.findall(rf"ssl\.curves\.{curve}: (\d+)", self.admin(pod, "/stats?filter=curves"))
        return sum(map(int, found))

    def roots(self, pod: str) -> list[str]:
        """Return the fingerprints of what a pod's proxy verifies peers with."""
        found = self.mesh.get("workloadcertificate", pod, "-n", "shop")
        return list(found["status"]["roots"])

    def log(self, pod: str) -> list[str]:
        """Return the lines of a proxy's log."""
        argv = ("logs", pod, "-n", "shop", "-c", "istio-proxy")
        return self.mesh.kubectl(*argv).stdout.splitlines()

    def events(self, reason: str) -> list[str]:
        """Return the messages of the ConfigMap's Events."""
        items = self.mesh.get("events", "-n", "istio-system")["items"]
        return [one["message"] for one in items if one["reason"] == reason]


@pytest.fixture(scope="module")
def shop(mesh: RunningMesh) -> Shop:
    return Shop(mesh)


@pytest.fixture(autouse=True)
def _defaults_again(shop: Shop) -> Iterator[None]:
    yield
    shop.settings(trustDomain="cluster.local")


def test_proxies_agree_on_the_hybrid_key_exchange_and_count_it(shop: Shop) -> None:
    assert "X-Forwarded-Client-Cert" in shop.curl("http://web/headers")

    for pod in ("client", "web"):
        assert shop.handshakes(pod, HYBRID) >= 1
        assert shop.handshakes(pod, CLASSICAL) == 0
    [sample] = [
        line
        for line in shop.admin("client", "/stats/prometheus", 15090).splitlines()
        if line.startswith("envoy_cluster_ssl_curves")
    ]
    assert f'envoy_ssl_curve="{HYBRID}"' in sample
    assert 'cluster_name="outbound|80||web.shop.svc.cluster.local"' in sample


def test_the_hybrid_key_exchange_can_be_switched_off_and_demanded(shop: Shop) -> None:
    def answers_with(curve: str) -> bool:
        before = shop.handshakes("web", curve)
        identified = "X-Forwarded-Client-Cert" in shop.curl("http://web/headers")
        return identified and shop.handshakes("web", curve) > before

    shop.settings(meshMTLS={"ecdhCurves": [CLASSICAL, "P-256"]})
    eventually(lambda: answers_with(CLASSICAL), "a handshake without the hybrid key exchange")
    hybrid = shop.handshakes("web", HYBRID)
    shop.curl("http://web/headers")
    assert shop.handshakes("web", HYBRID) == hybrid

    shop.settings(meshMTLS={"ecdhCurves": [HYBRID]})
    eventually(lambda: answers_with(HYBRID), "a handshake with the hybrid key exchange")


DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: other, namespace: shop}
spec: {template: {metadata: {labels: {app: other}}, spec: {containers: [{name: c, image: x}]}}}
"""


def environment(manifest: str) -> list[dict[str, str]]:
    containers = yaml.safe_load(manifest)["spec"]["template"]["spec"]["containers"]
    return next(list(one["env"]) for one in containers if one["name"] == "istio-proxy")


def test_another_trust_domain_reaches_running_pods_and_no_request_fails(shop: Shop) -> None:
    expected = ("200 cluster.local", "200 td2")
    exec_ = ("kubectl", "exec", "client", "-n", "shop", "-c", "c", "--")
    argv = (*exec_, "python3", "/p/load.py", *expected)
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, env=shop.mesh.environ, stdout=pipe, text=True) as load:
        assert load.stdout is not None
        assert load.stdout.readline() == "begun\n"
        shop.settings(trustDomain="td2", trustDomainAliases=["cluster.local"])
        seen = json.loads(load.stdout.read())

    assert seen.keys() == set(expected)
    injected = shop.mesh.mutua("istioctl", "kube-inject", "-f", "-", stdin=DEPLOYMENT)
    assert {"name": "TRUST_DOMAIN", "value": "td2"} in environment(injected.stdout)
    show = (
        *("exec", "web", "-n", "shop", "-c", "istio-proxy", "--", "openssl", "x509"),
        *("-in", "/etc/certs/cert-chain.pem", "-noout", "-ext", "subjectAltName"),
    )
    eventually(
        lambda: "URI:spiffe://td2/ns/shop/sa/default" in shop.mesh.kubectl(*show).stdout,
        "the server has its new name, too",
    )
    shop.settings(trustDomain="cluster.local", trustDomainAliases=["td2"])
    eventually(
        lambda: "URI=spiffe://cluster.local/" in shop.curl("http://web:81/headers"),
        "the old trust domain is back",
    )


PEER = "spiffe://partner.example/ns/a/sa/b"


@pytest.fixture(scope="module")
def partner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a CA of another mesh, ca.pem, and a workload's peer.pem and peer.key."""
    folder = tmp_path_factory.mktemp("partner")
    (folder / "san").write_text(f"subjectAltName=critical,URI:{PEER}\n")
    (folder / "database").touch()
    (folder / "ca.cnf").write_text("[ca]\ndatabase=database\ndefault_md=sha256\n")
    new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/O=partner")
    for argv in (
        ("req", "-x509", *new, "-days", "1", "-keyout", "ca.key", "-out", "ca.pem"),
        ("req", *new, "-keyout", "peer.key", "-out", "peer.csr"),
        ("x509", "-req", "-in", "peer.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-days", "1",
         "-CAcreateserial", "-extfile", "san", "-out", "peer.pem"),
        ("ca", "-gencrl", "-config", "ca.cnf", "-name", "ca", "-crldays", "1", "-cert", "ca.pem",
         "-keyfile", "ca.key", "-out", "crl.pem"),
    ):  # fmt: skip
        subprocess.run(["openssl", *argv], cwd=folder, check=True, capture_output=True, timeout=60)
    return folder


@pytest.fixture
def guest(shop: Shop, partner: Path) -> Iterator[None]:
    """A pod with the other mesh's certificate, which wants to call a STRICT server."""
    files = [f"--from-file={partner / name}" for name in ("peer.pem", "peer.key")]
    shop.mesh.kubectl("create", "secret", "generic", "peer", *files)
    shop.mesh.apply(GUEST)
    shop.mesh.kubectl("wait", "pod", "guest", "--for=condition=Ready", "--timeout=60s")
    yield
    shop.mesh.kubectl("delete", "secret/peer", "pod/guest", "--wait=false")
    shop.mesh.kubectl("delete", "pa", "web", "-n", "shop")


@pytest.mark.usefixtures("guest")
def test_workloads_of_another_mesh_are_let_in_once_their_ca_is_among_the_settings(
    shop: Shop, partner: Path
) -> None:
    def answer() -> str:
        argv = ("--cert", "/peer/peer.pem", "--key", "/peer/peer.key", "-k")
        return shop.curl(*argv, "https://web.shop:80/headers", pod="guest", namespace="default")

    pem = (partner / "ca.pem").read_text()
    assert PEER not in answer()
    shop.settings(caCertificates=[{"pem": pem, "trustDomains": ["somebody.else"]}])
    eventually(lambda: len(shop.roots("web")) == 2, "the proxy holds both CAs")
    assert PEER not in answer()
    shop.settings(caCertificates=[{"pem": pem, "trustDomains": ["partner.example"]}])
    eventually(lambda: PEER in answer(), "the other mesh is let in")
    assert "X-Forwarded-Client-Cert" in shop.curl("http://web/headers")

    # Once a certificate of this mesh is revoked, there must be a list of every CA.
    shop.mesh.mutua("kick", "client.shop")
    eventually(lambda: PEER not in answer(), "nobody without a list is let in")
    pem += (partner / "crl.pem").read_text()
    shop.settings(caCertificates=[{"pem": pem, "trustDomains": ["partner.example"]}])
    eventually(lambda: PEER in answer(), "the other mesh is let in again")
    for one in shop.mesh.get("revocations", "-n", "istio-system")["items"]:
        shop.mesh.mutua("kick", "--undo", one["metadata"]["name"])

    shop.settings()
    eventually(lambda: PEER not in answer(), "nobody else's CA is trusted any more")
    eventually(
        lambda: "X-Forwarded-Client-Cert" in shop.curl("http://web/headers"), "all as before"
    )


def test_requests_are_logged_where_kubectl_logs_finds_them(shop: Shop) -> None:
    shop.settings(
        accessLogFile="/dev/stdout", accessLogFormat="%REQ(:PATH)% over %DOWNSTREAM_TLS_GROUP%"
    )

    def is_logged(pod: str, line: str) -> bool:
        shop.curl("http://web/headers?logged")
        return line in shop.log(pod)

    for pod, group in (("web", HYBRID), ("client", "-")):
        eventually(
            lambda pod=pod, group=group: is_logged(pod, f"/headers?logged over {group}"),
            f"the proxy of {pod} logs the request",
        )


def test_a_connection_that_strict_refuses_is_in_the_log(shop: Shop) -> None:
    shop.mesh.apply("""
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: strict, namespace: shop}
spec: {mtls: {mode: STRICT}}
""")
    shop.settings(accessLogFile="/dev/stdout", accessLogEncoding="JSON")

    def is_refused() -> bool:
        assert shop.curl("http://web.shop/headers", pod="outsider", namespace="default") == ""
        lines = [one for one in shop.log("web") if one.startswith("{") and one.endswith("}")]
        objects = map(json.loads, lines)
        return any(one["response_flags"] == "NR" for one in objects)

    shop.mesh.kubectl("wait", "pa/strict", "-n", "shop", "--for=condition=InForce", "--timeout=60s")
    eventually(is_refused, "the refused connection is logged")
    shop.mesh.kubectl("delete", "pa", "strict", "-n", "shop")


def test_unknown_destinations_can_be_refused(shop: Shop) -> None:
    shop.settings(outboundTrafficPolicy={"mode": "REGISTRY_ONLY"})
    status = ("-o", "/dev/null", "-w", "%{http_code}")

    eventually(
        lambda: shop.curl(*status, "http://web/", "-H", "Host: unknown.example") == "502",
        "a host that nobody knows is refused",
    )
    assert shop.curl(*status, "http://web/") == "200"


def test_an_application_that_listens_on_the_loopback_device_only_is_met_there(shop: Shop) -> None:
    shop.mesh.apply(LOCAL)
    ready = ("--for=condition=Ready", "--timeout=60s")
    shop.mesh.kubectl("wait", "pod/local", "-n", "shop", *ready)
    status = ("-o", "/dev/null", "-w", "%{http_code}")
    eventually(lambda: shop.curl(*status, "http://local/") == "503", "nothing is at its address")

    shop.settings(inboundTrafficPolicy={"mode": "LOCALHOST"})

    eventually(lambda: shop.curl(*status, "http://local/") == "200", "the application answers")
    pods = shop.mesh.get("pods", "-n", "shop")["items"]
    (address,) = (one["status"]["podIP"] for one in pods if one["metadata"]["name"] == "local")
    # A port that no Service declares stays where it is: at the pod's address.
    assert shop.curl(*status, f"http://{address}:8081/") == "503"
    assert shop.curl(*status, f"http://{address}:8082/") == "200"

    shop.settings(inboundTrafficPolicy={"mode": "PASSTHROUGH"})

    eventually(lambda: shop.curl(*status, "http://local/") == "503", "nothing is at its address")
    shop.mesh.kubectl("delete", "pod/local", "service/local", "-n", "shop")


def test_another_root_namespace_moves_the_mesh_wide_policy(shop: Shop) -> None:
    shop.mesh.apply("""
apiVersion: v1
kind: Namespace
metadata: {name: mesh-cfg}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: mesh-cfg}
spec: {mtls: {mode: STRICT}}
""")
    outside = {"pod": "outsider", "namespace": "default"}
    assert "STRICT" not in shop.mesh.mutua("status", "-n", "shop").stdout
    assert shop.curl("http://web.shop/headers", **outside) != ""
    shop.settings(rootNamespace="mesh-cfg")

    eventually(lambda: "STRICT" in shop.mesh.mutua("status", "-n", "shop").stdout, "it is said")
    eventually(
        lambda: (
            "mesh-cfg" in shop.mesh.mutua("istioctl", "authn", "tls-check", "client.shop").stdout
        ),
        "tls-check names the policy",
    )
    eventually(lambda: shop.curl("http://web.shop/", **outside) == "", "plaintext is refused")
    shop.mesh.kubectl("delete", "namespace", "mesh-cfg", "--wait=false")


def test_a_bad_setting_is_refused_where_it_is_written_and_nothing_is_stored(shop: Shop) -> None:
    def stored() -> str:
        return str(shop.mesh.get("cm", "istio", "-n", "istio-system")["data"]["mesh"])

    before = stored()
    bad = yaml.safe_dump({"meshMTLS": {"ecdhCurves": ["P-512"]}, "trustDomian": "td2"})
    patch = json.dumps({"data": {"mesh": bad}})
    argv = ("patch", "cm", "istio", "-n", "istio-system", "--type=merge", "-p", patch)

    done = shop.mesh.kubectl(*argv, check=False)

    assert done.returncode == 1
    assert 'data[mesh].meshMTLS.ecdhCurves[0]: Unsupported value: "P-512"' in done.stderr
    assert (
        'data[mesh].trustDomian: Forbidden: unknown field, did you mean "trustDomain"?'
        in done.stderr
    )
    assert stored() == before


def test_without_the_config_map_the_defaults_hold_and_an_event_says_so(shop: Shop) -> None:
    shop.settings(outboundTrafficPolicy={"mode": "REGISTRY_ONLY"})
    shop.mesh.kubectl("delete", "cm", "istio", "-n", "istio-system")

    [said] = eventually(lambda: shop.events("Deleted"), "an Event")
    assert said.startswith("defaults are in use: trust domain cluster.local")
    shop.mesh.kubectl(
        "create", "cm", "istio", "-n", "istio-system", "--from-literal=mesh=enableAutoMtls: true"
    )
