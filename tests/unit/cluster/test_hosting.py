"""The control plane as a container: started, restarted, ended like any other; never two at once."""

import asyncio
import logging
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mutua.api.condition import is_true
from mutua.api.object import DEPLOYMENTS, NAMESPACES, PODS, REPLICA_SETS, Object
from mutua.cluster.controllers.ownership import owner_reference
from mutua.cluster.hosting import HostedContainers
from mutua.cluster.node.control_plane_pod import HostedSpec
from mutua.foundation.clock import SystemClock
from mutua.foundation.errors import MutuaError, Rejected, Unavailable
from mutua.lifecycle.supervisor import Ready
from mutua.runtime.spec import NoSuchContainer
from mutua.testing.cluster import FakeCluster
from mutua.testing.node import FakeContainers, FakeNode
from mutua.testing.polling import eventually

log = logging.getLogger("mutua.controlplane.tests")


class Program:
    """Runs until it is told to end, or to fail."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.runs = 0
        self.running = 0

    async def __call__(self, stop: asyncio.Event, ready: Ready) -> None:
        self.runs += 1
        self.running += 1
        try:
            if self.failures:
                raise self.failures.pop(0)
            log.warning("run %d", self.runs)
            ready()
            await stop.wait()
        finally:
            self.running -= 1


def spec(directory: Path, name: str = "u/discovery/0") -> HostedSpec:
    return HostedSpec(
        id=name,
        argv=(),
        env={},
        log_path=str(directory / f"{name.replace('/', '-')}.log"),
        annotations={"mutua.io/pod": name.split("/", 1)[0]},
    )


async def with_hosting(program: Program, body: Callable[[HostedContainers], Any]) -> None:
    clock = SystemClock()
    hosted = HostedContainers(FakeContainers(clock), program, clock)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(hosted.run(lambda: None))
        await asyncio.sleep(0)
        await body(hosted)
        task.cancel()


async def test_it_runs_until_it_is_asked_to_end_and_writes_its_containers_log(
    tmp_path: Path,
) -> None:
    program = Program()

    async def body(hosted: HostedContainers) -> None:
        state = await hosted.start(spec(tmp_path))
        assert state.running
        await hosted.wait_settled()
        assert [one.id for one in await hosted.containers() if one.running] == ["u/discovery/0"]

        await hosted.signal(state.id, signal.SIGTERM)
        ended = await anext(hosted.exits())

        assert (ended.id, ended.exit_code, ended.running) == (state.id, 0, False)
        with pytest.raises(NoSuchContainer):
            await hosted.signal(state.id, signal.SIGTERM)
        await hosted.remove(state.id)
        assert await hosted.containers() == []
        log.warning("after its end")

    await with_hosting(program, body)
    written = (tmp_path / "u-discovery-0.log").read_text()
    assert "run 1" in written
    assert "after its end" not in written
    assert program.running == 0


async def test_killed_and_removed_it_is_gone_at_once(tmp_path: Path) -> None:
    program = Program()

    async def body(hosted: HostedContainers) -> None:
        await hosted.start(spec(tmp_path))
        await hosted.wait_settled()
        await hosted.signal("u/discovery/0", signal.SIGKILL)
        ended = await anext(hosted.exits())
        assert (ended.exit_code, ended.signal) == (137, 9)

        await hosted.start(spec(tmp_path, "u/discovery/1"))
        await eventually(lambda: program.running)
        await hosted.remove("u/discovery/1")
        assert program.running == 0

    await with_hosting(program, body)


async def test_two_at_once_are_refused_until_the_first_has_ended(tmp_path: Path) -> None:
    program = Program()

    async def body(hosted: HostedContainers) -> None:
        await hosted.start(spec(tmp_path))
        with pytest.raises(Unavailable, match="pod u is the control plane"):
            await hosted.start(spec(tmp_path, "v/discovery/0"))
        await hosted.signal("u/discovery/0", signal.SIGTERM)
        await anext(hosted.exits())
        assert (await hosted.start(spec(tmp_path, "v/discovery/0"))).running

    await with_hosting(program, body)
    assert program.running == 0  # the daemon has ended


async def test_what_it_fails_of_at_first_is_told_to_whoever_waits_for_it(tmp_path: Path) -> None:
    program = Program(ExceptionGroup("services failed", [Rejected("no such root")]))

    async def body(hosted: HostedContainers) -> None:
        await hosted.start(spec(tmp_path))
        with pytest.raises(Rejected, match="no such root"):
            await hosted.wait_settled()
        assert (await anext(hosted.exits())).exit_code == 1

    await with_hosting(program, body)
    assert "no such root" in (tmp_path / "u-discovery-0.log").read_text()


async def test_there_is_nothing_to_execute_a_command_in(tmp_path: Path) -> None:
    async def body(hosted: HostedContainers) -> None:
        await hosted.start(spec(tmp_path))
        with pytest.raises(MutuaError, match="runs inside the daemon"):
            await hosted.exec("u/discovery/0", ["ls"], stdin=None, stdout=1, stderr=2)

    await with_hosting(Program(), body)


class World(FakeCluster):
    """A node that hosts a program, and no controllers."""

    def __init__(self, directory: Path, program: Program) -> None:
        super().__init__()
        self.node = FakeNode(self.store, self.clock, directory, program)

    async def make(self, *, image: str = "mutua/istiod", owned: bool = True) -> Object:
        """Create what Deployment istiod's controllers would, and return the pod."""
        await self.ensure(NAMESPACES, {"metadata": {"name": "istio-system"}})
        deployment = await self.ensure(DEPLOYMENTS, owned_by(None, "istiod", "Deployment"))
        above = deployment if owned else {**deployment, "metadata": {"name": "x", "uid": "forged"}}
        replica_set = await self.ensure(REPLICA_SETS, owned_by(above, "istiod-1", "ReplicaSet"))
        pod = owned_by(replica_set, "istiod-1-x", "Pod")
        pod["spec"] = {"containers": [{"name": "discovery", "image": image}]}
        return await self.ensure(PODS, pod)

    async def ensure(self, resource: Any, obj: Object) -> Object:
        return await self.store.create(resource, {"apiVersion": "v1", "kind": "X", **obj})

    async def when(self, condition: Callable[[Object], Any]) -> Object:
        async def probe() -> Object | None:
            pod = await self.store.get(PODS, "istio-system", "istiod-1-x")
            return pod if pod.get("status") and condition(pod) else None

        found: Object = await self.until(probe, 1000.0)
        return found


def owned_by(owner: Object | None, name: str, kind: str) -> Object:
    references = [owner_reference(owner)] if owner is not None else []
    metadata = {"namespace": "istio-system", "name": name, "ownerReferences": references}
    return {"kind": kind, "metadata": metadata, "spec": {}}


def container(pod: Object) -> dict[str, Any]:
    [status] = pod["status"]["containerStatuses"]
    found: dict[str, Any] = status
    return found


def is_ready(pod: Object) -> bool:
    return is_true(pod, "Ready")


async def test_the_pod_of_deployment_istiod_is_hosted_at_the_nodes_address(tmp_path: Path) -> None:
    program = Program()
    world = World(tmp_path, program)
    async with world.node.running():
        await world.make()

        pod = await world.when(is_ready)

        assert pod["status"]["podIP"] == pod["status"]["hostIP"] == "10.244.0.1"
        assert program.running == 1
        assert world.node.containers.states == {}, "no process"
        assert world.node.network.addresses == {}, "no network of its own"


async def test_one_that_crashes_is_restarted_with_back_off_and_says_why(tmp_path: Path) -> None:
    program = Program(ValueError("bug"), ValueError("bug"))
    world = World(tmp_path, program)
    async with world.node.running():
        await world.make()

        waits = await world.when(lambda one: container(one)["state"].get("waiting"))
        assert container(waits)["state"]["waiting"]["reason"] == "CrashLoopBackOff"
        pod = await world.when(is_ready)

        assert container(pod)["restartCount"] == 2
        assert container(pod)["lastState"]["terminated"]["exitCode"] == 70
        assert "ValueError: bug" in container(pod)["lastState"]["terminated"]["message"]
        assert (program.runs, program.running) == (3, 1)


async def test_it_ends_with_the_daemon_and_starts_again_with_the_next(tmp_path: Path) -> None:
    program = Program()
    world = World(tmp_path, program)
    async with world.node.running():
        first = await world.make()
        await world.when(is_ready)
    assert program.running == 0

    async with world.node.running():
        pod = await world.when(lambda one: container(one)["restartCount"] == 1 and is_ready(one))
        assert pod["metadata"]["uid"] == first["metadata"]["uid"]
        assert await eventually(lambda: program.running == 1)


async def test_deleted_it_is_stopped_and_nothing_of_it_is_left(tmp_path: Path) -> None:
    program = Program()
    world = World(tmp_path, program)
    async with world.node.running():
        await world.make()
        await world.when(is_ready)

        await world.store.delete(PODS, "istio-system", "istiod-1-x", grace=30)

        async def gone() -> bool:
            return not (await world.store.list(PODS)).items

        await world.until(gone, 100.0)
        assert program.running == 0
        assert not list(world.node.layout.logs.glob("*/*/*"))


@pytest.mark.parametrize(
    "made",
    [{"owned": False}, {"image": "docker.io/istio/pilot:1.27"}],
    ids=["of a forged owner", "of another image"],
)
async def test_any_other_pod_is_not_hosted(tmp_path: Path, made: dict[str, Any]) -> None:
    program = Program()
    world = World(tmp_path, program)
    async with world.node.running():
        await world.make(**made)

        pod = await world.when(
            lambda one: container(one)["state"].get("waiting", {}).get("message")
        )

        assert pod["status"]["podIP"] != "10.244.0.1"
        assert program.runs == 0
