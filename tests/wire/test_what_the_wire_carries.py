"""On the wire: TLS 1.3 between sidecars in every mode, plaintext only from outside the mesh."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mutua.testing.running_mesh import RunningMesh, eventually

EXAMPLES = Path(__file__).parents[2] / "examples" / "mtls-tutorial"
URL = "http://httpbin:8000/headers"


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningMesh]:
    running = RunningMesh(tmp_path_factory.mktemp("mesh"), name="wire")
    try:
        running.up()
        for file in ("01-test-services.yaml", "03-non-mesh-pod.yaml"):
            running.kubectl("apply", "-f", str(EXAMPLES / file))
        running.kubectl(
            "wait", "--for=condition=Ready", "pod", "--all", "-n", "mtls-test", "--timeout=60s"
        )
        yield running
    finally:
        running.mutua("down", "--purge")
    assert running.leftovers() == []


@contextmanager
def captured(mesh: RunningMesh) -> Iterator[list[dict[str, str]]]:
    """Collect what passes between pods while the body runs."""
    layout = mesh.layout
    argv = [sys.executable, "-m", "mutua.testing.capture"]
    argv += [layout.name, str(layout.state), str(layout.run)]
    segments: list[dict[str, str]] = []
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        process.stdout.readline()
        yield segments
        process.stdin.close()
        segments += [json.loads(line) for line in process.stdout]
    assert process.returncode == 0


def pod_ip(mesh: RunningMesh, label: str) -> str:
    (pod,) = mesh.get("pods", "-n", "mtls-test", "-l", f"app={label}")["items"]
    return pod["status"]["podIP"]


def heard(segments: list[dict[str, str]], pod: str) -> list[dict[str, str]]:
    """Return what a pod said and was told, whatever address it used for the other side."""
    return [
        segment
        for segment in segments
        if pod in {segment["source"].split(":")[0], segment["target"].split(":")[0]}
    ]


def set_mode(mesh: RunningMesh, mode: str) -> None:
    mesh.apply(
        "apiVersion: security.istio.io/v1\n"
        "kind: PeerAuthentication\n"
        "metadata: {name: default, namespace: istio-system}\n"
        f"spec: {{mtls: {{mode: {mode}}}}}\n"
    )
    mesh.kubectl("wait", "--for=condition=InForce", "pa/default", "-n", "istio-system")


@pytest.mark.parametrize("mode", ["PERMISSIVE", "STRICT"])
def test_sidecars_speak_tls_1_3_whatever_the_server_would_accept(
    mesh: RunningMesh, mode: str
) -> None:
    set_mode(mesh, mode)
    # A fresh connection, so that the handshake is in the capture.
    mesh.kubectl("rollout", "restart", "deploy/curl-client", "-n", "mtls-test")
    mesh.kubectl("rollout", "status", "deploy/curl-client", "-n", "mtls-test", "--timeout=60s")
    eventually(
        lambda: len(mesh.get("pods", "-n", "mtls-test", "-l", "app=curl-client")["items"]) == 1,
        "the old client is gone",
    )
    client = pod_ip(mesh, "curl-client")

    with captured(mesh) as segments:
        mesh.kubectl("exec", "-n", "mtls-test", "deploy/curl-client", "--", "curl", "-sf", URL)

    seen = heard(segments, client)
    assert {s["version"] for s in seen if s["says"] == "server hello"} == {"TLSv1.3"}
    assert [s for s in seen if s["says"] == "plaintext"] == []


def test_a_client_without_a_sidecar_speaks_plaintext_and_is_served_only_when_permitted(
    mesh: RunningMesh,
) -> None:
    set_mode(mesh, "PERMISSIVE")
    client = pod_ip(mesh, "plain-pod")

    with captured(mesh) as segments:
        mesh.kubectl("exec", "-n", "mtls-test", "plain-pod", "--", "curl", "-sf", URL)
    texts = [s["text"] for s in heard(segments, client) if s["says"] == "plaintext"]
    assert any(text.startswith("GET /headers") for text in texts)
    assert any(text.startswith("HTTP/1.1 200") for text in texts)

    set_mode(mesh, "STRICT")

    def ask() -> int:
        asked = ("exec", "-n", "mtls-test", "plain-pod", "--", "curl", "-s", URL)
        return mesh.kubectl(*asked, check=False).returncode

    # The workers of a proxy take up a moment later what it has confirmed.
    eventually(lambda: ask() in {52, 56}, "the server refuses plaintext")
    with captured(mesh) as segments:
        code = ask()
    texts = [s["text"] for s in heard(segments, client) if s["says"] == "plaintext"]
    assert code in {52, 56}
    assert not any(text.startswith("HTTP/") for text in texts)
