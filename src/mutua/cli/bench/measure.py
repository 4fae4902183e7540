"""The measurements, one function each: what is done, and which figures come of it."""

import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import Final

from mutua.api.object import Object
from mutua.cli import lock
from mutua.cli.bench import floor, manifest
from mutua.cli.bench.figure import Figure, percentile
from mutua.cli.bench.load import WARM_UP, Result
from mutua.cli.bench.manifest import container, deployment
from mutua.cli.bench.stage import Stage
from mutua.foundation.clock import SystemClock
from mutua.foundation.errors import Unavailable
from mutua.foundation.spiffe import SpiffeId
from mutua.identity.authority import Authority
from mutua.identity.csr import new_request
from mutua.identity.x509 import self_signed_ca
from mutua.runtime.membership import live_members, user_namespace

PYTHON: Final = sys.executable
APP: Final = [PYTHON, "-m", "mutua.cli.bench.server", str(floor.APP_PORT)]
IDLE: Final = ["sleep", "infinity"]

LOAD_SECONDS: Final = 2.0
"""Length of one load run, its warm-up included; short, so that the variants run close together."""

BUSY_CONNECTIONS: Final = 16
"""Connections of the throughput runs."""

SIDECARS: Final = "two sidecars"
FLOOR: Final = "hand-written pair"
VARIANTS: Final = {
    "direct": ("direct-client", "app", "direct-server", floor.APP_PORT),
    SIDECARS: ("client", "app", "server", floor.APP_PORT),
    FLOOR: ("floor-client", "idle", "127.0.0.1", floor.CLIENT_PORT),
}
"""Deployment and container that the load comes from, host and port that it goes to."""

_Case = tuple[str, int]
"""Variant and number of connections."""

FLOOR_IDENTITY: Final = SpiffeId("cluster.local", manifest.NAMESPACE, "floor")
"""Whom the hand-written pair's certificate names."""


def first_request(stage: Stage, begin: float) -> list[Figure]:
    """From `mutua up` to the first answer through two sidecars."""
    stage.apply(
        [
            manifest.namespace(),
            deployment("server", [container("app", APP, port=floor.APP_PORT)], sidecar=True),
            manifest.service("server", floor.APP_PORT),
            deployment("client", [container("app", IDLE)], sidecar=True),
        ]
    )
    stage.wait_until_available()
    url = f"http://server:{floor.APP_PORT}/"
    ask = f"until curl -sf -o /dev/null {url}; do sleep 0.01; done"
    stage.exec("client", "app", ["sh", "-c", ask])
    took = time.monotonic() - begin
    method = "wall clock from calling `mutua up` in an empty directory to curl's first 200"
    return [Figure("up to first mTLS 200", took, "s", method, "< 5")]


def traffic(stage: Stage, envoy: str, concurrency: int, rounds: int) -> list[Figure]:
    """Latency and throughput: direct, through two sidecars, through the hand-written pair."""
    _prepare_floor(stage, envoy, concurrency)
    _prepare_direct(stage)
    runs: dict[_Case, list[Result]] = defaultdict(list)
    cases = [(name, connections) for connections in (1, BUSY_CONNECTIONS) for name in VARIANTS]
    for _ in range(rounds):  # in turn, so that a drift of the machine meets all of them
        for name, connections in cases:
            app, box, host, port = VARIANTS[name]
            result = stage.load(app, box, host, port, connections=connections, seconds=LOAD_SECONDS)
            runs[name, connections].append(result)
        cases.reverse()
    figures = []
    for name in VARIANTS:
        figures += _traffic_figures(name, runs[name, 1], runs[name, BUSY_CONNECTIONS])
    return [*figures, *_ratios(runs)]


def _traffic_figures(name: str, one: Sequence[Result], many: Sequence[Result]) -> list[Figure]:
    how = (
        f"1 kB answers over keep-alive HTTP/1.1, closed loop, median of {len(one)} runs of"
        f" {LOAD_SECONDS:g} s of which the first {WARM_UP:.0%} are not counted"
    )
    one_by_one, together = f"{how}, 1 connection", f"{how}, {BUSY_CONNECTIONS} connections"
    rate = median([run.requests / run.seconds for run in many])
    busy = f"CPU time of the load generator, {BUSY_CONNECTIONS} connections; at 100 it is the limit"
    return [
        Figure(f"{name}: latency p50", median([run.p50 for run in one]) * 1e6, "us", one_by_one),
        Figure(f"{name}: latency p99", median([run.p99 for run in one]) * 1e6, "us", one_by_one),
        Figure(f"{name}: requests/s", rate, "1/s", f"{together}, no failure"),
        Figure(f"{name}: generator busy", median([run.busy for run in many]) * 100, "%", busy),
    ]


def _ratios(runs: Mapping[_Case, Sequence[Result]]) -> list[Figure]:
    """Compare round by round: what slows the machine down slows both."""
    one = zip(runs[SIDECARS, 1], runs[FLOOR, 1], strict=True)
    many = zip(runs[SIDECARS, BUSY_CONNECTIONS], runs[FLOOR, BUSY_CONNECTIONS], strict=True)
    latency = median([ours.p50 / floors.p50 for ours, floors in one])
    rate = median([ours.requests / floors.requests for ours, floors in many])
    method = "two sidecars divided by the hand-written pair, median of the rounds' quotients"
    return [
        Figure("sidecars / hand-written: latency p50", latency, "ratio", method, "<= 1.10"),
        Figure("sidecars / hand-written: requests/s", rate, "ratio", method, ">= 0.90"),
    ]


def _prepare_direct(stage: Stage) -> None:
    stage.apply(
        [
            deployment(
                "direct-server", [container("app", APP, port=floor.APP_PORT)], sidecar=False
            ),
            manifest.service("direct-server", floor.APP_PORT),
            deployment("direct-client", [container("app", IDLE)], sidecar=False),
        ]
    )
    stage.wait_until_available()


def _prepare_floor(stage: Stage, envoy: str, concurrency: int) -> None:
    argv = [envoy, "--disable-hot-restart", "--concurrency", str(concurrency)]
    argv += ["--log-level", "warning"]
    app = container("app", APP, port=floor.APP_PORT)
    stage.apply([_floor_secret(), *manifest.floor_half("server", argv, "127.0.0.1", app)])
    stage.wait_until_available()
    address = stage.pod("floor-server")["status"]["podIP"]
    idle = container("idle", IDLE)
    stage.apply(manifest.floor_half("client", argv, address, idle))
    stage.wait_until_available()


def _floor_secret() -> Object:
    """Return a Secret with one certificate for both halves, of an authority made on the spot."""
    day, clock = timedelta(days=1), SystemClock()
    ca = self_signed_ca("floor", lifetime=day, clock=clock)
    request = new_request(FLOOR_IDENTITY)
    chain = Authority(ca, FLOOR_IDENTITY.trust_domain, clock).sign(
        request.csr_pem, FLOOR_IDENTITY, day
    )
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": manifest.FLOOR_SECRET, "namespace": manifest.NAMESPACE},
        "stringData": {
            "cert.pem": chain.leaf,
            "key.pem": request.key.pem(),
            "root.pem": ca.chain_pem,
        },
    }


def enforcement(stage: Stage, flips: int) -> list[Figure]:
    """From sending a policy to the first plaintext request that it refuses."""
    argv = [PYTHON, "-m", "mutua.cli.bench.probe", "server", str(floor.APP_PORT)]
    stage.apply([manifest.policy("PERMISSIVE")])
    prober = [container("app", argv)]
    stage.apply([deployment("prober", prober, sidecar=False)])
    stage.wait_until_available()
    name = stage.pod("prober")["metadata"]["name"]
    lines = stage.client.log(name, follow=True)
    _next_state(lines, "served")
    delays = []
    for _ in range(flips):
        sent = time.monotonic()
        stage.apply([manifest.policy("STRICT")])
        delays.append(_next_state(lines, "refused") - sent)
        stage.apply([manifest.policy("PERMISSIVE")])
        _next_state(lines, "served")
    # Or it would go on asking the server whose throughput is measured next.
    stage.apply([deployment("prober", prober, sidecar=False, replicas=0)])
    stage.wait_until_available()
    method = (
        f"{flips} flips of a namespace's policy to STRICT under new plaintext connections, "
        "one per ms; from sending the request to the API to the first refused connection"
    )
    return [
        Figure("apply to enforced p50", percentile(delays, 0.5) * 1e3, "ms", method),
        Figure("apply to enforced p99", percentile(delays, 0.99) * 1e3, "ms", method, "< 50"),
    ]


def _next_state(lines: Iterator[str], wanted: str) -> float:
    """Return the instant (CLOCK_MONOTONIC seconds) at which the probe's answer became `wanted`."""
    for line in lines:
        state, _, instant = line.strip().partition(" ")
        if state == wanted:
            return float(instant)
    raise Unavailable("the probe ended")


def memory(stage: Stage, pods: int) -> list[Figure]:
    """Private memory of each further meshed pod."""
    before = private_bytes(stage)
    stage.apply([deployment("idle", [container("app", IDLE)], sidecar=True, replicas=pods)])
    stage.wait_until_available()
    time.sleep(2)  # let start-up allocations settle; a figure, not a test
    per_pod = (private_bytes(stage) - before) / pods
    method = f"private pages (smaps_rollup) of all pods' processes, {pods} more pods of `sleep`"
    return [Figure("private memory per meshed pod", per_pod / 1e6, "MB", method, "<= 25")]


def private_bytes(stage: Stage) -> int:
    """Return the private memory, in bytes, of every process of the mesh but the daemon."""
    daemon = lock.holder(stage.layout) or 0
    return sum(
        _private_bytes(member.pid)
        for member in live_members(user_namespace(daemon))
        if member.pid != daemon
    )


def _private_bytes(pid: int) -> int:
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0  # it ended while we looked
    lines = (line.split() for line in rollup.splitlines() if line.startswith("Private_"))
    return sum(int(kilobytes) * 1024 for name, kilobytes, _ in lines if "Hugetlb" not in name)
