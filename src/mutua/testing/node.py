"""The world of a node, faked: processes that are words, a network that is a dictionary.

`FakeContainers` understands a few programs by name: `sleep` runs until it is told to end,
`stubborn` ignores SIGTERM, `ok` and `crash` end at once with 0 and 1, `missing` cannot be started.
Tests end containers with `finish`.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from typing_extensions import override

from mutua.api.object import Object
from mutua.cluster.controllers.cluster import FOLLOWED
from mutua.cluster.controllers.events import EventRecorder
from mutua.cluster.controllers.view import View
from mutua.cluster.hosting import HostedContainers, Program
from mutua.cluster.node.context import NodeContext
from mutua.cluster.node.node import Node
from mutua.cluster.node.ports import (
    Containers,
    Execution,
    Network,
    PodRuntime,
    Prober,
    Target,
    TokenIssuer,
)
from mutua.cluster.node.settings import NodeSettings
from mutua.cluster.node.sidecar import SidecarPlan, SidecarProvider
from mutua.foundation.clock import Clock
from mutua.foundation.layout import Layout
from mutua.runtime.network.rules import Backend, CaptureRules, ServiceAddress
from mutua.runtime.spec import ContainerSpec, ContainerState, NoSuchContainer, StartFailed


class FakeExecution(Execution):
    """A program that has already ended."""

    def __init__(self, code: int) -> None:
        self._code = code

    @override
    async def wait(self) -> int:
        return self._code

    @override
    async def signal(self, signum: int) -> None:
        return


class FakeContainers(Containers):
    """A shim without processes.  It outlives the nodes that use it, as the real one does."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._exits: asyncio.Queue[ContainerState] = asyncio.Queue()
        self.states: dict[str, ContainerState] = {}
        self.specs: dict[str, ContainerSpec] = {}
        self.signals: list[tuple[str, int]] = []
        self.executed: list[tuple[str, tuple[str, ...]]] = []
        self.exec_code = 0

    @property
    def running(self) -> list[str]:
        """The ids of what runs."""
        return [state.id for state in self.states.values() if state.running]

    @override
    async def start(self, spec: ContainerSpec) -> ContainerState:
        if spec.id in self.running:
            raise AssertionError(f"two copies of one container: {spec.id}")
        program = spec.argv[0]
        if program == "missing":
            raise StartFailed('program "missing" not found in PATH')
        self.specs[spec.id] = spec
        state = ContainerState(
            id=spec.id,
            pid=1,
            running=True,
            started_at=self._clock.now().timestamp(),
            annotations=spec.annotations,
        )
        self.states[spec.id] = state
        if program in {"ok", "crash"}:
            self.finish(spec.id, 0 if program == "ok" else 1)
        return state

    def finish(self, container_id: str, code: int = 0, *, signum: int | None = None) -> None:
        """Let a container end."""
        ended = replace(
            self.states[container_id],
            running=False,
            finished_at=self._clock.now().timestamp(),
            exit_code=code,
            signal=signum,
        )
        self.states[container_id] = ended
        self._exits.put_nowait(ended)

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
        if container_id not in self.running:
            raise NoSuchContainer(container_id)
        self.executed.append((container_id, tuple(argv)))
        return FakeExecution(self.exec_code)

    @override
    async def signal(self, container_id: str, signum: int) -> None:
        if container_id not in self.states:
            raise NoSuchContainer(container_id)
        self.signals.append((container_id, int(signum)))
        stubborn = self.specs[container_id].argv[0] == "stubborn" and signum != 9
        if self.states[container_id].running and not stubborn:
            self.finish(container_id, 128 + int(signum), signum=int(signum))

    @override
    async def remove(self, container_id: str) -> None:
        self.states.pop(container_id, None)

    @override
    async def containers(self) -> list[ContainerState]:
        return list(self.states.values())

    @override
    async def exits(self) -> AsyncIterator[ContainerState]:
        while True:
            yield await self._exits.get()


class FakeNetwork(Network):
    """Remembers who is attached where."""

    def __init__(self) -> None:
        self.addresses: dict[str, str] = {}
        self.captured: dict[str, CaptureRules | None] = {}
        self.table: dict[ServiceAddress, tuple[Backend, ...]] = {}

    @override
    async def attach(self, uid: str, address: str) -> str:
        self.addresses[uid] = address
        return f"/netns/{uid}"

    @override
    async def detach(self, uid: str) -> None:
        self.addresses.pop(uid, None)
        self.captured.pop(uid, None)

    @override
    async def attached(self) -> frozenset[str]:
        return frozenset(self.addresses)

    @override
    async def capture(self, uid: str, rules: CaptureRules | None) -> None:
        self.captured[uid] = rules

    @override
    async def services(self, table: Mapping[ServiceAddress, tuple[Backend, ...]]) -> None:
        self.table = dict(table)


class FakeProber(Prober):
    """Everything is well except the ports in `ill`."""

    def __init__(self) -> None:
        self.ill: set[int] = set()
        self.asked: list[Target] = []

    @override
    async def http(self, target: Target) -> str:
        self.asked.append(target)
        return "connection refused" if target.port in self.ill else ""

    @override
    async def tcp(self, target: Target) -> str:
        return await self.http(target)


class FakeSidecars(SidecarProvider):
    """Proxies that are ready when the test says so."""

    def __init__(self) -> None:
        self.prepared: dict[str, Object] = {}
        self.ready: bool = True

    @override
    async def prepare(self, pod: Object, pod_dir: Path) -> SidecarPlan:
        self.prepared[pod["metadata"]["uid"]] = pod
        return SidecarPlan(argv=("sleep",), env={"PROXY": "1"}, capabilities=("NET_ADMIN",))

    @override
    async def release(self, pod_uid: str) -> None:
        self.prepared.pop(pod_uid, None)

    @override
    def is_ready(self, pod_uid: str) -> bool:
        return self.ready and pod_uid in self.prepared


class FakeTokens(TokenIssuer):
    """Tokens that say what they are for.

    Attributes:
        issued: How many there were.
    """

    def __init__(self) -> None:
        self.issued = 0

    @override
    async def issue(self, pod: Object, audience: str, expiry: int) -> str:
        self.issued += 1
        metadata, account = pod["metadata"], pod["spec"].get("serviceAccountName") or "default"
        return f"{metadata['namespace']}/{account}/{metadata['name']}/{audience}/{expiry}"


class FakeNode:
    """A node over fakes that survive it: stop it and start another, like a daemon's crash."""

    def __init__(
        self, store: Any, clock: Clock, directory: Path, program: Program | None = None
    ) -> None:
        """Make a node that hosts `program`, if any, as the pod of Deployment istiod."""
        self.store = store
        self.program = program
        self.clock = clock
        self.containers = FakeContainers(clock)
        self.network = FakeNetwork()
        self.prober = FakeProber()
        self.tokens = FakeTokens()
        self.sidecars = FakeSidecars()
        self.layout = Layout("test", directory / "state", directory / "run")
        self.settings = NodeSettings(layout=self.layout, python="python3", path="/usr/bin:/bin")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run a node daemon for a while; its processes stay when it goes."""
        view = View(self.store, FOLLOWED)
        events = EventRecorder(self.store, self.clock)
        containers: Containers = self.containers
        hosting: list[Coroutine[Any, Any, None]] = []
        if self.program is not None:
            hosted = HostedContainers(self.containers, self.program, self.clock)
            containers = hosted
            hosting.append(hosted.run(lambda: None))
        context = NodeContext(
            settings=self.settings,
            runtime=PodRuntime(containers, self.network, self.prober),
            view=view,
            events=events,
            clock=self.clock,
            sidecars=self.sidecars,
            tokens=self.tokens,
        )
        ready = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(view.run()),
                group.create_task(events.run()),
                *map(group.create_task, hosting),
                group.create_task(Node(context).run(ready.set)),
            ]
            try:
                await ready.wait()
                yield
            finally:
                for task in tasks:
                    task.cancel()
