"""Whatever sleeps longer than certificates live works again within seconds of waking.

Real pods in STRICT mode with constant traffic.  The daemon (control plane and agent), an Envoy, and
every process of the mesh are frozen until the certificates that they knew have ended.  Nobody helps
afterwards: the time from waking to the first good request of every stream is printed and bounded.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mutua.foundation.clock import parse_rfc3339
from mutua.testing.freezer import frozen, stopped
from mutua.testing.load.town import (
    CALLS,
    NAMESPACE,
    PODS,
    RUN,
    STREAMS,
    build,
    envoy,
    failures,
    processes,
    runs,
)
from mutua.testing.running_mesh import RunningMesh, eventually

TTL = 20.0
"""Seconds that certificates live here."""

BOUND = 10.0
"""Seconds from waking to the first good request, at most."""

WORTH_AN_EVENT = timedelta(seconds=32)
"""How late a renewal is that an event tells of: see docs/how-to/inspect-certificates.md."""

EVERYTHING = {*STREAMS, *CALLS}
Freezing = Callable[[list[int]], AbstractContextManager[str]]


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningMesh]:
    running = RunningMesh(Path(tmp_path_factory.mktemp("mesh")), name="sleep")
    try:
        running.up("--workload-cert-ttl", f"{TTL:.0f}s")
        build(running)
        yield running
    finally:
        running.mutua("down", "--purge")
    assert running.leftovers() == []


@pytest.fixture(autouse=True)
def everybody_talks(town: RunningMesh) -> None:
    since = time.monotonic()
    eventually(lambda: good_streams(town, since) == EVERYTHING, "all streams run")


def good_streams(mesh: RunningMesh, since: float) -> set[str]:
    return {one.stream for one in runs(mesh, since) if one.is_good}


def require_no_failure(mesh: RunningMesh, since: float, until: float, of: str = "") -> None:
    failed = [one for one in failures(mesh, since, until, TTL) if one.stream.startswith(of)]
    assert failed == [], "\n".join(map(str, failed))


def ends(mesh: RunningMesh) -> list[datetime]:
    """Return when the certificates end that the agent has."""
    found = mesh.get("workloadcertificates", "-n", NAMESPACE)["items"]
    return [parse_rfc3339(one["status"]["notAfter"]) for one in found]


def renewals(mesh: RunningMesh) -> list[datetime]:
    found = mesh.get("workloadcertificates", "-n", NAMESPACE)["items"]
    return [parse_rfc3339(one["status"]["renewAt"]) for one in found]


def sleep_until(instant: datetime) -> None:
    """Sleep on the wall clock, as certificates do."""
    while (left := (instant - datetime.now(UTC)).total_seconds()) > 0:
        time.sleep(min(left, 1.0))


def first_good(mesh: RunningMesh, woken: float) -> dict[str, float]:
    """Return after how many seconds each stream was answered for the first time."""
    found: dict[str, float] = {}
    for one in runs(mesh, woken):
        if one.is_good and one.stream not in found:
            found[one.stream] = max(one.answered(woken) - woken, 0.0)
    return found


def require_quick(mesh: RunningMesh, woken: float, what: str) -> None:
    """Require good requests on every stream within BOUND, and after it nothing but good ones."""
    eventually(lambda: first_good(mesh, woken).keys() == EVERYTHING, "all streams run", patience=90)
    found = first_good(mesh, woken)
    said = ", ".join(f"{name} {found[name]:.2f} s" for name in sorted(found))
    print(
        f"\n{what}: {max(found.values()):.2f} s to the first good request on all streams ({said})"
    )
    assert max(found.values()) < BOUND, said
    settled = woken + BOUND
    eventually(lambda: time.monotonic() > settled + 2 * RUN, "some seconds of being awake")
    require_no_failure(mesh, settled, settled + RUN)


def test_a_nap_of_the_daemon_disturbs_nobody(town: RunningMesh) -> None:
    daemon, pids = town.daemon_pid(), processes(town)
    began = time.monotonic()

    soonest = min(ends(town))
    with stopped([daemon]):
        sleep_until(soonest - timedelta(seconds=TTL * 0.3))  # after it was due for renewal
        slept = time.monotonic() - began
    eventually(lambda: min(ends(town)) > soonest, "renewed")
    time.sleep(RUN)

    print(f"\nthe daemon slept for {slept:.1f} s of a certificate's {TTL:.0f} s")
    require_no_failure(town, began, time.monotonic())
    assert processes(town) == pids
    assert town.daemon_pid() == daemon


@pytest.mark.parametrize("freezing", [stopped, frozen])
def test_all_processes_sleep_beyond_the_end_of_every_certificate(
    town: RunningMesh, freezing: Freezing
) -> None:
    daemon, pids = town.daemon_pid(), processes(town)
    everyone = [one.pid for one in town.members()]
    assert {daemon, *pids} < set(everyone)

    with freezing(everyone) as how:
        sleep_until(datetime.now(UTC) + timedelta(seconds=TTL + 2))
    woken = time.monotonic()

    require_quick(town, woken, f"all {len(everyone)} processes ({how})")
    assert processes(town) == pids
    assert town.daemon_pid() == daemon


def test_an_envoy_sleeps_beyond_the_end_of_its_certificate(town: RunningMesh) -> None:
    pids, began = processes(town), time.monotonic()

    with stopped([envoy(town, "web")]):
        sleep_until(datetime.now(UTC) + timedelta(seconds=TTL + 2))
    woken = time.monotonic()

    require_quick(town, woken, "the Envoy of web")
    require_no_failure(town, began, woken, of="grpc")
    assert processes(town) == pids


def test_the_daemon_sleeps_beyond_the_end_of_every_certificate_and_says_so(
    town: RunningMesh,
) -> None:
    daemon, pids = town.daemon_pid(), processes(town)
    due = max(renewals(town))

    with stopped([daemon]):
        sleep_until(due + timedelta(seconds=TTL / 2) + WORTH_AN_EVENT)
    woken = time.monotonic()

    new = [one for one in runs(town, woken - 5.0) if one.stream == "new:web:80"]
    assert not any(one.is_good for one in new if one.ended < woken), "the certificates had ended"
    require_quick(town, woken, "the daemon")
    assert processes(town) == pids
    told = eventually(lambda: lateness(town), "an event")
    for name in PODS:
        assert "the renewal was" in told[name]
        assert "late" in told[name]
        assert "after the end of the one before" in told[name]


def lateness(mesh: RunningMesh) -> dict[str, str]:
    """Return what events say of late renewals, by pod, once they do for every pod."""
    events = mesh.get("events", "-n", NAMESPACE)["items"]
    told = {
        one["involvedObject"]["name"]: one["message"]
        for one in events
        if one["reason"] == "CertificateRenewed"
    }
    return told if told.keys() >= set(PODS) else {}
