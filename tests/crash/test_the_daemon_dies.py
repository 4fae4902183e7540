"""kill -9 at any instant: traffic goes on, nothing acknowledged is lost, nothing is left behind."""

import json
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mutua.runtime.membership import live_members, user_namespace
from mutua.testing.running_mesh import RunningMesh, eventually

EXAMPLES = Path(__file__).parents[2] / "examples" / "mtls-tutorial"
CALL = (
    "exec",
    "-n",
    "mtls-test",
    "deploy/curl-client",
    "--",
    "curl",
    "-s",
    "http://httpbin:8000/headers",
)
KILLS = 5
"""Random kills per run."""


@pytest.fixture
def mesh(tmp_path: Path) -> Iterator[RunningMesh]:
    running = RunningMesh(tmp_path, name="crash")
    try:
        running.up()
        yield running
    finally:
        running.mutua("down", "--purge")
    assert running.leftovers() == []


def deploy(mesh: RunningMesh) -> None:
    mesh.kubectl("apply", "-f", str(EXAMPLES / "01-test-services.yaml"))
    mesh.kubectl(
        "wait", "--for=condition=Available", "deploy", "--all", "-n", "mtls-test", "--timeout=60s"
    )


def container_ids(mesh: RunningMesh) -> dict[str, str]:
    return {
        f"{pod['metadata']['name']}/{status['name']}": status["containerID"]
        for pod in mesh.get("pods", "-n", "mtls-test")["items"]
        for status in pod["status"]["containerStatuses"]
    }


LOOP = """
import json, sys, time, urllib.request
while True:
    try:
        with urllib.request.urlopen("http://httpbin:8000/headers", timeout=20) as answer:
            caller = json.load(answer)["headers"].get("X-Forwarded-Client-Cert", "")
            print(f"{time.monotonic()} ok {'URI=spiffe://' in caller}", flush=True)
    except OSError as error:
        print(f"{time.monotonic()} failed {error}", flush=True)
    time.sleep(0.05)
"""


def test_pods_keep_talking_mutual_tls_while_the_daemon_is_dead_and_are_adopted(
    mesh: RunningMesh,
) -> None:
    deploy(mesh)
    caller = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "caller", "namespace": "mtls-test"},
        "spec": {
            "containers": [{"name": "app", "image": "host", "command": ["python3", "-c", LOOP]}]
        },
    }
    mesh.apply(json.dumps(caller))
    mesh.kubectl("wait", "--for=condition=Ready", "pod/caller", "-n", "mtls-test", "--timeout=60s")
    before = container_ids(mesh)

    mesh.kill_daemon()
    died = time.monotonic()
    time.sleep(5)  # the time of being dead is the subject
    mesh.up()
    back = time.monotonic()

    eventually(lambda: container_ids(mesh) == before, "the same containers are adopted")
    lines = [
        line.split(maxsplit=2)
        for line in mesh.kubectl(
            "logs", "-n", "mtls-test", "caller", "-c", "app"
        ).stdout.splitlines()
    ]
    while_dead = [line[1:] for line in lines if died < float(line[0]) < back]
    assert len(while_dead) > 10
    assert {tuple(line) for line in while_dead} == {("ok", "True")}


def test_no_acknowledged_object_is_lost_whenever_the_daemon_is_killed(mesh: RunningMesh) -> None:
    acknowledged: list[str] = []
    for round_number in range(KILLS):
        writer = threading.Thread(
            target=_write_until_refused, args=(mesh, round_number, acknowledged)
        )
        count = len(acknowledged)
        writer.start()
        eventually(lambda n=count: len(acknowledged) > n, "one is acknowledged", every=0.01)
        time.sleep(random.uniform(0.0, 1.0))  # the instant is the subject
        mesh.kill_daemon()
        writer.join(timeout=60)
        mesh.up()

    stored = {item["metadata"]["name"] for item in mesh.get("configmaps", "-n", "default")["items"]}
    assert len(acknowledged) >= KILLS
    assert [name for name in acknowledged if name not in stored] == []


def _write_until_refused(mesh: RunningMesh, round_number: int, acknowledged: list[str]) -> None:
    for number in range(10_000):
        name = f"object-{round_number}-{number}"
        done = mesh.kubectl("create", "configmap", name, "--from-literal=k=v", check=False)
        if done.returncode != 0:
            return
        acknowledged.append(name)


def test_killed_while_it_starts_pods_it_finishes_the_work_when_it_is_back(
    mesh: RunningMesh,
) -> None:
    for _ in range(KILLS):
        mesh.kubectl("apply", "-f", str(EXAMPLES / "01-test-services.yaml"))
        time.sleep(random.uniform(0.0, 1.5))  # the instant is the subject
        mesh.kill_daemon()
        mesh.up()

    mesh.kubectl(
        "wait", "--for=condition=Available", "deploy", "--all", "-n", "mtls-test", "--timeout=60s"
    )

    def answered() -> str:
        said = mesh.kubectl(*CALL, check=False).stdout
        return said if said.startswith("{") else ""

    answer = json.loads(eventually(answered, "a call is answered"))
    assert "X-Forwarded-Client-Cert" in answer["headers"]
    pods = mesh.get("pods", "-n", "mtls-test")["items"]
    assert len([pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]) == 2


def test_an_envoy_that_dies_is_started_again_and_traffic_resumes(mesh: RunningMesh) -> None:
    deploy(mesh)
    restarts = _restarts(mesh)
    members = live_members(user_namespace(mesh.daemon_pid()))
    ours = [member.pid for member in members if "envoy --" in member.command]
    assert len(ours) == 2

    for pid in ours:
        os.kill(pid, signal.SIGKILL)

    eventually(lambda: _restarts(mesh) == restarts + 2, "both proxies are started again")
    eventually(lambda: mesh.kubectl(*CALL, check=False).stdout.startswith("{"), "traffic resumes")


def _restarts(mesh: RunningMesh) -> int:
    return sum(
        status["restartCount"]
        for pod in mesh.get("pods", "-n", "mtls-test")["items"]
        for status in pod["status"].get("containerStatuses", [])
        if status["name"] == "istio-proxy"
    )


def test_a_second_up_says_in_one_line_what_to_do(mesh: RunningMesh) -> None:
    done = mesh.mutua("up", check=False)

    assert done.returncode != 0
    assert "already running" in done.stderr
    assert "mutua down" in done.stderr


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        running = RunningMesh(tmp_path, name="taken")
        port = taken.getsockname()[1]
        done = running.mutua("up", "--api-port", str(port), check=False)

    assert done.returncode != 0
    assert f"127.0.0.1:{port}" in done.stderr
    assert "--api-port" in done.stderr
    running.mutua("down", "--purge")
    assert running.leftovers() == []
