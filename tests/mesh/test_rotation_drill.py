"""The rotation drill: one CA after the other while certificates are short and things are killed.

Real pods in STRICT mode with constant traffic over HTTP/1.1, HTTP/2, gRPC calls, one gRPC stream
and raw TCP.  New root, new intermediate, a CA of one's own, another one, and back; in a random
stage of each the daemon is killed with -9 and started again by `mutua up`, or an Envoy is killed.

What counts is in `mutua.testing.load.town.failures`.  Where an Envoy was killed, the requests of
its pod and those to it may fail until the pod is ready again; nothing else may fail at any time,
and nothing but what was killed has another pid.

    MUTUA_DRILL_SECONDS   go on for so long (`make drill`: ten minutes, two-minute certificates)
    MUTUA_DRILL_SEED      repeat a drill: its seed is printed
"""

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import pytest

from mutua.testing.load.town import (
    CALLS,
    HELD,
    PODS,
    RUN,
    STREAMS,
    Run,
    build,
    envoy,
    failures,
    processes,
    runs,
)
from mutua.testing.running_mesh import RunningMesh, eventually

SECONDS = float(os.environ.get("MUTUA_DRILL_SECONDS", "0"))
SEED = int(os.environ.get("MUTUA_DRILL_SEED", "0")) or random.SystemRandom().randrange(1, 10**6)
TTL = 120.0 if SECONDS else 40.0
"""Seconds that certificates live here."""

SHORT = ["root", "intermediate", "Acme"]
LONG = ["root", "intermediate", "Acme", "Acme", "Other", "leave"]
"""Rotations: of the mesh's own root or intermediate, to a CA of one's own, or back from it."""

SCRIPT = Path(__file__).parents[2] / "examples/mtls-tutorial/create-custom-ca.sh"
FILES = ("ca-cert.pem", "ca-key.pem", "cert-chain.pem", "root-cert.pem")
STAGES = ("Distribute", "Issue", "Withdraw")
EXPECTED = {*STREAMS, HELD, *CALLS}
AFTER = 2.0
"""Seconds after an Envoy's pod is ready again in which a request may still fail, or have begun
before its death."""


@dataclass(slots=True)
class Drill:
    """One run of it.

    Attributes:
        mesh: Where.
        folder: For the files of CAs.
        chance: Seeded.
        excused: From when to when requests of whose streams may fail: a prefix of their names.
        killed: Pids of Envoys that were killed, and of their successors.
        ended: How many rotations have ended.
    """

    mesh: RunningMesh
    folder: Path
    chance: random.Random
    excused: list[tuple[float, float, tuple[str, ...]]] = field(default_factory=list)
    killed: set[int] = field(default_factory=set)
    ended: int = 0

    def rotate(self, what: str, stage: str, victim: str) -> None:
        """Begin a rotation, kill something in a stage of it, and wait for its end."""
        before = self.state()["issuing"]
        print(f"{time.monotonic():.1f} {what}: kill {victim} in {stage}", flush=True)
        begin = time.monotonic()
        self.begin(what)
        eventually(
            lambda: self.stage() == stage or self.is_over(before), f"{what}: {stage}", every=0.005
        )
        reached = self.stage() or "the end"
        time.sleep(self.chance.random() * 0.2)
        if victim == "daemon":
            self.kill_daemon()
        else:
            self.kill_envoy(victim)
        eventually(lambda: self.is_over(before), f"{what} is over", patience=120)
        self.ended += 1
        print(f"  killed in {reached}; over after {time.monotonic() - begin:.1f} s", flush=True)

    def begin(self, what: str) -> None:
        """Ask for a rotation, as a user does."""
        if what in {"root", "intermediate"}:
            self.mesh.mutua("ca", "rotate", what, "--no-wait")
            return
        if what == "leave":
            self.mesh.kubectl("delete", "secret", "cacerts", "-n", "istio-system")
            self.mesh.mutua("ca", "rotate", "root", "--no-wait")
            return
        if what == "Other":
            (self.folder / "root-key.pem").unlink()
        subprocess.run([SCRIPT, what], cwd=self.folder, check=True, capture_output=True)
        files = [f"--from-file={self.folder / name}" for name in FILES]
        argv = ("create", "secret", "generic", "cacerts", "-n", "istio-system", *files)
        self.mesh.apply(self.mesh.kubectl(*argv, "--dry-run=client", "-o", "yaml").stdout)

    def state(self) -> dict[str, Any]:
        """Return where the rotation is, as it is stored: the stage before anything acts on it."""
        found = json.loads((self.mesh.layout.pki / "ca/state.json").read_text())
        assert isinstance(found, dict)
        return found

    def stage(self) -> str:
        """Return the stage of the rotation that is under way, "" for none."""
        rotation = self.state()["rotation"]
        return str(rotation["stage"]) if rotation else ""

    def is_over(self, before: object) -> bool:
        """Tell whether another CA signs than before, and no rotation is under way."""
        return not self.stage() and self.state()["issuing"] != before

    def kill_daemon(self) -> None:
        """Kill the daemon, and start another."""
        self.mesh.kill_daemon()
        up(self.mesh)

    def kill_envoy(self, name: str) -> None:
        """Kill a pod's Envoy, and wait for the node to have started another."""
        dead, died = envoy(self.mesh, name), time.monotonic()
        os.kill(dead, signal.SIGKILL)
        new = eventually(
            lambda: (pid := envoy(self.mesh, name)) != dead and pid, f"{name}: Envoy", patience=400
        )
        eventually(lambda: is_ready(self.mesh, name), f"{name} is ready")
        streams = ("grpc",) if name in {"echo", "grpc"} else (*STREAMS, HELD)
        self.excused.append((died - AFTER, time.monotonic() + AFTER, streams))
        self.killed |= {dead, new}

    def unexcused(self, since: float) -> list[Run]:
        """Return the failures that nothing explains that was killed."""
        return [
            one
            for one in failures(self.mesh, since, time.monotonic(), TTL)
            if not any(
                start <= one.first < end and one.stream.startswith(streams)
                for start, end, streams in self.excused
            )
        ]


def is_ready(mesh: RunningMesh, name: str) -> bool:
    conditions = mesh.get("pod", name, "-n", "turn")["status"]["conditions"]
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def up(mesh: RunningMesh) -> None:
    mesh.up("--workload-cert-ttl", f"{TTL:.0f}s")


@pytest.fixture
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningMesh]:
    running = RunningMesh(Path(tmp_path_factory.mktemp("mesh")), name="drill")
    try:
        up(running)
        build(running, (*STREAMS, HELD))
        yield running
    finally:
        running.mutua("down", "--purge")
    assert running.leftovers() == []


def plan(chance: random.Random) -> Iterator[tuple[str, str, str]]:
    """Yield rotations, each with a stage and with what is killed in it.

    Of three in a row each has another stage; every other death is the daemon's, and Envoys die by
    turns, because the node restarts what crashes often later and later.
    """
    order = SHORT if not SECONDS else LONG
    pods = chance.sample(PODS, len(PODS))
    is_daemon = chance.random() < 0.5
    stages: list[str] = []
    turns = chain(order, chain.from_iterable(repeat(LONG)) if SECONDS else ())
    for number, what in enumerate(turns):
        stages = stages or chance.sample(STAGES, len(STAGES))
        victim = "daemon" if is_daemon else pods[number // 2 % len(pods)]
        yield what, stages.pop(), victim
        is_daemon = not is_daemon


def test_nothing_fails_whatever_is_rotated_and_killed(town: RunningMesh, tmp_path: Path) -> None:
    print(f"\nMUTUA_DRILL_SEED={SEED}, certificates of {TTL:.0f} s", flush=True)
    drill = Drill(town, tmp_path, random.Random(SEED))
    start = time.monotonic()
    eventually(
        lambda: {one.stream for one in runs(town, start) if one.is_good} == EXPECTED, "traffic"
    )
    pids, began = processes(town), time.monotonic()
    kept: set[Run] = set()

    for what, stage, victim in plan(drill.chance):
        drill.rotate(what, stage, victim)
        kept |= {*runs(town, began)}
        assert (failed := drill.unexcused(began)) == [], "\n".join(map(str, failed))
        if SECONDS and time.monotonic() > began + SECONDS:
            break

    time.sleep(RUN)
    kept |= {*runs(town, began)}
    assert (failed := drill.unexcused(began)) == [], "\n".join(map(str, failed))
    assert {one.stream for one in kept} == EXPECTED
    assert processes(town) - drill.killed == pids - drill.killed
    ended = [one for one in kept if one.age is not None]
    print(
        f"{drill.ended} rotations, {sum(one.count for one in kept if one.is_good)} good requests, "
        f"{len(ended)} streams and held connections ended with their certificates",
        flush=True,
    )
