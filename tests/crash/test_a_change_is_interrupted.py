"""The control plane goes in the middle of a change of modes: no request fails, and it is finished.

One proxy hears nothing while its workers go on, and so holds the change in a stage: a server in
the first, in which servers let in both, and a client in the second, in which it still sends what
it did before.
"""

import json
import os
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import pytest

from mutua.testing import load
from mutua.testing.main_thread import deaf
from mutua.testing.running_mesh import RunningMesh, eventually

PROGRAMS = Path(load.__file__).parent
SERVER = (PROGRAMS / "server.py").read_text()
CLIENT = (PROGRAMS / "client.py").read_text()
STREAMS = ("keepalive:web:80", "new:web:80", "lines:web:9000", "greeted:web:9001")
SERVERS, CLIENTS = ("web-1", "web-2"), ("steady", "deaf")
NAMESPACE = "flip"

RUN = 1.1
"""Seconds after which a run of equal outcomes has ended for certain."""

TOUR = ("DISABLE", "STRICT", "PERMISSIVE", "DISABLE", "PERMISSIVE", "STRICT")
RESTARTS = int(os.environ.get("MUTUA_RESTARTS", str(len(TOUR))))
"""How many changes are interrupted at random."""

FIRST, SECOND = ("web-2", "first"), ("deaf", "second")
"""Who hears nothing, and in which stage that holds the change."""


def pod(name: str, *command: str, app: str = "") -> dict[str, Any]:
    container: dict[str, Any] = {"name": "c", "image": "x", "command": ["python3", "-c", *command]}
    if app:
        container["readinessProbe"] = {"tcpSocket": {"port": 8080}, "periodSeconds": 1}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": {"app": app or name}},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 0},
    }


OBJECTS: list[dict[str, Any]] = [
    {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": NAMESPACE, "labels": {"istio-injection": "enabled"}},
    },
    {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": NAMESPACE},
        "spec": {
            "selector": {"app": "web"},
            "ports": [
                {"name": "http", "port": 80, "targetPort": 8080},
                {"name": "tcp", "port": 9000},
                {"name": "tcp-greeted", "port": 9001},
            ],
        },
    },
    *(pod(name, SERVER, app="web") for name in SERVERS),
    *(pod(name, CLIENT, *STREAMS) for name in CLIENTS),
]


def apply(mesh: RunningMesh, objects: list[dict[str, Any]]) -> None:
    mesh.apply(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningMesh]:
    running = RunningMesh(Path(tmp_path_factory.mktemp("mesh")), name="interrupted")
    try:
        running.up()
        apply(running, OBJECTS)
        wait = ("wait", "--for=condition=Ready", "pod", "--all", "-n", NAMESPACE, "--timeout=60s")
        running.kubectl(*wait)
        yield running
    finally:
        running.mutua("down", "--purge")
    assert running.leftovers() == []


def envoy(mesh: RunningMesh, name: str) -> int:
    """Return the pid of a pod's Envoy."""
    uid = mesh.get("pod", name, "-n", NAMESPACE)["metadata"]["uid"]
    return next(
        member.pid
        for member in mesh.members()
        if "envoy --disable-hot-restart" in member.command
        and f"{uid}/xds" in Path(f"/proc/{member.pid}/mountinfo").read_text()
    )


def ask_for(mesh: RunningMesh, mode: str) -> None:
    apply(mesh, [
        {
            "apiVersion": "security.istio.io/v1",
            "kind": "PeerAuthentication",
            "metadata": {"name": "web", "namespace": NAMESPACE},
            "spec": {"selector": {"matchLabels": {"app": "web"}}, "mtls": {"mode": mode}},
        }
    ])  # fmt: skip


def is_in_force(mesh: RunningMesh) -> bool:
    policy = mesh.get("peerauthentication", "web", "-n", NAMESPACE)
    return any(
        one["type"] == "InForce"
        and one["status"] == "True"
        and one["observedGeneration"] == policy["metadata"]["generation"]
        for one in policy.get("status", {}).get("conditions", ())
    )


def stage(mesh: RunningMesh) -> str:
    """Return how far the change is, as the control plane has written it down."""
    inside = mesh.layout.run.relative_to("/") / "checkpoint.json"
    found = json.loads((Path(f"/proc/{mesh.daemon_pid()}/root") / inside).read_text())["checkpoint"]
    if found["dial"] != found["target"]:
        return "first"
    return "second" if found["former"] else "last"


@dataclass(frozen=True)
class Run:
    """Requests of one stream with one outcome: see client.py."""

    client: str
    stream: str
    outcome: str
    first: float
    last: float
    count: int
    ended: float


def runs(mesh: RunningMesh, since: float) -> list[Run]:
    found = []
    for client in CLIENTS:
        said = mesh.kubectl("logs", client, "-n", NAMESPACE, "-c", "c").stdout
        found += [Run(client, *json.loads(line)) for line in said.splitlines()]
    return [run for run in found if run.ended > since]


def serves(mesh: RunningMesh, since: float, outcome: str) -> bool:
    """Tell whether every stream of every client has got answers, and HTTP such ones."""
    good = {(run.client, run.stream) for run in runs(mesh, since) if run.outcome in {outcome, "ok"}}
    return good == {(client, stream) for client in CLIENTS for stream in STREAMS}


def kill(mesh: RunningMesh) -> None:
    """Kill the daemon, and start it again."""
    mesh.kill_daemon()
    mesh.up()


def restart(mesh: RunningMesh) -> None:
    """Restart the control plane, and nothing else."""
    mesh.kubectl("rollout", "restart", "deployment/istiod", "-n", "istio-system")
    mesh.kubectl("rollout", "status", "deployment/istiod", "-n", "istio-system", "--timeout=60s")


OUTCOME = {"STRICT": "m", "DISABLE": "p", "PERMISSIVE": "m"}
"""What a server says of a request while a mode is in force."""


def begin(mesh: RunningMesh, mode: str) -> float:
    """Put a mode into force, and return since when everybody goes by it."""
    ask_for(mesh, mode)
    eventually(lambda: is_in_force(mesh), f"{mode} is in force")
    since = time.monotonic()
    eventually(lambda: serves(mesh, since, OUTCOME[mode]), f"everybody goes by {mode}")
    return since


def failures(mesh: RunningMesh, since: float) -> list[Run]:
    time.sleep(RUN)
    return [run for run in runs(mesh, since) if run.outcome not in {"m", "p", "ok"}]


def scale(mesh: RunningMesh, replicas: int) -> None:
    """End the control plane, or start it."""
    where = ("deployment/istiod", "-n", "istio-system")
    mesh.kubectl("scale", *where, f"--replicas={replicas}")
    ready = "jsonpath={.status.readyReplicas}=1" if replicas else "delete"
    what = where if replicas else ("pod", "-l", "app=istiod", "-n", "istio-system")
    mesh.kubectl("wait", f"--for={ready}", *what, "--timeout=60s")


@pytest.mark.parametrize("interrupt", [kill, restart])
@pytest.mark.parametrize("held", [FIRST, SECOND], ids=["first stage", "second stage"])
@pytest.mark.parametrize(("before", "after"), [("STRICT", "DISABLE"), ("DISABLE", "STRICT")])
def test_a_change_that_is_interrupted_goes_on_and_no_request_fails(
    mesh: RunningMesh,
    before: str,
    after: str,
    held: tuple[str, str],
    interrupt: Callable[[RunningMesh], None],
) -> None:
    began = begin(mesh, before)
    who, where = held
    with deaf(envoy(mesh, who)):
        ask_for(mesh, after)
        eventually(lambda: stage(mesh) == where, f"the change is in its {where} stage")
        interrupt(mesh)
        time.sleep(1)  # what clients and servers do in this time is the subject
        while_held = stage(mesh), is_in_force(mesh)
    eventually(lambda: is_in_force(mesh), f"{after} is in force")
    in_force = time.monotonic()
    eventually(lambda: serves(mesh, in_force, OUTCOME[after]), f"everybody goes by {after}")

    assert failures(mesh, began) == []
    assert while_held == (where, False)
    late = [run for run in runs(mesh, began) if run.first > in_force]
    assert {run.outcome for run in late} == {OUTCOME[after], "ok"}


def test_what_is_tightened_while_there_is_no_control_plane_comes_by_the_usual_stages(
    mesh: RunningMesh,
) -> None:
    began = begin(mesh, "DISABLE")
    with deaf(envoy(mesh, "web-2")):
        ask_for(mesh, "PERMISSIVE")
        eventually(lambda: stage(mesh) == "first", "the change is in its first stage")
        scale(mesh, 0)
        ask_for(mesh, "STRICT")
        scale(mesh, 1)
        time.sleep(1)  # what clients and servers do in this time is the subject
        while_held = stage(mesh), is_in_force(mesh)
    eventually(lambda: is_in_force(mesh), "STRICT is in force")
    in_force = time.monotonic()
    eventually(lambda: serves(mesh, in_force, "m"), "everybody goes by STRICT")

    assert failures(mesh, began) == []
    assert while_held == ("first", False)
    late = [run for run in runs(mesh, began) if run.first > in_force]
    assert {run.outcome for run in late} == {"m", "ok"}


def test_changes_that_are_interrupted_at_any_instant_fail_no_request(mesh: RunningMesh) -> None:
    began = begin(mesh, "STRICT")
    for number, mode in enumerate(islice(cycle(TOUR), RESTARTS)):
        ask_for(mesh, mode)
        time.sleep(random.uniform(0.0, 0.6))  # the instant is the subject
        (kill if number % 2 else restart)(mesh)
    begin(mesh, "DISABLE")

    assert failures(mesh, began) == []
