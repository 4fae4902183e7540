"""How long until the last proxy has a policy, and what does a push cost?

Two programs on two cores: the control plane (`hub`) and the proxies (`fleet`), real ADS over real
sockets.  Between them lies what a change costs: to everybody, and to the few whom it concerns.
`bare` in the place of `hub` shows how much of that is gRPC's.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import IO, Any, Final

from mutua.cli.bench.figure import Figure
from mutua.cli.bench.hub import PER_NAMESPACE
from mutua.foundation.errors import Unavailable

SIZES: Final = ((10, 100), (100, 100), (500, 500), (1000, 1000))
"""Proxies and Services of each mesh."""

LAST: Final = 1000
"""The size that the aim is about."""

AIM: Final = "< 150"
"""Milliseconds to the last of `LAST` proxies, the control plane on one core."""


@dataclass(frozen=True, slots=True)
class Push:
    """What one change took.

    Attributes:
        seconds: From writing the policy to the last proxy's confirmation.
        cpu: Seconds of the control plane's CPU.
        bytes: Sent to all proxies together.
        responses: Sent to all proxies together.
    """

    seconds: float
    cpu: float
    bytes: int
    responses: int


def propagation(sizes: tuple[tuple[int, int], ...] = SIZES, flips: int = 10) -> list[Figure]:
    """Measure a change for everybody, and one for a namespace, in meshes of several sizes."""
    figures: list[Figure] = []
    for proxies, services in sizes:
        with _mesh(proxies, services) as mesh:
            everybody = mesh.flip("istio-system", flips)
            few = mesh.flip("n0", flips)
        figures += _figures(proxies, services, "mesh policy", everybody, proxies)
        figures += _figures(proxies, services, "namespace policy", few, PER_NAMESPACE)
        with _mesh(proxies, services, "bare") as mesh:
            figures += _floor(proxies, mesh.flip("-", flips))
    return figures


def _figures(
    proxies: int, services: int, what: str, pushes: list[Push], concerned: int
) -> Iterator[Figure]:
    name = f"{proxies} proxies, {what}"
    how = (
        f"median of {len(pushes)} flips between PERMISSIVE and STRICT in a mesh of {services} "
        f"Services and {proxies} ADS clients, {concerned} of them concerned; control plane on one "
        "core, clients on another"
    )
    is_aim = proxies == LAST and concerned == proxies
    latest = f"{how}; from writing the policy to the last confirmation"
    yield Figure(
        f"{name}: last confirmed",
        median(push.seconds for push in pushes) * 1e3,
        "ms",
        latest,
        AIM if is_aim else "",
    )
    yield Figure(f"{name}: CPU", median(push.cpu for push in pushes) * 1e3, "ms", how)
    yield Figure(f"{name}: sent", median(push.bytes for push in pushes) / 1e3, "kB", how)


def _floor(proxies: int, pushes: list[Push]) -> Iterator[Figure]:
    how = (
        f"median of {len(pushes)}: gRPC alone writes a response to each of {proxies} clients on "
        "streams of their own, and reads their answers; on one core, clients on another"
    )
    took = median(push.seconds for push in pushes) * 1e3
    yield Figure(f"{proxies} streams, bare gRPC: last confirmed", took, "ms", how)
    spent = median(push.cpu for push in pushes) * 1e3
    yield Figure(f"{proxies} streams, bare gRPC: CPU", spent, "ms", how)


class _Mesh:
    """The two programs."""

    def __init__(self, hub: "subprocess.Popen[str]", fleet: "subprocess.Popen[str]") -> None:
        self._hub, self._fleet = hub, fleet

    def flip(self, namespace: str, times: int) -> list[Push]:
        """Flip a policy to and fro; the first time, which creates it, does not count."""
        self._once(namespace, "PERMISSIVE")
        modes = ("STRICT", "PERMISSIVE")
        return [self._once(namespace, modes[number % 2]) for number in range(times)]

    def _once(self, namespace: str, mode: str) -> Push:
        took = _ask(self._hub, f"{namespace} {mode}")
        sent = _ask(self._fleet, "count")
        return Push(took["seconds"], took["cpu"], sent["bytes"], sent["responses"])


@contextmanager
def _mesh(proxies: int, services: int, control_plane: str = "hub") -> Iterator[_Mesh]:
    with tempfile.TemporaryDirectory(prefix="mutua-bench-") as folder:
        arguments = (folder, str(proxies), str(services))
        with _program(control_plane, *arguments) as hub:
            _next(hub)  # it serves
            with _program("fleet", *arguments) as fleet:
                _next(hub)  # everybody is up to date
                mesh = _Mesh(hub, fleet)
                _ask(fleet, "count")
                yield mesh


@contextmanager
def _program(name: str, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    with subprocess.Popen(  # noqa: S603 - ourselves
        [sys.executable, "-m", f"mutua.cli.bench.{name}", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path("/"),
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _ask(program: "subprocess.Popen[str]", question: str) -> Any:
    stdin = _pipe(program.stdin)
    stdin.write(question + "\n")
    stdin.flush()
    return _next(program)


def _next(program: "subprocess.Popen[str]") -> Any:
    line = _pipe(program.stdout).readline()
    if not line:
        raise Unavailable(f"{program.args!r} ended")
    return json.loads(line)


def _pipe(stream: IO[str] | None) -> IO[str]:
    assert stream is not None  # noqa: S101 - both ends were asked for
    return stream
