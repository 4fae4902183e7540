"""The control plane as Deployment istiod: what restarts with it, and what goes on without it.

Real pods, real Envoys, constant traffic, real kubectl.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mutua.testing import load
from mutua.testing.running_mesh import RunningMesh, eventually

PROGRAMS = Path(load.__file__).parent
SERVER = (PROGRAMS / "server.py").read_text()
CLIENT = (PROGRAMS / "client.py").read_text()
STREAMS = ("keepalive:web:80", "new:web:80", "lines:web:9000", "session:web:9000")
GOOD = {"m", "ok"}
START = "mutua_control_plane_start_time_seconds"
ISTIOD = ("-n", "istio-system", "deployment/istiod")
FETCH = "import urllib.request as u, sys; print(u.urlopen(sys.argv[1], timeout=20).read().decode())"


def pod(name: str, *command: str, meshed: bool = True) -> dict[str, Any]:
    labels = {"app": name, "sidecar.istio.io/inject": str(meshed).lower()}
    container: dict[str, Any] = {"name": "c", "image": "x", "command": ["python3", "-c", *command]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "shop", "labels": labels},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 0},
    }


SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "web", "namespace": "shop"},
    "spec": {
        "selector": {"app": "web"},
        "ports": [
            {"name": "http", "port": 80, "targetPort": 8080},
            {"name": "tcp", "port": 9000},
        ],
    },
}
OBJECTS = [
    {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": "shop", "labels": {"istio-injection": "enabled"}},
    },
    pod("web", SERVER),
    SERVICE,
    pod("outside", "import time; time.sleep(1e6)", meshed=False),
]


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningMesh]:
    running = RunningMesh(Path(tmp_path_factory.mktemp("mesh")), name="istiod")
    try:
        running.up()
        running.apply(json.dumps({"apiVersion": "v1", "kind": "List", "items": OBJECTS}))
        ask = ("exec", "-n", "shop", "outside", "--", "python3", "-c", FETCH, "http://web")
        eventually(lambda: not running.kubectl(*ask, check=False).returncode, "the server answers")
        running.apply(json.dumps(pod("client", CLIENT, *STREAMS)))
        running.kubectl(
            "wait", "--for=condition=Ready", "pod", "--all", "-n", "shop", "--timeout=60s"
        )
        yield running
    finally:
        running.mutua("down", "--purge")
    assert running.leftovers() == []


def control_plane(mesh: RunningMesh) -> dict[str, Any]:
    """Return the one pod of Deployment istiod once it is ready."""

    def one() -> dict[str, Any] | None:
        pods = mesh.get("pods", "-n", "istio-system", "-l", "app=istiod")["items"]
        ready = [each for each in pods if any(one["ready"] for one in statuses(each))]
        return ready[0] if len(pods) == len(ready) == 1 else None

    found: dict[str, Any] = eventually(one, "one ready pod of istiod")
    return found


def statuses(pod: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the statuses of a pod's containers, none of one that has just been made."""
    return list((pod.get("status") or {}).get("containerStatuses") or ())


def fetch(mesh: RunningMesh, path: str) -> str:
    url = f"http://istiod.istio-system:15014{path}"
    return mesh.kubectl("exec", "-n", "shop", "outside", "--", "python3", "-c", FETCH, url).stdout


def number(mesh: RunningMesh, name: str) -> float:
    found = re.search(rf"^{name}(?:{{.*}})? (\S+)$", fetch(mesh, "/metrics"), re.MULTILINE)
    assert found, name
    return float(found[1])


def outcomes(mesh: RunningMesh) -> list[str]:
    """Return what became of the client's requests, in order."""
    lines = mesh.kubectl("logs", "-n", "shop", "client", "-c", "c").stdout.splitlines()
    return [json.loads(line)[1] for line in lines]


def assert_undisturbed(mesh: RunningMesh, since: int) -> int:
    """Wait until the client went on for a while; every request so far was answered by mTLS."""
    enough = since + 4 * len(STREAMS)
    eventually(lambda: len(outcomes(mesh)) >= enough, "the client goes on", every=0.3)
    found = outcomes(mesh)
    assert set(found) <= GOOD
    return len(found)


def proxies(mesh: RunningMesh) -> list[Any]:
    pods = mesh.get("pods", "-n", "shop")["items"]
    return [
        (one["metadata"]["name"], status["containerID"], status["restartCount"])
        for one in pods
        if one["metadata"]["name"] in {"web", "client"}
        for status in one["status"]["containerStatuses"]
    ]


def test_it_is_a_deployment_with_a_service_and_says_what_it_counts(mesh: RunningMesh) -> None:
    found = control_plane(mesh)
    assert found["status"]["podIP"] == found["status"]["hostIP"]
    assert len(found["spec"]["containers"]) == 1, "no sidecar"
    assert found["metadata"]["labels"]["istio"] == "pilot"

    assert number(mesh, "pilot_xds") == 2
    assert number(mesh, "pilot_conflict_inbound_listener") == 0
    issued = number(mesh, "citadel_server_success_cert_issuance_count")
    assert 2 <= issued <= number(mesh, "citadel_server_csr_count")
    assert number(mesh, "process_start_time_seconds") <= number(mesh, START)
    assert "# TYPE citadel_server_csr_count counter" in fetch(mesh, "/metrics")
    assert number(mesh, "istio_agent_cert_expiry_seconds") > 0
    assert fetch(mesh, "/ready").strip() == ""
    assert fetch(mesh, "/version").startswith("0.")


def test_its_log_can_be_read_and_nothing_be_executed_in_it(mesh: RunningMesh) -> None:
    assert "control plane ready" in mesh.kubectl("logs", *ISTIOD).stdout

    refused = mesh.kubectl("exec", *ISTIOD, "--", "ls", check=False)

    assert refused.returncode
    assert "runs inside the daemon" in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1


def test_rollout_restart_makes_it_anew_and_fails_no_request(mesh: RunningMesh) -> None:
    before, begun, running = control_plane(mesh), number(mesh, START), proxies(mesh)
    seen = assert_undisturbed(mesh, 0)

    mesh.kubectl("rollout", "restart", *ISTIOD)
    mesh.kubectl("rollout", "status", *ISTIOD, "--timeout=60s")

    after = control_plane(mesh)
    assert after["metadata"]["name"] != before["metadata"]["name"]
    assert after["status"]["containerStatuses"][0]["restartCount"] == 0
    assert number(mesh, START) > begun
    eventually(lambda: number(mesh, "pilot_xds") == 2, "the proxies are back")
    assert_undisturbed(mesh, seen)
    assert proxies(mesh) == running


def test_a_policy_written_after_a_restart_is_in_force(mesh: RunningMesh) -> None:
    mesh.kubectl("delete", "pod", "-n", "istio-system", control_plane(mesh)["metadata"]["name"])
    policy = {
        "apiVersion": "security.istio.io/v1",
        "kind": "PeerAuthentication",
        "metadata": {"name": "default", "namespace": "shop"},
        "spec": {"mtls": {"mode": "STRICT"}},
    }
    mesh.apply(json.dumps(policy))
    mesh.kubectl("wait", "-n", "shop", "peerauthentication/default", "--for=condition=InForce",
                 "--timeout=60s")  # fmt: skip
    plain = mesh.kubectl(
        "exec", "-n", "shop", "outside", "--", "python3", "-c", FETCH, "http://web", check=False
    )
    assert plain.returncode
    mesh.kubectl("delete", "-n", "shop", "peerauthentication/default")


def test_without_it_traffic_goes_on_and_new_pods_wait(mesh: RunningMesh) -> None:
    seen, running = assert_undisturbed(mesh, 0), proxies(mesh)
    mesh.kubectl("scale", *ISTIOD, "--replicas=0")
    eventually(
        lambda: not mesh.get("pods", "-n", "istio-system")["items"], "the control plane ends"
    )
    mesh.apply(json.dumps(pod("late", "import time; time.sleep(1e6)")))
    seen = assert_undisturbed(mesh, seen)
    late = mesh.get("pod", "-n", "shop", "late")
    assert not any(status["ready"] for status in statuses(late))

    warned = mesh.mutua("up", check=False)  # it is up: nothing happens
    assert not mesh.get("pods", "-n", "istio-system")["items"], warned.stderr
    mesh.kubectl("scale", *ISTIOD, "--replicas=1")

    mesh.kubectl("rollout", "status", *ISTIOD, "--timeout=60s")
    mesh.kubectl("wait", "--for=condition=Ready", "pod/late", "-n", "shop", "--timeout=60s")
    mesh.kubectl("delete", "pod", "-n", "shop", "late")
    assert_undisturbed(mesh, seen)
    assert proxies(mesh) == running


def test_two_at_once_are_refused(mesh: RunningMesh) -> None:
    refused = mesh.kubectl("scale", *ISTIOD, "--replicas=2", check=False)

    assert refused.returncode
    assert "one control plane" in refused.stderr


def test_nobody_else_starts_one(mesh: RunningMesh) -> None:
    forged = pod("forged", "x", meshed=False)
    forged["metadata"]["labels"] |= {"app": "istiod", "istio": "pilot"}
    forged["spec"]["containers"] = [{"name": "discovery", "image": "mutua/istiod"}]
    mesh.apply(json.dumps(forged))

    def waiting() -> str:
        status = mesh.get("pod", "-n", "shop", "forged").get("status") or {}
        state = (status.get("containerStatuses") or [{}])[0].get("state", {})
        return str(state.get("waiting", {}).get("message") or "")

    message = eventually(waiting, "the pod says why it does not run")
    assert "Deployment istiod in namespace istio-system" in message
    mesh.kubectl("delete", "pod", "-n", "shop", "forged")


def test_it_comes_back_with_the_daemon_and_stays_away_when_it_is_not_wanted(
    mesh: RunningMesh,
) -> None:
    before = control_plane(mesh)
    restarts = before["status"]["containerStatuses"][0]["restartCount"]
    mesh.kill_daemon()
    mesh.up()

    def is_counted() -> bool:
        after = control_plane(mesh)
        assert after["metadata"]["uid"] == before["metadata"]["uid"]
        return bool(after["status"]["containerStatuses"][0]["restartCount"] == restarts + 1)

    eventually(is_counted, "the restart is counted")

    mesh.kubectl("scale", *ISTIOD, "--replicas=0")
    eventually(
        lambda: not mesh.get("pods", "-n", "istio-system")["items"], "the control plane ends"
    )
    mesh.kill_daemon()
    told = mesh.mutua("up").stderr
    assert "no control plane" in told
    assert "--replicas=1" in told
    assert not mesh.get("pods", "-n", "istio-system")["items"]

    mesh.kubectl("delete", "deployment", "-n", "istio-system", "istiod")
    mesh.kill_daemon()
    mesh.up()
    control_plane(mesh)
    assert_undisturbed(mesh, 0)


def test_one_that_cannot_start_says_why_and_starts_once_it_can(mesh: RunningMesh) -> None:
    seen = assert_undisturbed(mesh, 0)
    state = mesh.layout.pki / "ca" / "state.json"
    good = state.read_text()
    state.write_text("{")
    mesh.kubectl("rollout", "restart", *ISTIOD)

    def reason() -> str:
        pods = mesh.get("pods", "-n", "istio-system", "-l", "app=istiod")["items"]
        ends = [one["lastState"].get("terminated") for pod in pods for one in statuses(pod)]
        return next((end["message"] for end in ends if end), "")

    eventually(lambda: "state.json" in reason(), "the pod says why it ended")
    seen = assert_undisturbed(mesh, seen)

    state.write_text(good)
    mesh.kubectl("rollout", "status", *ISTIOD, "--timeout=60s")
    assert control_plane(mesh)["status"]["containerStatuses"][0]["restartCount"] >= 1
    assert_undisturbed(mesh, seen)
