"""The life of one pod on this node, from network to last process.

    prepare ──> sidecar ──> init containers ──> containers ──> (restarts) ──> end
       any time: the pod is deleted ──> preStop, SIGTERM, grace, SIGKILL ──> everything goes

One task per pod.  It sleeps until something happens: its object changed, a container ended, a
probe changed its mind, a ConfigMap was edited, a back-off is over.  Then it looks at everything
and does what is due.  Cancelling it leaves the processes alone: a new daemon adopts them.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from mutua.api.object import PODS, Object
from mutua.cluster.node import probing, teardown
from mutua.cluster.node.adoption import recollect
from mutua.cluster.node.context import NodeContext, PodState
from mutua.cluster.node.ended import terminated
from mutua.cluster.node.launcher import Launcher, log_file
from mutua.cluster.node.patient import ContainerPatient, watch_sidecar
from mutua.cluster.node.record import Record, Role
from mutua.cluster.node.status import Facts, phase_of, pod_status
from mutua.foundation.clock import rfc3339
from mutua.foundation.errors import Unavailable
from mutua.runtime.spec import ContainerState
from mutua.store.port import NotFound, Stale

FINISHED: Final = frozenset({"Succeeded", "Failed"})

log = logging.getLogger(__name__)


class PodWorker:
    """Runs one pod."""

    def __init__(self, node: NodeContext, pod: Object, found: Sequence[ContainerState]) -> None:
        """Recollect what the pod was doing.

        Args:
            node: What all pods share.
            pod: As stored.
            found: What the shim knows of this pod.
        """
        status = pod.get("status") or {}
        ip = str(status.get("podIP") or "")
        records = recollect(pod, found)
        if ip == node.settings.address or not (
            ip and node.addresses.reserve(str(pod["metadata"]["uid"]), ip)
        ):
            ip = ""
        self.state = PodState(node=node, pod=pod, records=records, ip=ip)
        self.state.start_time = status.get("startTime") or rfc3339(node.clock.now())
        self._launcher = Launcher(self.state, self._attend)
        self._exits = deque(state for state in found if not state.running)
        self._watches: dict[str, asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None
        self._removed = False
        self._retired = False

    # What happens to the pod; called from outside, never blocking.

    def pod_changed(self, pod: Object) -> None:
        """Take note of the object's new state."""
        self.state.pod = pod
        self.state.wake.set()

    def removed(self) -> None:
        """Take note that the object is gone: whatever runs must end now."""
        self._removed = True
        self.state.wake.set()

    def exited(self, state: ContainerState) -> None:
        """Take note that a container has ended."""
        self._exits.append(state)
        self.state.wake.set()

    def sources_changed(self) -> None:
        """Take note that a ConfigMap or Secret the pod may use has changed."""
        self._launcher.reconsider()
        self.state.wake.set()

    # The pod's own task.

    async def run(self) -> None:
        """Live until the pod is gone."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            try:
                for record in self.state.records:
                    if record.is_running:
                        self._watch(record)
                await self._live()
                await self._end()
            finally:
                for task in self._watches.values():
                    task.cancel()
                self._group = None

    @property
    def _is_ending(self) -> bool:
        return self._removed or bool(self.state.pod["metadata"].get("deletionTimestamp"))

    async def _live(self) -> None:
        while not self._is_ending:
            self.state.wake.clear()
            self._take_exits()
            pause = None
            if phase_of(self.state.pod, self.state.records) in FINISHED:
                await self._retire()
            else:
                await self._settle_address()
                pause = await self._launcher.advance()
            await self._report()
            await self._rest(pause)

    async def _settle_address(self) -> None:
        """Make the address durable before anything uses it: it must outlive a crash."""
        if not self.state.ip:
            with suppress(Unavailable):  # the launcher says so
                self.state.ip = self.state.node.addresses.allocate(self.state.uid)
                await self._report()

    async def _rest(self, seconds: float | None) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self.state.wake.wait()
        except TimeoutError:
            return

    def _take_exits(self) -> None:
        now = asyncio.get_running_loop().time()
        while self._exits:
            ended = self._exits.popleft()
            for record in self.state.records:
                if record.id == ended.id and record.is_running:
                    record.end(terminated(ended, log_file(self.state, record)), now)
                    self._neglect(record)

    def _attend(self, record: Record) -> None:
        """Watch over an attempt that has just begun; a proxy is ready when it says so."""
        if record.role is Role.SIDECAR:
            record.started = record.ready = False
        self._watch(record)

    def _watch(self, record: Record) -> None:
        """Watch over a running attempt; an adopted one stays ready until a probe objects."""
        self._neglect(record)
        patient = ContainerPatient(self.state, record, self._kill)
        subject = probing.Subject(
            self.state.pod,
            record.spec,
            record.id,
            self.state.ip,
            self.state.is_meshed,
            started=record.started,
            ready=record.ready,
        )
        runtime = self.state.node.runtime
        if record.role is Role.SIDECAR and not record.ready:
            work = watch_sidecar(subject, patient, self.state.node)
        elif record.role is not Role.INIT:
            work = probing.watch(subject, patient, runtime)
        else:
            return
        self._watches[record.name] = self._spawn(work, f"probes of {record.id}")

    def _neglect(self, record: Record) -> None:
        if (task := self._watches.pop(record.name, None)) is not None:
            task.cancel()

    def _spawn(self, work: "asyncio._CoroutineLike[None]", name: str) -> asyncio.Task[None]:
        assert self._group is not None, "containers run while the worker runs"  # noqa: S101
        return self._group.create_task(work, name=name)

    def _kill(self, record: Record, why: str) -> None:
        """End a container that a probe has given up."""
        message = f"Container {record.name} failed {why.lower()} probe, will be restarted"
        self.state.tell("Normal", "Killing", message)
        self._neglect(record)
        work = teardown.stop_unwell(self.state, record)
        self._watches[record.name] = self._spawn(work, f"end of {record.id}")

    async def _report(self) -> None:
        """Write the status if it has changed."""
        state, node = self.state, self.state.node
        facts = Facts(
            ip=state.ip,
            host_ip=node.settings.address,
            wired=state.is_wired,
            start_time=state.start_time,
            now=rfc3339(node.clock.now()),
            proxy_files=tuple(state.proxy_files.values()),
        )
        status = pod_status(state.pod, state.records, facts)
        if status == state.pod.get("status"):
            return
        metadata = {k: v for k, v in state.pod["metadata"].items() if k != "resourceVersion"}
        try:
            written = await node.view.update_status(
                PODS, {**state.pod, "metadata": metadata, "status": status}
            )
        except (NotFound, Stale):
            return  # gone, or another pod of that name: the watch will tell
        state.pod = written

    async def _retire(self) -> None:
        """Take a finished pod off the network; its object and logs stay until it is deleted."""
        if self._retired:
            return
        await self._stop(Role.SIDECAR)
        await teardown.disconnect(self.state)
        self._retired = True

    async def _end(self) -> None:
        grace = teardown.GraceClock(self.state).remaining(removed=self._removed)
        await teardown.depart(self.state, 0.0 if self._removed else grace)
        await self._stop(Role.APP, Role.INIT)
        await self._stop(Role.SIDECAR)
        await teardown.erase(self.state)
        if not self._removed:
            await teardown.forget(self.state)

    async def _stop(self, *roles: Role) -> None:
        """Ask containers to end, and make them when their grace is over."""
        clock = teardown.GraceClock(self.state)
        for record in self.state.of(*roles):
            self._neglect(record)
            if record.is_running and not clock.is_over(removed=self._removed):
                remaining = clock.remaining(removed=self._removed)
                work = teardown.ask_to_end(self.state, record, remaining)
                self._watches[record.name] = self._spawn(work, f"farewell to {record.id}")
        while any(record.is_running for record in self.state.of(*roles)):
            self.state.wake.clear()
            self._take_exits()
            if not any(record.is_running for record in self.state.of(*roles)):
                break
            if clock.is_over(removed=self._removed):
                await self._finish_off(*roles)
                break
            await self._rest(clock.remaining(removed=self._removed))

    async def _finish_off(self, *roles: Role) -> None:
        for record in self.state.of(*roles):
            if record.is_running:
                self._neglect(record)
                await teardown.kill(self.state, record)
        try:
            async with asyncio.timeout(teardown.KILLED_WITHIN):
                while any(record.is_running for record in self.state.of(*roles)):
                    self.state.wake.clear()
                    self._take_exits()
                    if any(record.is_running for record in self.state.of(*roles)):
                        await self.state.wake.wait()
        except TimeoutError:
            log.warning("container survives SIGKILL so far", extra={"pod": self.state.uid})
