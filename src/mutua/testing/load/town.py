"""Constant traffic between four pods with mutual TLS, and what became of every request.

    caller ──> web     HTTP/1.1 and HTTP/2, on one connection and on new ones; lines over raw TCP
    grpc   ──> echo    gRPC calls, and one stream without an end

The mode is STRICT, so every answer is one over mutual TLS.
"""

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mutua.testing.running_mesh import RunningMesh

PROGRAMS: Final = Path(__file__).parent
NAMESPACE: Final = "turn"
STREAMS: Final = (
    "keepalive:web:80",
    "new:web:80",
    "new:web2:80",
    "lines:web:9000",
    "session:web:9000",
)
HELD: Final = "held:web:9000"
CALLS: Final = ("grpc-calls", "grpc-stream")
GOOD: Final = frozenset({"m", "ok"})
PODS: Final = ("web", "echo", "caller", "grpc")

GAP: Final = 0.05
"""Seconds between two requests of one run, at most (GAP of client.py and grpc_echo.py)."""

YOUNGEST: Final = 0.1
"""Age of a stream that ends with its certificate, at least, as a share of the lifetime: a stream is
begun on an HTTP/2 connection that is up to 35 % old, which was begun with 45 % ahead, at least."""

RUN: Final = 1.1
"""Seconds after which a run of equal outcomes has been printed for certain."""


@dataclass(frozen=True, slots=True)
class Run:
    """Requests of one stream, one after the other, that all had the same outcome.

    Attributes:
        stream: Which.
        outcome: What the server said, or what went wrong.
        first: When the first began, CLOCK_MONOTONIC.
        last: When the last began.
        count: How many.
        ended: When the last ended.
    """

    stream: str
    outcome: str
    first: float
    last: float
    count: int
    ended: float

    @property
    def is_good(self) -> bool:
        """Whether they were answered, with mutual TLS."""
        return self.outcome in GOOD

    @property
    def age(self) -> float | None:
        """How many seconds old the stream or held connection was that ended, None for others."""
        _, has_age, seconds = self.outcome.rpartition(" after ")
        is_long = self.stream in {HELD, "grpc-stream"}
        return float(seconds.split()[0]) if has_age and is_long else None

    def answered(self, since: float) -> float:
        """Return by when the first of them that ended after `since` was answered.

        Of a run it is known that less than GAP lay between the beginnings of its requests.
        """
        return self.ended if self.count == 1 else min(max(self.first, since) + GAP, self.ended)


def pod(name: str, *command: str, port: int = 0) -> dict[str, Any]:
    """Return a pod with one container."""
    container: dict[str, Any] = {"name": "c", "image": "x", "command": list(command)}
    if port:
        container["readinessProbe"] = {"tcpSocket": {"port": port}, "periodSeconds": 1}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": {"app": name}},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 0},
    }


def service(name: str, app: str, **ports: int) -> dict[str, Any]:
    """Return a Service of an app; port 8080 is its port 80."""
    made = [{"name": k, "port": 80 if v == 8080 else v, "targetPort": v} for k, v in ports.items()]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"selector": {"app": app}, "ports": made},
    }


SERVERS: Final = [
    {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": NAMESPACE, "labels": {"istio-injection": "enabled"}},
    },
    {
        "apiVersion": "security.istio.io/v1",
        "kind": "PeerAuthentication",
        "metadata": {"name": "default", "namespace": "istio-system"},
        "spec": {"mtls": {"mode": "STRICT"}},
    },
    {
        "apiVersion": "networking.istio.io/v1",
        "kind": "DestinationRule",
        "metadata": {"name": "over-http2", "namespace": NAMESPACE},
        "spec": {
            "host": "web2",
            "trafficPolicy": {"connectionPool": {"http": {"h2UpgradePolicy": "UPGRADE"}}},
        },
    },
    pod("web", "python3", "-c", (PROGRAMS / "server.py").read_text(), port=8080),
    pod("echo", sys.executable, "-c", (PROGRAMS / "grpc_echo.py").read_text(), "serve", "7000"),
    service("web", "web", http=8080, tcp=9000),
    service("web2", "web", http=8080),
    service("echo", "echo", grpc=7000),
]


def build(mesh: RunningMesh, streams: Iterable[str] = STREAMS) -> None:
    """Make the pods and wait until they are ready."""
    caller = pod("caller", "python3", "-c", (PROGRAMS / "client.py").read_text(), *streams)
    program = (PROGRAMS / "grpc_echo.py").read_text()
    grpc = pod("grpc", sys.executable, "-c", program, "call", "echo:7000")
    for objects in (SERVERS, [caller, grpc]):
        mesh.apply(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
        argv = ("wait", "--for=condition=Ready", "pod", "--all", "-n", NAMESPACE, "--timeout=60s")
        mesh.kubectl(*argv)


def runs(mesh: RunningMesh, since: float = 0.0) -> list[Run]:
    """Return what the clients have printed of requests that ended after some time."""
    found = []
    for name in ("caller", "grpc"):
        for line in mesh.kubectl("logs", name, "-n", NAMESPACE, "-c", "c").stdout.splitlines():
            run = Run(*json.loads(line))
            if run.ended > since:
                found.append(run)
    return found


def failures(mesh: RunningMesh, since: float, until: float, ttl: float) -> list[Run]:
    """Return what failed of what was asked in a time.

    A failure is a request that got no answer, or another one than over mutual TLS.  None is that a
    gRPC stream or a held raw TCP connection ends with the certificate it was made with, whether or
    not a message was on its way: neither could end otherwise.  It is one all the same when they
    are younger than YOUNGEST of the lifetime of certificates.

    Args:
        mesh: Where.
        since: From when on, CLOCK_MONOTONIC.
        until: Until when the requests began.
        ttl: Seconds that certificates live.
    """
    return [
        one
        for one in runs(mesh, since)
        if not one.is_good
        and since <= one.first < until
        and not (one.age is not None and one.age >= ttl * YOUNGEST)
    ]


def processes(mesh: RunningMesh) -> set[int]:
    """Return the pids of every Envoy and application."""
    mesh.daemon_pid()
    return {
        one.pid
        for one in mesh.members()
        if "envoy --disable-hot-restart" in one.command or "-c" in one.command.split()
    }


def envoy(mesh: RunningMesh, name: str) -> int:
    """Return the pid of a pod's Envoy, 0 when none runs."""
    uid = mesh.get("pod", name, "-n", NAMESPACE)["metadata"]["uid"]
    mesh.daemon_pid()
    found = (
        one.pid
        for one in mesh.members()
        if "envoy --disable-hot-restart" in one.command
        and f"{uid}/xds" in Path(f"/proc/{one.pid}/mountinfo").read_text()
    )
    return next(found, 0)
