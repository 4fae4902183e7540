"""A wall clock that is set heals: certificates, the API and its kubeconfig, without anyone's help.

Real pods in STRICT mode with constant traffic.  Daemon, `mutua` commands and Envoys go by a clock
that the test sets while they run (`mutua.testing.stepped_clock`).  Certificates live for an hour,
so that nothing is renewed here but for a step.  The time from each step to good requests on new
connections of every stream is printed and bounded.
"""

import json
import shutil
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mutua.foundation.clock import parse_rfc3339
from mutua.identity.keystore import ROOT_LIFETIME
from mutua.testing.freezer import stopped
from mutua.testing.load.town import NAMESPACE, PODS, build, processes, runs
from mutua.testing.running_mesh import RunningMesh, eventually
from mutua.testing.stepped_clock import SteppedClock, stepped_clock

LIBRARY = Path(__file__).with_name("clock_step.c")

HOUR, DAY = timedelta(hours=1), timedelta(days=1)

BOUND = 10.0
"""Seconds from a step to the end of the last failed request, at most."""

CALM = 2.0
"""Seconds without a failure after which no more is expected: all looks at the clock come within one
(mutua.agent.agent.TICK, mutua.cluster.revocation.reaper.TICK)."""

CALLS = ("new:web:80", "new:web2:80", "lines:web:9000")
"""HTTP/1.1, HTTP/2 and raw TCP.  Each line of the latter takes a new connection between proxies, so
that stream depends on valid certificates at every moment."""

WINDOW = 6.0
"""Seconds in which every stream has ended a request, on a busy machine."""

EVERYTHING = {*CALLS, "grpc-calls", "grpc-stream"}


@pytest.fixture(scope="module")
def clock() -> Iterator[SteppedClock]:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler: the clock of this test needs `cc` (Debian: gcc, libc6-dev)")
    with stepped_clock(LIBRARY, compiler) as made:
        yield made


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory, clock: SteppedClock) -> Iterator[RunningMesh]:
    running = RunningMesh(Path(tmp_path_factory.mktemp("mesh")), name="step")
    running.environ = {**running.environ, "LD_PRELOAD": str(clock.library)}
    try:
        running.up("--workload-cert-ttl", "1h", "--envoy", str(clock.envoy))
        build(running, CALLS)
        yield running
    finally:
        clock.set_off(timedelta())
        running.mutua("down", "--purge")
    assert running.leftovers() == []


@pytest.fixture(autouse=True)
def nobody_is_restarted(town: RunningMesh, clock: SteppedClock) -> Iterator[None]:
    clock.set_off(timedelta())
    heal(town, clock)
    daemon, pids = town.daemon_pid(), processes(town)
    yield
    assert town.daemon_pid() == daemon
    assert processes(town) == pids


def certificates(mesh: RunningMesh) -> dict[str, Any]:
    """Return what `mutua certs` says by pod, nothing while it cannot."""
    done = mesh.mutua("certs", "-o", "json", check=False)
    found = json.loads(done.stdout)["certificates"] if done.returncode == 0 else []
    return {one["pod"]: one for one in found}


def is_sane(certificate: dict[str, Any], now: datetime) -> bool:
    begins, due = (parse_rfc3339(certificate[name]) for name in ("notBefore", "renewAt"))
    return begins <= now < due and certificate["rootsConfirmed"] and "lastError" not in certificate


def heal(mesh: RunningMesh, clock: SteppedClock) -> dict[str, str]:
    """Wait until every pod has a good certificate; return their serial numbers."""

    def serials() -> dict[str, str]:
        found = certificates(mesh)
        good = {pod: one["serialNumber"] for pod, one in found.items() if is_sane(one, clock.now())}
        return good if good.keys() == set(PODS) else {}

    found = eventually(serials, "good certificates", patience=3 * BOUND)
    assert isinstance(found, dict)
    return found


def last_failure(mesh: RunningMesh, since: float) -> float | None:
    """Return when the last failed request ended, once good ones have followed for CALM seconds."""
    found = runs(mesh, since)
    last = max((one.ended for one in found if not one.is_good), default=since)
    calm = {one.stream for one in found if one.is_good and one.ended > last + CALM}
    return last if calm == EVERYTHING else None


def require_healing(mesh: RunningMesh, clock: SteppedClock, what: str) -> dict[str, str]:
    """Require that what was set just now heals in time; return the new serial numbers."""
    since = time.monotonic()
    serials = heal(mesh, clock)
    certified = time.monotonic() - since
    last = eventually(lambda: last_failure(mesh, since), "no more failures", patience=3 * BOUND)
    failed = [one for one in runs(mesh, since) if not one.is_good]
    count = sum(one.count for one in failed)
    print(
        f"\n{what}: new certificates seen after {certified:.2f} s,"
        f" {count} failed requests, the last after {last - since:.2f} s"
    )
    assert last - since < BOUND
    return serials


def told(mesh: RunningMesh, *words: str) -> set[str]:
    """Return the pods that an event with these words tells of."""
    events = mesh.get("events", "-n", NAMESPACE)["items"]
    found = [one for one in events if all(word in one["message"] for word in words)]
    return {one["involvedObject"]["name"] for one in found if one["reason"] == "CertificateRenewed"}


def require_events(mesh: RunningMesh, *words: str) -> None:
    eventually(lambda: told(mesh, *words) == set(PODS), f"events with {words}")


def test_over_half_of_a_life_renews_at_once_and_nobody_notices(
    town: RunningMesh, clock: SteppedClock
) -> None:
    before, since = heal(town, clock), time.monotonic()

    clock.step(HOUR * 0.56)
    after = require_healing(town, clock, "34 minutes forward")

    assert not before.items() & after.items()
    assert [one for one in runs(town, since) if not one.is_good] == []


def test_beyond_the_end_of_every_certificate(town: RunningMesh, clock: SteppedClock) -> None:
    before = heal(town, clock)

    clock.step(DAY)
    after = require_healing(town, clock, "a day forward")

    assert not before.items() & after.items()
    require_events(town, "the renewal was 23h late, 23h after the end of the one before")


def test_back_to_before_any_certificate_began_and_forward_again(
    town: RunningMesh, clock: SteppedClock
) -> None:
    first = heal(town, clock)

    clock.step(-HOUR)
    second = require_healing(town, clock, "an hour back")
    require_events(town, "the clock was set back to before")
    clock.step(HOUR - DAY)
    third = require_healing(town, clock, "a day back")
    clock.step(DAY)
    fourth = require_healing(town, clock, "a day forward again")

    every = [set(one.values()) for one in (first, second, third, fourth)]
    assert len(set.union(*every)) == sum(map(len, every))


def test_to_before_the_authority_began_and_beyond_the_end_of_every_certificate(
    town: RunningMesh, clock: SteppedClock
) -> None:
    logged = len(town.daemon_log())

    clock.step(-3 * DAY)
    eventually(
        lambda: town.daemon_log()[logged:].count("certificate not renewed") >= len(PODS),
        "nothing can be issued",
    )
    refused = town.mutua("certs", check=False)
    clock.step(4 * DAY)
    require_healing(town, clock, "a day forward from before the root began")

    assert refused.returncode == 1
    assert "a certificate that is not valid at the time of this machine" in refused.stderr
    assert "the signing certificate is not valid before" in town.daemon_log()[logged:]


def test_while_the_daemon_stands_still(town: RunningMesh, clock: SteppedClock) -> None:
    with stopped([town.daemon_pid()]):
        clock.step(DAY)
        stepped = time.monotonic()
        eventually(lambda: time.monotonic() > stepped + WINDOW, "connections ask for certificates")
        woken = time.monotonic()
    require_healing(town, clock, "a day forward while the daemon was stopped")

    during = [one for one in runs(town, stepped) if one.first > stepped + 1.0 and one.ended < woken]
    lines = [one for one in during if one.stream == "lines:web:9000"]
    assert lines != []
    assert not any(one.is_good for one in lines), "the certificates had ended for proxies too"
    require_events(town, "late, 23h after the end of the one before")


def issuing(mesh: RunningMesh) -> str:
    """Return the serial number of the CA that signs, "" while it is not known or is replaced."""
    done = mesh.mutua("ca", "status", "-o", "json", check=False)
    status = json.loads(done.stdout)["status"] if done.returncode == 0 else {"rotation": True}
    return "" if "rotation" in status else str(status["issuing"]["serialNumber"])


def test_a_root_is_replaced_before_it_ends_and_when_the_clock_had_been_wrong_once_more(
    town: RunningMesh, clock: SteppedClock
) -> None:
    def renewed(before: str, what: str) -> str:
        found = eventually(
            lambda: one if (one := issuing(town)) not in {"", before} else "",
            f"the root is replaced {what}",
            patience=3 * BOUND,
        )
        heal(town, clock)
        return str(found)

    first = eventually(lambda: issuing(town), "the CA", patience=3 * BOUND)
    clock.step(ROOT_LIFETIME * 0.81)
    second = renewed(first, "eight years later")
    calm = time.monotonic()
    eventually(lambda: time.monotonic() > calm + WINDOW, "requests")
    back = time.monotonic()
    clock.step(-ROOT_LIFETIME * 0.81)  # kubectl goes by the real time, and works again
    renewed(second, "when it begins in the future")
    eventually(lambda: last_failure(town, back), "no more failures", patience=3 * BOUND)

    between = [one for one in runs(town, calm) if one.first > calm and one.ended < back]
    assert {one.stream for one in between if one.is_good} >= {"lines:web:9000"}
    assert [one for one in between if not one.is_good] == []
    told = town.get("events", "-n", "istio-system")["items"]
    begun = " ".join(one["message"] for one in told if one["reason"] == "RenewalBegun")
    assert "the root 'O=cluster.local' ends at" in begun
    assert "the root 'O=cluster.local' is not valid before" in begun
