"""The containers of this machine: the shim's, and the one that the daemon runs inside itself.

    node ──> HostedContainers ──┬──> shim        processes
                                └──> program     the control plane, a coroutine of the daemon

To the node both are containers: started, signalled, ended with an exit code, removed.  A hosted
one ends with the daemon, as any other would with its machine.
"""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final

from typing_extensions import override

from mutua.cluster.node.control_plane_pod import HostedSpec
from mutua.cluster.node.ports import Containers, Execution
from mutua.foundation.clock import Clock
from mutua.foundation.errors import MutuaError, Rejected, Unavailable
from mutua.lifecycle.supervisor import Ready
from mutua.runtime.shim.logfile import LogFile
from mutua.runtime.spec import ContainerSpec, ContainerState, NoSuchContainer
from mutua.telemetry.log import LineFormatter

LOGGERS: Final = (
    "mutua.cluster.hosting",
    "mutua.cluster.trust_domain",
    "mutua.controlplane",
    "mutua.identity",
    "mutua.xds",
)
"""Whose lines are the hosted program's; the daemon's log has them too."""

KILLED: Final = 128 + signal.SIGKILL
EXPECTED: Final = 1
BUG: Final = 70
"""Exit codes: ended by force, for a reason that it gave, or by a bug (EX_SOFTWARE)."""

Program = Callable[[asyncio.Event, Ready], Coroutine[Any, Any, None]]
"""(set when it has to end, to be called when it serves): runs until it has to end."""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Hosted:
    state: ContainerState
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


class HostedContainers(Containers):
    """Runs one program inside this process, and everything else at the shim."""

    def __init__(self, shim: Containers, program: Program, clock: Clock) -> None:
        """Run nothing yet.

        Args:
            shim: Runs all other containers.
            program: What a `HostedSpec` starts; never twice at a time.
            clock: When it started and ended.
        """
        self._shim = shim
        self._program = program
        self._clock = clock
        self._hosted: dict[str, _Hosted] = {}
        self._ended: asyncio.Queue[ContainerState | None] = asyncio.Queue()
        self._group: asyncio.TaskGroup | None = None
        self._settled = asyncio.Event()
        self._failure: Exception | None = None

    async def run(self, ready: Ready) -> None:
        """Let hosted containers be started until cancelled; they end with it."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            group.create_task(self._forward_exits(), name="exits of the shim")
            ready()
            try:
                await asyncio.Event().wait()
            finally:
                self._group = None

    async def wait_settled(self) -> None:
        """Return once the program serves.

        Raises:
            Exception: What the program failed with before it ever served.
        """
        await self._settled.wait()
        if self._failure is not None:
            raise self._failure

    @override
    async def start(self, spec: ContainerSpec) -> ContainerState:
        """Start a container; see the port.

        Raises:
            Unavailable: The hosted program is running already.
        """
        if not isinstance(spec, HostedSpec):
            return await self._shim.start(spec)
        for other in self._hosted.values():
            if other.state.running:
                pod = other.state.annotations["mutua.io/pod"]
                raise Unavailable(
                    f"pod {pod} is the control plane of this mesh, which has one at a time",
                    hint=f"this one starts when {pod} has ended",
                )
        if self._group is None:
            raise Unavailable("the daemon is ending")
        state = ContainerState(
            id=spec.id, running=True, started_at=self._now(), annotations=spec.annotations
        )
        hosted = self._hosted[spec.id] = _Hosted(state)
        hosted.task = self._group.create_task(self._run(hosted, spec.log_path), name=spec.id)
        return state

    async def _run(self, hosted: _Hosted, log_path: str) -> None:
        code = KILLED
        with _logged(log_path):
            try:
                await self._program(hosted.stop, self._served)
                code = 0
                log.info("control plane stopped")
            except Exception as error:  # noqa: BLE001 - whatever it is, the node restarts it
                code = self._failed(error)
            finally:
                self._finish(hosted, code)

    def _served(self) -> None:
        self._failure = None
        self._settled.set()
        log.info("control plane ready")

    def _failed(self, error: Exception) -> int:
        first: BaseException = error
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        if not self._settled.is_set():
            self._failure = first if isinstance(first, Exception) else error
            self._settled.set()
        if isinstance(first, MutuaError):
            log.error("control plane ended", extra={"reason": str(first), "hint": first.hint})
            return EXPECTED
        log.error("control plane crashed", exc_info=error)
        return BUG

    def _finish(self, hosted: _Hosted, code: int) -> None:
        hosted.state = replace(
            hosted.state,
            running=False,
            finished_at=self._now(),
            exit_code=code,
            signal=int(signal.SIGKILL) if code == KILLED else None,
        )
        self._ended.put_nowait(hosted.state)

    @override
    async def exec(
        self,
        container_id: str,
        argv: Sequence[str],
        *,
        stdin: int | None,
        stdout: int,
        stderr: int | None,
    ) -> Execution:
        if container_id in self._hosted:
            raise Rejected(
                "the control plane runs inside the daemon of mutua: there is no container to run "
                "a command in; kubectl logs shows what it does, port 15014 its metrics"
            )
        return await self._shim.exec(container_id, argv, stdin=stdin, stdout=stdout, stderr=stderr)

    @override
    async def signal(self, container_id: str, signum: int) -> None:
        hosted = self._hosted.get(container_id)
        if hosted is None:
            await self._shim.signal(container_id, signum)
        elif not hosted.state.running:
            raise NoSuchContainer(container_id)
        elif signum == signal.SIGKILL:
            _cancel(hosted)
        else:
            hosted.stop.set()

    @override
    async def remove(self, container_id: str) -> None:
        hosted = self._hosted.get(container_id)
        if hosted is None:
            await self._shim.remove(container_id)
            return
        _cancel(hosted)
        if hosted.task is not None:
            await asyncio.wait([hosted.task])
        self._hosted.pop(container_id, None)

    @override
    async def containers(self) -> list[ContainerState]:
        return [*await self._shim.containers(), *(one.state for one in self._hosted.values())]

    @override
    async def exits(self) -> AsyncIterator[ContainerState]:
        while (state := await self._ended.get()) is not None:
            yield state

    async def _forward_exits(self) -> None:
        async for state in self._shim.exits():
            self._ended.put_nowait(state)
        self._ended.put_nowait(None)

    def _now(self) -> float:
        return self._clock.now().timestamp()


def _cancel(hosted: _Hosted) -> None:
    if hosted.task is not None and hosted.state.running:
        hosted.task.cancel()


class _ContainerLog(logging.Handler):
    """Writes what the hosted program logs into its container's log."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._file = LogFile(path)
        self.setFormatter(LineFormatter())

    @override
    def emit(self, record: logging.LogRecord) -> None:
        if any(record.name == one or record.name.startswith(f"{one}.") for one in LOGGERS):
            self._file.write("stdout", f"{self.format(record)}\n".encode(errors="replace"))

    @override
    def close(self) -> None:
        self._file.close()
        super().close()


@contextmanager
def _logged(path: str) -> Iterator[None]:
    handler = _ContainerLog(path)
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        handler.close()
