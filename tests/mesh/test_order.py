"""Changes of modes under load: no request fails, and "in force" is true when it is said.

Real pods, real Envoys, constant traffic; one proxy hears late, one is stopped again and again, one
is cut off from the control plane.  MUTUA_FLIPS sets how many changes are made (`make soak`).
"""

import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import pytest
from lightkube import Client

from mutua.api.kinds import kind_of
from mutua.api.object import PEER_AUTHENTICATIONS
from mutua.cli.client import connect, resource_class
from mutua.testing import load
from mutua.testing.load.relay import Relay
from mutua.testing.running_mesh import RunningMesh, eventually

FLIPS = int(os.environ.get("MUTUA_FLIPS", "24"))
DWELL = 0.05
"""Seconds that a mode stays after it is in force: time for probes to contradict."""

LATE = 0.05
"""Seconds by which the control plane hears one of the proxies later."""

PROGRAMS = Path(load.__file__).parent
SERVER = (PROGRAMS / "server.py").read_text()
CLIENT = (PROGRAMS / "client.py").read_text()
STREAMS = (
    "keepalive:web:80", "new:web:80", "keepalive:web2:80", "new:web2:80",
    "lines:web:9000", "session:web:9000", "greeted:web:9001",
)  # fmt: skip
"""What every client does; `web2` is `web` over HTTP/2 between the proxies."""

CLIENTS = ("steady", "stopped", "cut-off")
SERVERS = ("web-1", "web-2")

PROBES = (("new", 8080), ("lines", 9000))
"""What a pod without a proxy tries at each server."""

RUN = 1.1
"""Seconds after which a run of equal outcomes has ended for certain."""

LEVELS = ("mesh", "namespace", "workload", "port")
TOUR = ("STRICT", "PERMISSIVE", "DISABLE", "STRICT", "DISABLE", "PERMISSIVE")
"""From PERMISSIVE and back, through all six ordered pairs."""


def pod(name: str, *command: str, app: str = "", meshed: bool = True) -> dict[str, Any]:
    container: dict[str, Any] = {"name": "c", "image": "x", "command": ["python3", "-c", *command]}
    if app:
        container["readinessProbe"] = {"tcpSocket": {"port": 8080}, "periodSeconds": 1}
    inject = {"sidecar.istio.io/inject": str(meshed).lower()}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "flip", "labels": {"app": app or name, **inject}},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 0},
    }


def service(name: str, **ports: int) -> dict[str, Any]:
    made = [
        {"name": kind, "port": {8080: 80}.get(port, port), "targetPort": port}
        for kind, port in ports.items()
    ]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "flip"},
        "spec": {"selector": {"app": "web"}, "ports": made},
    }


def rule(name: str, host: str, policy: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "DestinationRule",
        "metadata": {"name": name, "namespace": "flip"},
        "spec": {"host": host, "trafficPolicy": policy},
    }


OBJECTS = [
    {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": "flip", "labels": {"istio-injection": "enabled"}},
    },
    *(pod(name, SERVER, app="web") for name in SERVERS),
    service("web", http=8080, tcp=9000, **{"tcp-greeted": 9001}),
    service("web2", http=8080),
    rule("over-http2", "web2", {"connectionPool": {"http": {"h2UpgradePolicy": "UPGRADE"}}}),
    *(pod(name, CLIENT, *STREAMS) for name in CLIENTS),
]


@dataclass(frozen=True)
class Flip:
    """One change, on this machine's monotonic clock.

    Attributes:
        level: Where the policy stands.
        mode: What it says.
        in_force: When its status said that it is in force.
        over: When the next change was made.
    """

    level: str
    mode: str
    in_force: float
    over: float


@dataclass(frozen=True)
class Run:
    """Requests of one stream with one outcome.

    Attributes:
        client: Whose.
        stream: Which.
        outcome: Theirs.
        first: When the first of them began.
        last: When the last of them began.
        count: How many there were.
        ended: When the last of them ended.
    """

    client: str
    stream: str
    outcome: str
    first: float
    last: float
    count: int
    ended: float

    @property
    def is_good(self) -> bool:
        return self.outcome in {"m", "p", "ok"}

    def during(self, flip: Flip) -> bool:
        """Tell whether one of them began and ended while the mode was in force.

        What was under way when the next change was made says nothing of this one.
        """
        if self.first < flip.in_force and self.last > flip.over:
            return True
        is_first_inside = self.first > flip.in_force and self.last < flip.over and self.count > 1
        return is_first_inside or (self.last > flip.in_force and self.ended < flip.over)


class Town:
    """The mesh of this module, its pods by name, and hands on their proxies."""

    def __init__(self, mesh: RunningMesh) -> None:
        self.mesh = mesh
        self.pods = {p["metadata"]["name"]: p for p in mesh.get("pods", "-n", "flip")["items"]}

    def envoy(self, name: str) -> int:
        """Return the pid of a pod's Envoy."""
        uid = self.pods[name]["metadata"]["uid"]
        return next(
            member.pid
            for member in self.mesh.members()
            if "envoy --disable-hot-restart" in member.command
            and f"{uid}/xds" in Path(f"/proc/{member.pid}/mountinfo").read_text()
        )

    def relay(self, name: str) -> Relay:
        """Put a relay between a pod's proxy and the control plane; the proxy restarts for it."""
        uid = self.pods[name]["metadata"]["uid"]
        inside = self.mesh.layout.run.relative_to("/") / "pods" / uid / "xds/XDS"
        relay = Relay(Path(f"/proc/{self.mesh.daemon_pid()}/root") / inside)
        os.kill(self.envoy(name), signal.SIGKILL)
        return relay

    def runs(self, client: str, since: float) -> list[Run]:
        """Return what became of a client's requests that were made since some time."""
        said = self.mesh.kubectl("logs", client, "-n", "flip", "-c", "c").stdout
        found = [Run(client, *json.loads(line)) for line in said.splitlines()]
        return [run for run in found if run.first > since]


@pytest.fixture(scope="module")
def town(mesh: RunningMesh) -> Town:
    apply(mesh, OBJECTS)
    addresses = {p["metadata"]["name"]: p["status"]["podIP"] for p in pods(mesh)}
    probes = [f"{kind}:{addresses[name]}:{port}" for name in SERVERS for kind, port in PROBES]
    apply(mesh, [pod("prober", CLIENT, *probes, meshed=False)])
    return Town(mesh)


def apply(mesh: RunningMesh, objects: list[dict[str, Any]]) -> None:
    mesh.apply(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
    mesh.kubectl("wait", "--for=condition=Ready", "pod", "--all", "-n", "flip", "--timeout=60s")


def pods(mesh: RunningMesh) -> list[dict[str, Any]]:
    return list(mesh.get("pods", "-n", "flip")["items"])


Halt = tuple[float, float]
"""From when to when a proxy was stopped."""


@contextmanager
def troubled(town: Town) -> Iterator[list[Halt]]:
    """Let one proxy be heard late, stop one again and again, and cut one off now and then.

    Yields when the one was stopped.
    """
    halts: list[Halt] = []
    late, cut_off = town.relay("web-2"), town.relay("cut-off")
    late.delay = LATE
    began = time.monotonic()
    for client in CLIENTS:
        eventually(lambda c=client: serves(town.runs(c, began)), f"{client} gets answers")
    stopped, over = town.envoy("stopped"), threading.Event()

    def stop() -> None:
        while not over.wait(1.0):
            halted = time.monotonic()
            os.kill(stopped, signal.SIGSTOP)
            over.wait(0.3)
            os.kill(stopped, signal.SIGCONT)
            halts.append((halted, time.monotonic()))

    def cut() -> None:
        while not over.wait(6.0):
            cut_off.cut()
            over.wait(1.0)
            cut_off.mend()

    threads = [threading.Thread(target=trouble) for trouble in (stop, cut)]
    for thread in threads:
        thread.start()
    try:
        yield halts
    finally:
        over.set()
        for thread in threads:
            thread.join()
        late.stop()
        cut_off.stop()


def serves(runs: list[Run]) -> bool:
    return {run.stream for run in runs if run.is_good} == set(STREAMS)


def policy(level: str, mode: str) -> dict[str, Any]:
    """Return the policy that says `mode` at a level."""
    spec: dict[str, Any] = {"mtls": {"mode": mode}}
    if level in {"workload", "port"}:
        spec["selector"] = {"matchLabels": {"app": "web"}}
    if level == "port":
        spec["mtls"] = {"mode": "PERMISSIVE"}
        spec["portLevelMtls"] = {port: {"mode": mode} for port in ("8080", "9000", "9001")}
    return {
        "apiVersion": "security.istio.io/v1",
        "kind": "PeerAuthentication",
        "metadata": {"name": "flip", "namespace": "istio-system" if level == "mesh" else "flip"},
        "spec": spec,
    }


class Flipper:
    """Changes modes, and waits until each is in force."""

    def __init__(self, api: Client) -> None:
        self._api = api
        self._kind = resource_class(kind_of(PEER_AUTHENTICATIONS))

    def tour(self, level: str, modes: Iterable[str]) -> Iterator[Flip]:
        """Yield changes at one level; afterwards it is as before."""
        stored = self._api.create(self._kind.from_dict(policy(level, "PERMISSIVE"))).to_dict()
        namespace = stored["metadata"]["namespace"]
        for mode in modes:
            changed = {**stored, "spec": policy(level, mode)["spec"]}
            changed["metadata"].pop("resourceVersion", None)
            stored = self._api.replace(self._kind.from_dict(changed)).to_dict()
            generation = stored["metadata"]["generation"]
            eventually(lambda n=namespace, g=generation: self._holds(n, g), "in force", every=0.01)
            in_force = time.monotonic()
            time.sleep(DWELL)
            yield Flip(level, mode, in_force, time.monotonic())
        self._api.delete(self._kind, "flip", namespace=namespace)

    def _holds(self, namespace: str, generation: int) -> bool:
        status = self._api.get(self._kind, "flip", namespace=namespace).to_dict().get("status", {})
        return any(
            one["type"] == "InForce"
            and one["status"] == "True"
            and one["observedGeneration"] == generation
            for one in status.get("conditions", ())
        )


def contradicts(run: Run, flip: Flip, halts: Iterable[Halt]) -> bool:
    """Tell whether what became of requests says that a mode was not in force.

    What began while its own proxy was stopped says nothing: stopped just after it confirmed, its
    worker threads take requests and the change up in any order when they go on.
    """
    if not run.during(flip):
        return False
    if run.client == "stopped" and any(a <= run.first and run.last <= b for a, b in halts):
        return False
    if run.client == "prober":  # plaintext, always over a new connection
        return run.is_good is (flip.mode == "STRICT")
    return (flip.mode, run.outcome) in {("STRICT", "p"), ("DISABLE", "m")}


def test_no_request_fails_and_in_force_is_true_when_it_is_said(town: Town) -> None:
    with troubled(town) as halts, connect(town.mesh.layout) as api:
        flipper, began = Flipper(api), time.monotonic()
        share = -(-FLIPS // len(LEVELS))
        flips = [
            flip for level in LEVELS for flip in flipper.tour(level, islice(cycle(TOUR), share))
        ]
        time.sleep(RUN)  # a run of equal outcomes is printed when it ends

    runs = [run for client in CLIENTS for run in town.runs(client, began)]
    total = sum(run.count for run in runs)
    print(f"{len(flips)} changes, {total} requests")
    assert Counter({run.stream: 0 for run in runs}).keys() == set(STREAMS)
    assert [run for run in runs if not run.is_good] == []
    probes = town.runs("prober", began)
    assert {run.stream.partition(":")[0] for run in probes} == {kind for kind, _ in PROBES}
    assert [run for run in probes if run.outcome.startswith("TimeoutError")] == []
    seen = runs + probes
    assert [(flip, run) for flip in flips for run in seen if contradicts(run, flip, halts)] == []


def test_what_an_envoy_refuses_is_said_and_stops_nothing_else(town: Town) -> None:
    too_long = {"tls": {"mode": "SIMPLE", "sni": "x" * 300}}  # Envoy takes 255 characters
    apply(town.mesh, [rule("refused", "web", too_long)])
    apply(town.mesh, [rule("over-http2", "web2", {"tls": {"mode": "ISTIO_MUTUAL"}})])

    in_force(town.mesh, "dr/over-http2")
    waited = town.mesh.kubectl(
        "wait", "dr/refused", "-n", "flip", "--timeout=60s",
        "--for=jsonpath={.status.conditions[?(@.type=='Accepted')].reason}=RejectedByProxy",
    )  # fmt: skip
    assert "condition met" in waited.stdout
    conditions = {
        one["type"]: one["message"]
        for one in town.mesh.get("dr", "refused", "-n", "flip")["status"]["conditions"]
    }
    assert "in force on 0 of 5 client proxies" in conditions["InForce"]
    assert "||web.flip.svc.cluster.local: Proto constraint" in conditions["InForce"]
    assert "Sni: value length must be at most 255 bytes" in conditions["InForce"]
    assert conditions["Accepted"] == "held back: the mesh does without it"
    eventually(
        lambda: "RejectedByProxy" in town.mesh.kubectl("get", "events", "-n", "flip").stdout,
        "an Event says so",
    )

    apply(town.mesh, [rule("refused", "web", {"tls": {"mode": "ISTIO_MUTUAL"}})])
    in_force(town.mesh, "dr/refused")


def in_force(mesh: RunningMesh, what: str) -> None:
    mesh.kubectl("wait", "--for=condition=InForce", what, "-n", "flip", "--timeout=60s")
