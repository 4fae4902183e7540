"""Istio's CSR service in a real mesh: pods ask over the network, with the tokens they have."""

import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from mutua.testing.running_mesh import RunningMesh, eventually

TOKEN = "/var/run/secrets/tokens/istio-token"
IDENTITY = "spiffe://cluster.local/ns/{}/sa/{}"

CLIENT = Path(__file__).with_name("ask_for_a_certificate.py")
"""What runs in the pod."""

MANIFEST = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: STRICT}}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: web, namespace: shop}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{name: http, port: 8000}]}
---
apiVersion: v1
kind: Pod
metadata:
  name: web
  namespace: shop
  labels: {app: web}
  annotations:
    proxy.istio.io/config: |
      proxyMetadata: {WORKLOAD_RSA_KEY_SIZE: 2048}
spec:
  serviceAccountName: web
  containers:
  - name: app
    image: python
    command: [python3, -m, http.server, "8000"]
---
apiVersion: v1
kind: Pod
metadata:
  name: client
  namespace: shop
  labels: {app: client}
  annotations:
    proxy.istio.io/config: |
      proxyMetadata: {ECC_SIGNATURE_ALGORITHM: ECDSA, ECC_CURVE: P384}
spec:
  containers:
  - {name: app, image: python, command: [python3, -m, http.server, "8000"]}
---
apiVersion: v1
kind: Service
metadata: {name: client, namespace: shop}
spec: {selector: {app: client}, ports: [{name: http, port: 8000}]}
---
apiVersion: v1
kind: Namespace
metadata: {name: outside}
---
apiVersion: v1
kind: Pod
metadata: {name: robot, namespace: outside}
spec:
  containers:
  - name: app
    image: python
    command: [sleep, infinity]
    volumeMounts:
    - {name: tokens, mountPath: /var/run/secrets/tokens}
    - {name: roots, mountPath: /roots}
  volumes:
  - name: roots
    configMap: {name: istio-ca-root-cert}
  - name: tokens
    projected:
      sources:
      - serviceAccountToken: {audience: istio-ca, expirationSeconds: 3600, path: istio-token}
      - serviceAccountToken: {audience: vault, expirationSeconds: 3600, path: other-token}
"""


@pytest.fixture(scope="module", autouse=True)
def pods(mesh: RunningMesh) -> None:
    mesh.apply(MANIFEST)
    for namespace in ("shop", "outside"):
        mesh.kubectl(
            *("wait", "--for=condition=Ready", "pod", "--all", "-n", namespace, "--timeout=60s")
        )


def ask(mesh: RunningMesh, pod: str, *argv: str, stdin: str = "") -> dict[str, Any]:
    """Ask from inside a pod; return {"chain": [...]} or {"status": …, "details": …}."""
    namespace, _, name = pod.partition("/")
    program = ["exec", "-i", "-n", namespace, name, "-c", "app", "--", sys.executable, "-c"]
    done = mesh.kubectl(*program, CLIENT.read_text(), *argv, stdin=stdin)
    return json.loads(done.stdout)


def names(pem: str) -> list[str]:
    certificate = x509.load_pem_x509_certificate(pem.encode())
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return found.get_values_for_type(x509.UniformResourceIdentifier)


def token_of(mesh: RunningMesh, pod: str, container: str, path: str = TOKEN) -> str:
    namespace, _, name = pod.partition("/")
    return mesh.kubectl("exec", "-n", namespace, name, "-c", container, "--", "cat", path).stdout


def test_a_pods_token_buys_a_certificate_of_its_account(mesh: RunningMesh) -> None:
    answer = ask(mesh, "outside/robot", TOKEN, "spiffe://cluster.local/ns/shop/sa/web")

    assert names(answer["chain"][0]) == [IDENTITY.format("outside", "default")]
    assert "PRIVATE" not in json.dumps(answer)


def test_a_token_of_another_audience_is_refused(mesh: RunningMesh) -> None:
    answer = ask(mesh, "outside/robot", "/var/run/secrets/tokens/other-token", "x")

    assert answer["status"] == "UNAUTHENTICATED"


def test_a_proxys_token_is_the_proxys_alone_and_dies_with_its_pod(mesh: RunningMesh) -> None:
    stolen = token_of(mesh, "shop/web", "istio-proxy")
    hidden = ["exec", "-n", "shop", "web", "-c", "app", "--", "cat", TOKEN]
    assert mesh.kubectl(*hidden, check=False).returncode != 0
    assert names(ask(mesh, "outside/robot", "-", "x", stdin=stolen)["chain"][0]) == [
        IDENTITY.format("shop", "web")
    ]
    web = mesh.get("pod", "web", "-n", "shop")

    mesh.kubectl("delete", "pod", "web", "-n", "shop", "--wait=true")

    assert ask(mesh, "outside/robot", "-", "x", stdin=stolen)["status"] == "UNAUTHENTICATED"
    assert web["spec"]["containers"][-1]["volumeMounts"][-1]["mountPath"] == str(Path(TOKEN).parent)
    mesh.apply(MANIFEST)
    mesh.kubectl("wait", "--for=condition=Ready", "pod/web", "-n", "shop", "--timeout=60s")
    assert ask(mesh, "outside/robot", "-", "x", stdin=stolen)["status"] == "UNAUTHENTICATED"


def counted(mesh: RunningMesh) -> Counter[str]:
    """Return the control plane's counters of signing requests."""
    text = mesh.kubectl(*in_robot("curl", "-sf", "http://istiod.istio-system:15014/metrics")).stdout
    found = re.findall(r"^citadel_server_(\S+_count\S*) (\S+)$", text, re.MULTILINE)
    return Counter({name: int(float(value)) for name, value in found})


def test_calls_that_fail_are_in_the_metrics_too(mesh: RunningMesh) -> None:
    before = counted(mesh)

    ask(mesh, "outside/robot", TOKEN, "x")
    ask(mesh, "outside/robot", "/var/run/secrets/tokens/other-token", "x")
    mesh.mutua("kick", IDENTITY.format("outside", "default"))
    refused = ask(mesh, "outside/robot", TOKEN, "x")
    mesh.mutua("kick", "--undo", IDENTITY.format("outside", "default"))

    assert refused["status"] == "PERMISSION_DENIED"
    assert counted(mesh) - before == {
        "csr_count": 3,
        "success_cert_issuance_count": 1,
        "authentication_failure_count": 1,
        'csr_sign_err_count{error="policy.denied"}': 1,
    }


def test_kubectl_makes_tokens_that_work(mesh: RunningMesh) -> None:
    argv = ["create", "token", "web", "-n", "shop", "--audience", "istio-ca"]
    loose = mesh.kubectl(*argv).stdout.strip()
    bound = mesh.kubectl(
        *argv, "--bound-object-kind", "Pod", "--bound-object-name", "web"
    ).stdout.strip()

    for token in (loose, bound):
        answer = ask(mesh, "outside/robot", "-", "x", stdin=token)
        assert names(answer["chain"][0]) == [IDENTITY.format("shop", "web")]


def test_proxies_with_an_rsa_and_a_p384_key_talk(mesh: RunningMesh) -> None:
    keys = {}
    for pod in ("web", "client"):
        cat = ["exec", "-n", "shop", pod, "-c", "istio-proxy", "--"]
        text = mesh.kubectl(*cat, "cat", "/etc/certs/cert-chain.pem").stdout
        keys[pod] = x509.load_pem_x509_certificate(text.encode()).public_key()
    assert isinstance(keys["web"], rsa.RSAPublicKey)
    assert isinstance(keys["client"], ec.EllipticCurvePublicKey)
    assert isinstance(keys["client"].curve, ec.SECP384R1)

    for caller, server in (("client", "web"), ("web", "client")):
        call = ["exec", "-n", "shop", caller, "-c", "app", "--"]
        call += ["curl", "-sf", f"http://{server}:8000/"]
        answered = partial(mesh.kubectl, *call, check=False)
        eventually(lambda: answered().returncode == 0, f"{caller} reaches {server}, STRICT")  # noqa: B023


MINE = "/tmp/mine"
"""Folder in the robot's container with the certificate that it fetched."""


@pytest.fixture
def fetched(mesh: RunningMesh) -> int:
    """Return the serial number of a certificate that the robot fetched, and can use."""
    chain = ask(mesh, "outside/robot", TOKEN, "x", MINE)["chain"]
    eventually(lambda: is_let_in(mesh), "the robot reaches a STRICT server by itself")
    return x509.load_pem_x509_certificate(chain[0].encode()).serial_number


def in_robot(*argv: str) -> list[str]:
    return ["exec", "-i", "-n", "outside", "robot", "-c", "app", "--", *argv]


def is_let_in(mesh: RunningMesh) -> bool:
    argv = ["curl", "-skf", "--max-time", "20", "--cert", f"{MINE}/chain.pem"]
    argv += ["--key", f"{MINE}/key.pem", f"https://{address(mesh)}:8000/"]
    return mesh.kubectl(*in_robot(*argv), check=False).returncode == 0


def address(mesh: RunningMesh) -> str:
    return str(mesh.get("pod", "client", "-n", "shop")["status"]["podIP"])


@contextmanager
def conversation(mesh: RunningMesh) -> Iterator[subprocess.Popen[bytes]]:
    """Keep a TLS connection of the robot open, until somebody else ends it."""
    argv = ["openssl", "s_client", "-connect", f"{address(mesh)}:8000", "-quiet"]
    argv += ["-cert", f"{MINE}/chain.pem", "-key", f"{MINE}/key.pem"]
    with subprocess.Popen(
        ["kubectl", *in_robot(*argv)],
        env=mesh.environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        running.stdin.write(b"GET / HTTP/1.1\r\nhost: client\r\n\r\n")
        running.stdin.flush()
        assert running.stdout.readline().startswith(b"HTTP/1.1 200")
        try:
            yield running
        finally:
            running.kill()


def test_a_kick_by_pod_takes_what_the_pod_fetched_itself(mesh: RunningMesh, fetched: int) -> None:
    with conversation(mesh) as open_one:
        mesh.mutua("kick", "robot.outside")

        assert open_one.wait(60) is not None, "a connection is left open"
    (kick,) = mesh.get("revocations", "-n", "istio-system")["items"]
    assert f"{fetched:032x}" in {one["serialNumber"] for one in kick["status"]["certificates"]}
    for _ in ("now", "after a restart of the daemon"):
        assert not is_let_in(mesh)
        # The handshake fails once the port has the list; until then the call does.
        shown = ask(mesh, "outside/robot", MINE, "x")
        assert shown["status"] in {"UNAVAILABLE", "PERMISSION_DENIED"}, shown
        assert ask(mesh, "outside/robot", TOKEN, "x")["status"] == "PERMISSION_DENIED"
        mesh.kill_daemon()
        mesh.up()

    mesh.mutua("kick", "--undo", "robot.outside")

    eventually(lambda: is_let_in(mesh), "the robot is let in again")
    assert mesh.mutua("ca", "audit", "verify").stdout.endswith("the chain is whole\n")


def test_a_certificate_does_not_outlive_its_pod_by_renewing_itself(
    mesh: RunningMesh, fetched: int
) -> None:
    argv = in_robot("cat", f"{MINE}/chain.pem", f"{MINE}/key.pem")
    stolen = mesh.kubectl(*argv).stdout
    keep = f"mkdir -p {MINE}; cat > {MINE}/chain.pem; cp {MINE}/chain.pem {MINE}/key.pem"
    assert "chain" in ask(mesh, "outside/robot", MINE, "x")

    mesh.kubectl("delete", "pod", "robot", "-n", "outside", "--wait=true")
    mesh.apply(MANIFEST)
    mesh.kubectl("wait", "--for=condition=Ready", "pod/robot", "-n", "outside", "--timeout=60s")
    mesh.kubectl(*in_robot("sh", "-c", keep), stdin=stolen)

    assert ask(mesh, "outside/robot", MINE, "x")["status"] == "UNAUTHENTICATED"
    assert "chain" in ask(mesh, "outside/robot", TOKEN, "x")


def test_the_port_is_not_the_hosts(mesh: RunningMesh) -> None:
    listening = subprocess.run(
        ["ss", "-Hltn", "sport", "=", ":15012"], capture_output=True, text=True, check=False
    )
    assert ":15012" not in listening.stdout
