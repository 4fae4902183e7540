"""Bringing a pod's containers up: sidecar, then init containers one by one, then the rest.

Level-triggered: `advance` does whatever can be done now and says when to look again.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from mutua.cluster.node import blueprint
from mutua.cluster.node.context import PodState
from mutua.cluster.node.control_plane_pod import (
    IMAGE,
    NAME,
    NAMESPACE,
    HostedSpec,
    asks_for_control_plane,
)
from mutua.cluster.node.environment import SourceMissing
from mutua.cluster.node.images import ImageUnknown
from mutua.cluster.node.record import START, Record, Role, Terminated, Waiting, restarts
from mutua.cluster.node.volumes import (
    Sources,
    source_version,
    token_seconds,
    volume_files,
    write_files,
)
from mutua.foundation.backoff import Backoff
from mutua.foundation.errors import MutuaError, Rejected, Unavailable
from mutua.runtime.spec import ContainerSpec, ContainerState, StartFailed

PREPARE: Final = Backoff(first=0.25, ceiling=30.0, jitter=0.0)
"""Between tries to give a pod its network and volumes, in seconds."""

STEP: Final = 30.0
"""Seconds that one step towards a running container may take, far beyond any expected."""

TOKEN_SHARE: Final = 0.8
"""Share of a token's life after which it is replaced (kubelet)."""

TOKEN_TICK: Final = 10.0
"""Seconds between two looks at the age of a pod's tokens.  Tokens expire on the wall clock, so a
machine that slept, or whose clock was set, has good ones again within this time."""

CURABLE: Final = frozenset({"ErrImagePull", "CreateContainerConfigError", "ContainerCreating"})
"""Reasons to wait that an edit of a ConfigMap or Secret may end."""


@asynccontextmanager
async def bounded(what: str, seconds: float) -> AsyncIterator[None]:
    """Give up on work that takes too long.

    Raises:
        Unavailable: The time is over.
    """
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise Unavailable(f"{what} took longer than {seconds:g} s") from error


@dataclass(frozen=True, slots=True)
class _Span:
    """From one instant to before another."""

    begin: datetime
    end: datetime

    def __contains__(self, instant: datetime) -> bool:
        return self.begin <= instant < self.end


class Launcher:
    """Starts what a pod has to run."""

    def __init__(self, state: PodState, on_start: Callable[[Record], None]) -> None:
        """Start nothing yet.

        Args:
            state: The pod.
            on_start: Called for every attempt that runs.
        """
        self._state = state
        self._on_start = on_start
        self._failures = 0
        self._retry_at = 0.0
        self._prepared = False
        self._refresh_at: float | None = None
        self._tokens_good: _Span | None = None
        # A pod that was already running keeps its containers while its proxy restarts.
        self._mesh_was_ready = any(not r.fresh or r.attempt for r in state.of(Role.APP))

    def reconsider(self) -> None:
        """A ConfigMap or Secret has changed: try at once what waited for one."""
        self._retry_at = 0.0
        for record in self._state.records:
            if isinstance(record.state, Waiting) and record.state.reason in CURABLE:
                record.retry_at = 0.0
        if self._prepared:
            self._refresh_at = 0.0

    async def advance(self) -> float | None:
        """Do what can be done now; return the seconds until more can be done, None for never."""
        now = asyncio.get_running_loop().time()
        if not self._prepared:
            if now < self._retry_at:
                return self._retry_at - now
            if not await self._prepare(now):
                return max(0.0, self._retry_at - now)
        pauses = [await self._refresh_volumes(now), *[await self._ensure(r) for r in self._due()]]
        return min((pause for pause in pauses if pause is not None), default=None)

    def _due(self) -> list[Record]:
        """Return the containers that should run (or have run) by now."""
        sidecars = self._state.of(Role.SIDECAR)
        self._mesh_was_ready |= all(record.ready for record in sidecars)
        if not self._mesh_was_ready:
            return sidecars
        for record in self._state.of(Role.INIT):
            if not record.succeeded:
                return [*sidecars, record]
        return [*sidecars, *self._state.of(Role.APP)]

    async def _prepare(self, now: float) -> bool:
        try:
            async with bounded("preparing the pod", STEP):
                await self._connect()
                await self._write_volumes()
        except MutuaError as error:
            self._retry_at = now + PREPARE.delay(self._failures, draw=0.5)
            self._failures += 1
            reason = "FailedMount" if self._state.is_wired else "FailedCreatePodSandBox"
            self._state.tell("Warning", reason, str(error))
            for record in self._state.records:
                if record.fresh and isinstance(record.state, Waiting) and not record.last:
                    record.state = Waiting("ContainerCreating", str(error))
            return False
        self._prepared = True
        return True

    async def _connect(self) -> None:
        """Give the pod its address, network, capture and identity, in that order."""
        state, node = self._state, self._state.node
        if state.hosted:
            return
        if not state.ip:
            state.ip = node.addresses.allocate(state.uid)
        if not state.netns:
            state.netns = await node.runtime.network.attach(state.uid, state.ip)
        names = [record.name for record in state.records]
        blueprint.prepare_directories(state.place(), names)
        if state.is_meshed:
            status = {**(state.pod.get("status") or {}), "podIP": state.ip}
            pod = {**state.pod, "status": status}
            state.plan = await node.sidecars.prepare(pod, state.place().directory)
            await node.runtime.network.capture(state.uid, state.plan.capture)

    async def _write_volumes(self) -> None:
        state = self._state
        sources = Sources(state.pod, state.lookup, state.place().facts, state.node.tokens)
        directory = state.place().directory / "volumes"
        in_proxy = {
            mount["name"]
            for record in state.of(Role.SIDECAR)
            for mount in record.spec.get("volumeMounts") or ()
        }
        lives = []
        for volume in state.pod["spec"].get("volumes") or []:
            version = source_version(volume, state.lookup)
            files = await volume_files(volume, sources)
            if files is None:
                (directory / volume["name"]).mkdir(parents=True, exist_ok=True)
                (directory / volume["name"]).chmod(0o777)
            else:
                write_files(directory / volume["name"], files)
            if version and volume["name"] in in_proxy:
                state.proxy_files[volume["name"]] = version  # told only now that it is written
            if (life := token_seconds(volume)) is not None:
                lives.append(life * TOKEN_SHARE)
        self._refresh_at = None
        if lives:
            written = state.node.clock.now()
            self._tokens_good = _Span(written, written + timedelta(seconds=min(lives)))

    async def _refresh_volumes(self, now: float) -> float | None:
        """Follow edits of ConfigMaps and Secrets, and replace ageing tokens."""
        if self._is_stale(now):
            try:
                await self._write_volumes()
            except MutuaError as error:
                self._state.tell("Warning", "FailedMount", str(error))
                self._refresh_at = now + PREPARE.ceiling
        if self._refresh_at is not None:
            return max(0.0, self._refresh_at - now)
        return TOKEN_TICK if self._tokens_good is not None else None

    def _is_stale(self, now: float) -> bool:
        if self._refresh_at is not None:
            return now >= self._refresh_at
        return self._tokens_good is not None and self._state.node.clock.now() not in (
            self._tokens_good
        )

    async def _ensure(self, record: Record) -> float | None:
        """Start a container if it should run and its time has come."""
        now = asyncio.get_running_loop().time()
        if record.is_running:
            return None
        if isinstance(record.state, Terminated):
            policy = self._state.pod["spec"].get("restartPolicy") or "Always"
            if not restarts(policy, record.role, record.state):
                return None
            await self._turn_over(record)
        if now >= record.retry_at and await self._start(record, now):
            return None
        return max(0.0, record.retry_at - now)

    async def _turn_over(self, record: Record) -> None:
        """Leave an attempt that has ended behind; its log stays for `kubectl logs --previous`."""
        ended = record.id
        record.next_attempt()
        await self._state.node.runtime.containers.remove(ended)
        self._drop_old_log(record)
        if record.crashes > 1:
            pod = self._state.pod["metadata"]
            where = f"{pod['name']}_{pod['namespace']}({record.uid})"
            message = f"Back-off restarting failed container {record.name} in pod {where}"
            self._state.tell("Warning", "BackOff", message)

    def _drop_old_log(self, record: Record) -> None:
        directory = log_file(self._state, record).parent
        for old in directory.glob("*.log*"):
            number = old.name.split(".", 1)[0]
            if number.isdecimal() and int(number) < record.attempt - 1:
                old.unlink(missing_ok=True)

    async def _start(self, record: Record, now: float) -> bool:
        try:
            spec = await self._described(record)
            started = await self._started(spec)
        except MutuaError as error:
            self._start_failed(record, error, now)
            return False
        record.begin(started.started_at or self._state.node.clock.now().timestamp())
        self._state.tell("Normal", "Created", f"Created container: {record.name}")
        self._state.tell("Normal", "Started", f"Started container {record.name}")
        self._on_start(record)
        return True

    async def _started(self, spec: ContainerSpec) -> ContainerState:
        """Start a container, or adopt it: a request of a daemon that died may still arrive."""
        containers = self._state.node.runtime.containers
        try:
            async with bounded("starting the container", STEP):
                return await containers.start(spec)
        except Rejected:
            for found in await containers.containers():
                if found.id == spec.id and found.running:
                    return found
            await containers.remove(spec.id)
            raise

    async def _described(self, record: Record) -> ContainerSpec:
        if self._state.hosted:
            return self._hosted(record)
        if asks_for_control_plane(record.spec):
            raise Rejected(
                f"image {IMAGE} runs inside the daemon, as the one container of a pod of "
                f"Deployment {NAME} in namespace {NAMESPACE}, and nowhere else"
            )
        plan = None
        if record.role is Role.SIDECAR:
            plan = self._state.plan
        place = self._state.place(self._state.node.catalogue())
        spec = blueprint.container_spec(place, record, plan)
        Path(spec.log_path).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        image = record.spec.get("image") or ""
        command = plan.argv if plan else blueprint.asked_command(place, record)
        message = f'Container image "{image}" runs from the host: {" ".join(command)[:200]}'
        self._state.tell("Normal", "Pulled", message)
        return spec

    def _hosted(self, record: Record) -> ContainerSpec:
        message = f'Container image "{record.spec["image"]}" runs inside the daemon'
        self._state.tell("Normal", "Pulled", message)
        return HostedSpec(
            id=record.id,
            argv=(),
            env={},
            log_path=str(log_file(self._state, record)),
            annotations=blueprint.annotations(self._state.pod, record),
        )

    def _start_failed(self, record: Record, error: MutuaError, now: float) -> None:
        text = f"{error}; {error.hint}" if error.hint else str(error)
        match error:
            case ImageUnknown():
                reason = "ErrImagePull"
            case SourceMissing():
                reason = "CreateContainerConfigError"
            case StartFailed():
                reason = "CreateContainerError"
                text += "" if error.hint else _advice(str(error))
            case Rejected():
                reason = "CreateContainerConfigError"
            case _:
                reason = "CreateContainerError"
        record.retry_at = now + START.delay(record.failures, draw=0.5)
        record.failures += 1
        record.state = Waiting(reason, text)
        self._state.tell("Warning", "Failed", f"Error: {reason}: {text}")


def _advice(sentence: str) -> str:
    """Return what to do about a start that failed, by what the sentence is about."""
    if sentence.startswith("program"):
        return "; install it on this machine, or correct the container's command"
    return "; correct workingDir" if sentence.startswith("working directory") else ""


def log_file(state: PodState, record: Record) -> Path:
    """Return the log of a container's current attempt."""
    metadata = state.pod["metadata"]
    directory = state.node.settings.log_directory(
        metadata["namespace"], metadata["name"], record.uid
    )
    return directory / record.name / f"{record.attempt}.log"
