"""Is a container well?  Its startup, readiness and liveness probes, from start to end.

One `watch` per running attempt.  Source: Kubernetes Probe; kubelet `prober/worker.go`.

Deviates from Kubernetes: until a probe has answered for the first time it is repeated quickly
within its first period, so that a server that listens after 0.2 s is ready after 0.2 s and not
after 10.  These early tries can only succeed; failures are counted once per period as usual.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from mutua.api.object import Object
from mutua.cluster.node.exec_probe import run_inside
from mutua.cluster.node.ports import PodRuntime, Target
from mutua.foundation.backoff import Backoff
from mutua.foundation.errors import MutuaError, Rejected

EARLY: Final = Backoff(first=0.02, factor=1.5, ceiling=0.25, jitter=0.0)
"""Between early tries, in seconds: cheap against the start of any program."""

DEFAULTS: Final = {
    "initialDelaySeconds": 0,
    "periodSeconds": 10,
    "timeoutSeconds": 1,
    "successThreshold": 1,
    "failureThreshold": 3,
}
"""Kubernetes Probe."""


class Patient(Protocol):
    """Whom the verdicts are told."""

    def started(self) -> None:
        """The startup probe has succeeded."""
        ...

    def ready(self, *, ready: bool) -> None:
        """The readiness probe has changed its mind."""
        ...

    def unhealthy(self, kind: str, message: str) -> None:
        """A probe has failed once."""
        ...

    def failed(self, kind: str) -> None:
        """The startup or liveness probe has failed for good: end the container."""
        ...


@dataclass(frozen=True, slots=True)
class Subject:
    """What is probed.

    Attributes:
        pod: The pod.
        container: The container's spec.
        container_id: Of the running attempt.
        ip: The pod's address.
        meshed: Whether the pod has a sidecar, past which probes must go.
        started: Whether its startup is over already, as for an adopted container.
        ready: Whether it was ready until now.
    """

    pod: Object
    container: Mapping[str, Any]
    container_id: str
    ip: str
    meshed: bool
    started: bool = False
    ready: bool = False


async def watch(subject: Subject, patient: Patient, runtime: PodRuntime) -> None:
    """Probe until cancelled; cancelled when the attempt has ended."""
    container = subject.container
    if (startup := container.get("startupProbe")) is not None and not subject.started:
        if not await _until_well(startup, "Startup", subject, patient, runtime):
            patient.failed("Startup")
            return
        patient.started()
    async with asyncio.TaskGroup() as group:
        if (readiness := container.get("readinessProbe")) is not None:
            group.create_task(_readiness(readiness, subject, patient, runtime))
        if (liveness := container.get("livenessProbe")) is not None:
            group.create_task(_liveness(liveness, subject, patient, runtime))


async def _until_well(
    probe: Mapping[str, Any], kind: str, subject: Subject, patient: Patient, runtime: PodRuntime
) -> bool:
    """Tell whether a probe succeeds before it has failed too often."""
    await asyncio.sleep(_setting(probe, "initialDelaySeconds"))
    period, failures = _setting(probe, "periodSeconds"), 0
    while True:
        reason = await _patiently(probe, subject, runtime, period)
        if not reason:
            return True
        failures += 1
        patient.unhealthy(kind, reason)
        if failures >= _setting(probe, "failureThreshold"):
            return False


async def _patiently(
    probe: Mapping[str, Any], subject: Subject, runtime: PodRuntime, period: float
) -> str:
    """Try until well or until the period is over; return the last reason."""
    loop = asyncio.get_running_loop()
    end, attempt = loop.time() + period, 0
    while True:
        reason = await ask(probe, subject, runtime)
        pause = EARLY.delay(attempt, draw=0.5)
        attempt += 1
        left = end - loop.time()
        if not reason or left <= pause:
            if reason:
                await asyncio.sleep(max(left, 0))
            return reason
        await asyncio.sleep(pause)


async def _readiness(
    probe: Mapping[str, Any], subject: Subject, patient: Patient, runtime: PodRuntime
) -> None:
    await asyncio.sleep(_setting(probe, "initialDelaySeconds"))
    period = _setting(probe, "periodSeconds")
    wanted = {True: _setting(probe, "successThreshold"), False: _setting(probe, "failureThreshold")}
    verdict, count, is_ready = subject.ready, 0, subject.ready
    while True:
        if is_ready:
            await asyncio.sleep(period)
            reason = await ask(probe, subject, runtime)
        else:
            reason = await _patiently(probe, subject, runtime, period)
        if reason:
            patient.unhealthy("Readiness", reason)
        well = not reason
        count = count + 1 if well is verdict else 1
        verdict = well
        if well is not is_ready and count >= wanted[well]:
            is_ready = well
            patient.ready(ready=well)


async def _liveness(
    probe: Mapping[str, Any], subject: Subject, patient: Patient, runtime: PodRuntime
) -> None:
    await asyncio.sleep(_setting(probe, "initialDelaySeconds"))
    failures = 0
    while failures < _setting(probe, "failureThreshold"):
        await asyncio.sleep(_setting(probe, "periodSeconds"))
        if reason := await ask(probe, subject, runtime):
            failures += 1
            patient.unhealthy("Liveness", reason)
        else:
            failures = 0
    patient.failed("Liveness")


def _setting(probe: Mapping[str, Any], name: str) -> int:
    value = probe.get(name)
    return DEFAULTS[name] if value is None else int(value)


async def ask(handler: Mapping[str, Any], subject: Subject, runtime: PodRuntime) -> str:
    """Run one probe (or lifecycle handler) once; return "" when well, else the reason.

    Cancellation:
        An exec'ed program is killed.
    """
    timeout = float(_setting(handler, "timeoutSeconds"))
    try:
        if (http := handler.get("httpGet")) is not None:
            return await runtime.prober.http(_http_target(http, subject, timeout))
        if (tcp := handler.get("tcpSocket")) is not None:
            return await runtime.prober.tcp(_target(tcp, subject, timeout))
        if (program := handler.get("exec")) is not None:
            command = program.get("command") or []
            return await run_inside(runtime.containers, subject.container_id, command, timeout)
    except MutuaError as error:
        return str(error)
    return "unsupported probe: use httpGet, tcpSocket or exec"


def _target(action: Mapping[str, Any], subject: Subject, timeout: float) -> Target:
    return Target(
        uid=subject.pod["metadata"]["uid"],
        host=action.get("host") or subject.ip,
        port=port_number(action["port"], subject.container),
        inside=subject.meshed,
        timeout=timeout,
    )


def _http_target(action: Mapping[str, Any], subject: Subject, timeout: float) -> Target:
    plain = _target(action, subject, timeout)
    headers = action.get("httpHeaders") or []
    path = str(action.get("path") or "/")
    return Target(
        uid=plain.uid,
        host=plain.host,
        port=plain.port,
        path=path if path.startswith("/") else f"/{path}",
        tls=action.get("scheme") == "HTTPS",
        headers=tuple((h["name"], str(h.get("value") or "")) for h in headers),
        inside=plain.inside,
        timeout=timeout,
    )


def port_number(port: int | str, container: Mapping[str, Any]) -> int:
    """Return the number of a port that may be named.

    Raises:
        Rejected: The container has no port of that name.
    """
    if isinstance(port, int) or port.isdecimal():
        return int(port)
    for offered in container.get("ports") or []:
        if offered.get("name") == port:
            return int(offered["containerPort"])
    raise Rejected(f"container {container['name']!r} has no port named {port!r}")


async def wait_until(is_well: Callable[[], Awaitable[bool]]) -> None:
    """Ask again, ever more slowly, until the answer is yes."""
    attempt = 0
    while not await is_well():
        await asyncio.sleep(EARLY.delay(attempt, draw=0.5))
        attempt += 1
