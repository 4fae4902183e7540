"""No connection outlives the certificate it was made with; requests do not notice."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mutua.testing.lasting import PROGRAMS, Lasting, client, read_log, server
from mutua.testing.running_mesh import RunningMesh, eventually

TTL = 30.0
"""Seconds that certificates live here."""

LATE = 6.0
"""Seconds from an expiry to its effect: two ticks, on a busy machine."""

PLAIN = """
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: plain, namespace: shop}
spec: {selector: {matchLabels: {app: plain}}, mtls: {mode: DISABLE}}
"""


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningMesh]:
    running = RunningMesh(Path(tmp_path_factory.mktemp("mesh")), name="expiry")
    try:
        running.up("--workload-cert-ttl", f"{TTL:.0f}s")
        running.apply(PROGRAMS + PLAIN + server("web") + server("plain"))
        running.apply(client("good", "web") + client("old", "plain", kinds=["tcp", "grpc"]))
        for name in ("web", "plain", "good", "old"):
            running.kubectl("rollout", "status", f"deploy/{name}", "-n", "shop", "--timeout=60s")
        yield running
    finally:
        running.mutua("down", "--purge")
    assert running.leftovers() == []


def lasting(mesh: RunningMesh, name: str) -> list[Lasting]:
    argv = ("logs", f"deploy/{name}", "-n", "shop", "-c", "c")
    return read_log(mesh.kubectl(*argv, check=False).stdout)


def ended(mesh: RunningMesh, kind: str) -> list[float]:
    """Return how many seconds those connections lived that have ended."""
    found = lasting(mesh, "good")
    return [one.ended - one.begun for one in found if one.kind == kind and one.ended is not None]


def test_what_does_not_end_by_itself_ends_with_its_certificate(mesh: RunningMesh) -> None:
    eventually(
        lambda: all(len(ended(mesh, kind)) >= 2 for kind in ("tcp", "grpc", "h1")),
        "two ends of every kind",
        patience=4 * TTL,
        every=0.5,
    )

    for kind in ("tcp", "grpc", "h1"):
        assert max(ended(mesh, kind)) < TTL + LATE, kind
        # Not before the half of a life: somebody who uses it should not be disturbed needlessly.
        # What is opened right after a renewal may still count as the old certificate's.
        assert min(ended(mesh, kind)) > TTL / 2 - LATE, kind


def test_a_restart_of_the_daemon_prolongs_nothing(mesh: RunningMesh) -> None:
    def aged() -> Lasting | None:
        """Return a connection whose certificate has been replaced, and ends soon."""
        now = time.time()
        open_now = [one for one in lasting(mesh, "good") if one.ended is None]
        old = [one for one in open_now if one.kind == "tcp" and now - one.begun > 0.6 * TTL]
        return old[0] if old and now - old[0].begun < 0.8 * TTL else None

    found = eventually(aged, "a connection of some age", patience=4 * TTL)

    mesh.kill_daemon()
    mesh.up("--workload-cert-ttl", f"{TTL:.0f}s")
    back = time.time()

    def end() -> float | None:
        same = (one for one in lasting(mesh, "good") if one.begun == found.begun)
        return next((one.ended for one in same if one.kind == "tcp"), None)

    # Nobody can end it while there is no daemon.
    overdue = max(found.begun + TTL, back)
    assert eventually(end, "it has ended", patience=2 * TTL) < overdue + LATE


def test_requests_do_not_notice(mesh: RunningMesh) -> None:
    assert ended(mesh, "h2") == [], "a request failed"


def test_plaintext_knows_no_expiry(mesh: RunningMesh) -> None:
    found = lasting(mesh, "old")

    assert {one.kind for one in found} == {"tcp", "grpc"}
    assert [one for one in found if one.ended is not None] == []
