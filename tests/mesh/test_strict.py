"""Strict without fear: real callers in plaintext are found, repaired as told, and switched.

Every caller is a program that calls once every tenth of a second and logs what became of it.
"""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from mutua.testing.running_mesh import RunningMesh, eventually

WATCH = 60
"""Seconds for which the one wave is watched that hurts somebody."""

SOON = 3.0
"""Seconds in which it has to be undone."""

CALL = """
import http.client, sys, time
while True:
    try:
        link = http.client.HTTPConnection(sys.argv[1], int(sys.argv[2]), timeout=30)
        link.request("GET", "/etc/hostname")
        said = link.getresponse().status
        link.close()
    except OSError as error:
        said = type(error).__name__
    print(time.time(), said, flush=True)
    time.sleep(0.1)
"""

HOLD = """
import socket, sys, time
while True:
    try:
        with socket.create_connection((sys.argv[1], int(sys.argv[2]))) as link:
            link.sendall(b"this is no HTTP, it is a queue")
            link.recv(1)
    except OSError:
        pass
    time.sleep(0.1)
"""

SERVE = """
import http.server, os, socket, threading
def hold():
    with socket.create_server(("0.0.0.0", 9000)) as listener:
        kept = []
        while True:
            kept.append(listener.accept())
threading.Thread(target=hold, daemon=True).start()
os.chdir("/")
handler = http.server.SimpleHTTPRequestHandler
http.server.ThreadingHTTPServer(("0.0.0.0", 8080), handler).serve_forever()
"""


def deployment(
    namespace: str, name: str, *command: str, port: int = 0, **annotations: str
) -> dict[str, Any]:
    container: dict[str, Any] = {"name": "c", "image": "x", "command": command}
    if port:
        container["ports"] = [{"containerPort": port}]
        container["readinessProbe"] = {"tcpSocket": {"port": port}, "periodSeconds": 1}
    template = {
        "metadata": {
            "labels": {"app": name},
            "annotations": {f"traffic.sidecar.istio.io/{k}": v for k, v in annotations.items()},
        },
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 0},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"selector": {"matchLabels": {"app": name}}, "template": template},
    }


def service(namespace: str, name: str, *ports: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"selector": {"app": name}, "ports": ports},
    }


def namespace(name: str, *, meshed: bool) -> dict[str, Any]:
    labels = {"istio-injection": "enabled"} if meshed else {}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def caller(at: str, name: str, host: str, port: int = 80, **annotations: str) -> dict[str, Any]:
    return deployment(at, name, "python3", "-c", CALL, host, str(port), **annotations)


DISABLED = {
    "apiVersion": "networking.istio.io/v1",
    "kind": "DestinationRule",
    "metadata": {"name": "legacy", "namespace": "office"},
    "spec": {
        "host": "web.shop.svc.cluster.local",
        "trafficPolicy": {"tls": {"mode": "DISABLE"}},
    },
}

HTTP = {"name": "http", "port": 80, "targetPort": 8080}

OBJECTS = [
    namespace("shop", meshed=True),
    namespace("office", meshed=True),
    namespace("back", meshed=True),
    namespace("street", meshed=False),
    DISABLED,
    deployment("shop", "web", "python3", "-c", SERVE, port=8080),
    service("shop", "web", HTTP, {"name": "tcp", "port": 9000}),
    deployment("back", "api", "python3", "-c", SERVE, port=8080),
    service("back", "api", HTTP),
    caller("shop", "inside", "web"),
    caller("shop", "excluded", "web", excludeOutboundPorts="80,81"),
    caller("office", "clerk", "web.shop"),
    caller("street", "passer-by", "web.shop"),
    deployment("street", "holder", "python3", "-c", HOLD, "web.shop", "9000"),
    deployment("street", "hidden", "sleep", "inf"),
]


@pytest.fixture(scope="module")
def shop(mesh: RunningMesh) -> RunningMesh:
    mesh.apply(json.dumps({"apiVersion": "v1", "kind": "List", "items": OBJECTS}))
    rolled_out(mesh)
    return mesh


def rolled_out(mesh: RunningMesh) -> None:
    for one in mesh.get("deployments", "-A")["items"]:
        at, name = one["metadata"]["namespace"], one["metadata"]["name"]
        mesh.kubectl("rollout", "status", f"deploy/{name}", "-n", at, "--timeout=60s")


def plan(mesh: RunningMesh, *argv: str) -> tuple[int, dict[str, Any]]:
    done = mesh.mutua("strict", "plan", "-o", "json", *argv, check=False)
    assert done.returncode in {0, 1}, done.stderr
    return done.returncode, json.loads(done.stdout)


def callers(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return everybody in a plan, by name; nobody calls two ports here."""
    return {one["name"]: one for port in found["ports"] for one in port["callers"]}


def said(mesh: RunningMesh, at: str, name: str) -> list[tuple[float, str]]:
    """Return what a caller logged: when, and what became of the call."""
    lines = mesh.kubectl("logs", "-n", at, f"deploy/{name}", "-c", "c").stdout.splitlines()
    return [(float(when), what) for when, what in map(str.split, lines)]


def curl(mesh: RunningMesh, at: str, name: str, host: str) -> str:
    argv = ("exec", "-n", at, f"deploy/{name}", "-c", "c", "--", "curl", "-s", "-m", "15")
    done = mesh.kubectl(*argv, "-o", "/dev/null", "-w", "%{http_code}", host, check=False)
    return done.stdout


def policies(mesh: RunningMesh, at: str) -> dict[str, str]:
    found = mesh.get("peerauthentication", "-n", at)["items"]
    return {one["metadata"]["name"]: one["spec"]["mtls"]["mode"] for one in found}


def is_in_force(mesh: RunningMesh, at: str) -> bool:
    argv = ("wait", "--for=condition=InForce", "pa/default", "-n", at, "--timeout=10s")
    return mesh.kubectl(*argv, check=False).returncode == 0


@contextmanager
def applying(mesh: RunningMesh, *argv: str) -> Iterator[subprocess.Popen[str]]:
    """Run `strict apply` next to the test."""
    command = [sys.executable, "-m", "mutua", "strict", "apply", "--yes", "-o", "json", *argv]
    process = subprocess.Popen(
        command, env=mesh.environ, cwd=mesh.folder, stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_whoever_calls_in_plaintext_is_named_with_the_reason(shop: RunningMesh) -> None:
    expected = {
        "passer-by": ("NoSidecar", "HTTP", "street"),
        "holder": ("NoSidecar", "TCP", "street"),
        "excluded": ("ExcludedPort", "HTTP", "shop"),
        "clerk": ("DestinationRule", "HTTP", "office"),
    }

    def all_seen() -> Any:
        status, found = plan(shop)
        known = callers(found)
        # The holder's connection stays open, so its program can be told, too.
        # Counts are told some seconds later.
        calls = sum(port["calls"] for port in found["ports"] if port["port"] == 8080)
        is_complete = known.keys() >= expected.keys() and known["holder"]["process"] and calls
        return (status, found) if is_complete else None

    status, found = eventually(all_seen, "everybody is seen")
    assert callers(found).keys() == expected.keys()

    assert (status, found["verdict"]) == (1, "NOT READY")
    for name, (reason, protocol, at) in expected.items():
        one = callers(found)[name]
        assert (one["reason"], one["protocol"], one["namespace"]) == (reason, protocol, at), one
        assert (one["kind"], one["state"]) == ("Deployment", "blocks"), one
        assert one["count"] > 0, one
        assert one["remedy"], one
    assert callers(found)["holder"]["process"].startswith("python3")
    assert callers(found)["clerk"]["object"] == "DestinationRule office/legacy"
    ports = {(one["workload"]["name"], one["port"]): one for one in found["ports"]}
    verdicts = {key: one["verdict"] for key, one in ports.items()}
    assert verdicts["web", 8080] == verdicts["web", 9000] == "NOT READY"
    assert verdicts["api", 8080] == "READY"
    assert ports["web", 8080]["calls"] > 0
    assert ports["api", 8080]["calls"] == 0


def test_kubectl_reads_the_ledger_and_forgets_a_caller(shop: RunningMesh) -> None:
    shown = shop.kubectl("get", "plaintextcallers", "-n", "shop").stdout

    header, *rows = shown.splitlines()
    assert header.split()[1:5] == ["SERVER", "PORT", "CALLER", "WHY"]
    [row] = [row for row in rows if "deployment/passer-by.street" in row]
    assert "NoSidecar" in row

    def first_seen() -> str:
        found = shop.get("plaintextcallers", "-n", "shop")["items"]
        return "".join(
            one["status"]["firstSeen"] for one in found if one["metadata"]["name"] == row.split()[0]
        )

    before = first_seen()
    shop.kubectl("delete", "plaintextcaller", row.split()[0], "-n", "shop")
    eventually(lambda: first_seen() > before, "it calls again, and is known from then on")


def test_nothing_is_switched_while_somebody_would_fail(shop: RunningMesh) -> None:
    done = shop.mutua("strict", "apply", "--yes", "-n", "shop", check=False)

    assert done.returncode == 1
    assert "NOT READY" in done.stderr
    assert "deploy/clerk.office" in done.stderr
    assert policies(shop, "shop") == {}


def test_the_remedies_are_commands_that_work_and_then_the_switch_hurts_nobody(
    shop: RunningMesh,
) -> None:
    _, found = plan(shop)
    for one in callers(found).values():
        command = one["remedy"].partition(": ")[2]
        shop.kubectl(*shlex.split(command)[1:])
    rolled_out(shop)

    def is_ready() -> Any:
        status, found = plan(shop)
        return found if status == 0 else None

    found = eventually(is_ready, "READY after the repairs")
    assert {one["state"] for one in callers(found).values()} == {"fixed"}

    began = time.time()
    done = shop.mutua("strict", "apply", "--yes", "-n", "shop", "--watch", "1s", "-o", "json")
    report = json.loads(done.stdout)
    assert [(wave["policy"], wave["outcome"]) for wave in report["waves"]] == [
        ("shop/default", "held")
    ]
    assert policies(shop, "shop") == {"default": "STRICT"}
    for at, name in (("shop", "inside"), ("shop", "excluded"), ("office", "clerk"),
                     ("street", "passer-by")):  # fmt: skip
        answers = {what for when, what in said(shop, at, name) if when >= began}
        assert answers == {"200"}, name
    kept = shop.get("configmap", "mutua-strict-report", "-n", "istio-system")
    assert json.loads(kept["data"]["report.json"]) == report


def test_a_wave_is_reverted_when_somebody_unknown_starts_to_fail(shop: RunningMesh) -> None:
    with applying(shop, "-n", "back", "--watch", f"{WATCH}s") as process:
        eventually(lambda: is_in_force(shop, "back"), "STRICT is in force")
        assert curl(shop, "street", "hidden", "http://api.back/") == "000"
        refused = time.monotonic()
        eventually(
            lambda: curl(shop, "street", "hidden", "http://api.back/") == "200",
            "traffic is restored",
            every=0.01,
        )
        took = time.monotonic() - refused
        output, _ = process.communicate(timeout=60)

    assert took < SOON
    assert process.returncode == 1
    [wave] = json.loads(output)["waves"]
    assert wave["outcome"] == "reverted"
    assert "deploy/hidden.street" in wave["why"]
    assert "deploy/api.back on 8080" in wave["why"]
    assert policies(shop, "back") == {}
    eventually(
        lambda: "deploy/hidden.street" in shop.kubectl("get", "events", "-n", "back").stdout,
        "an Event says why",
    )


def test_a_command_that_is_interrupted_puts_the_policy_back(shop: RunningMesh) -> None:
    shop.apply(
        "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\n"
        "metadata: {name: default, namespace: back}\nspec: {mtls: {mode: PERMISSIVE}}\n"
    )
    with applying(shop, "-n", "back", "--force", "--watch", "60s") as process:
        eventually(lambda: policies(shop, "back") == {"default": "STRICT"}, "it is switched")
        os.kill(process.pid, signal.SIGTERM)
        output, _ = process.communicate(timeout=60)

    assert process.returncode == 130
    assert [wave["outcome"] for wave in json.loads(output)["waves"]] == ["interrupted"]
    assert policies(shop, "back") == {"default": "PERMISSIVE"}


def test_the_watch_ends_without_the_command_that_began_it(shop: RunningMesh) -> None:
    with applying(shop, "-n", "back", "--force", "--watch", "1s") as process:
        eventually(lambda: policies(shop, "back") == {"default": "STRICT"}, "it is switched")
        process.kill()

    def notes() -> str:
        found = shop.get("peerauthentication", "default", "-n", "back")
        return " ".join(found["metadata"]["annotations"])

    eventually(lambda: "strict.mutua.io/guard" not in notes(), "the guard has decided")
    assert "strict.mutua.io/applied" in notes()
    assert policies(shop, "back") == {"default": "STRICT"}
