"""A cluster without a node: controllers over a store in memory, and words to talk about it.

Tests of controllers say what the node would have said (`make_ready`, `finish_deletion`) and wait
for what should follow; in virtual time waiting costs nothing and a condition that never comes
true fails at once.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

from typing_extensions import override

from mutua.api.object import (
    CONFIG_MAPS,
    CONTROLLER_REVISIONS,
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    EVENTS,
    PODS,
    REPLICA_SETS,
    SECRETS,
    SERVICE_ACCOUNTS,
    SERVICE_ENTRIES,
    SERVICES,
    STATEFUL_SETS,
    Object,
    Resource,
)
from mutua.cluster.controllers.cluster import Controllers
from mutua.foundation.clock import Clock, rfc3339
from mutua.store.memory import MemoryStore

EPOCH: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""When every test begins."""

PATIENCE: Final = 100.0
"""Seconds (virtual in unit tests) that a condition may take to come true."""

NAMESPACED: Final = (
    PODS, SERVICES, SERVICE_ACCOUNTS, SECRETS, CONFIG_MAPS, EVENTS, DEPLOYMENTS, REPLICA_SETS,
    STATEFUL_SETS, CONTROLLER_REVISIONS, ENDPOINT_SLICES, SERVICE_ENTRIES,
)  # fmt: skip

T = TypeVar("T")


class LoopClock(Clock):
    """A wall clock that follows the running event loop, virtual or not, plus a step."""

    def __init__(self) -> None:
        self.step = timedelta()

    @override
    def now(self) -> datetime:
        return EPOCH + timedelta(seconds=asyncio.get_running_loop().time()) + self.step


class FakeCluster:
    """A store, the controllers over it, and the part of the node played by the test."""

    def __init__(self) -> None:
        self.clock = LoopClock()
        self.store = MemoryStore(self.clock)
        rng = random.Random(7)  # noqa: S311 - names, not secrets
        self.controllers = Controllers(self.store, self.clock, namespaced=NAMESPACED, rng=rng)

    async def apply(self, resource: Resource, obj: Object) -> Object:
        """Create an object as a user would."""
        return await self.store.create(resource, obj)

    async def edit(
        self, resource: Resource, name: str, change: Callable[[Object], None], *, ns: str = "shop"
    ) -> Object:
        """Change an object in place."""
        obj = await self.store.get(resource, ns, name)
        change(obj)
        return await self.store.update(resource, obj)

    async def names(self, resource: Resource, namespace: str = "shop") -> list[str]:
        """Return the names of all objects of a kind in a namespace."""
        found = (await self.store.list(resource, namespace)).items
        return [obj["metadata"]["name"] for obj in found]

    async def pods(self, namespace: str = "shop") -> list[Object]:
        """Return the pods of a namespace that nobody has asked to go."""
        found = (await self.store.list(PODS, namespace)).items
        return [pod for pod in found if not pod["metadata"].get("deletionTimestamp")]

    async def make_ready(self, pod: Object, *, ready: bool = True, ip: str = "") -> None:
        """Report a pod as the node does."""
        number = int(pod["metadata"]["resourceVersion"]) % 250 + 2
        now = rfc3339(self.clock.now())
        status = {
            "phase": "Running",
            "podIP": ip or f"10.244.0.{number}",
            "conditions": [{"type": "Ready", "status": str(ready), "lastTransitionTime": now}],
        }
        name = pod["metadata"]["name"]
        current = await self.store.get(PODS, pod["metadata"]["namespace"], name)
        await self.store.update_status(PODS, {**current, "status": status})

    async def finish_deletion(self, pod: Object) -> None:
        """End a pod as the node does."""
        metadata = pod["metadata"]
        await self.store.delete(PODS, metadata["namespace"], metadata["name"], grace=0)

    async def play_node(self, namespace: str = "shop") -> None:
        """Make every new pod ready, end every pod that should go."""
        for pod in (await self.store.list(PODS, namespace)).items:
            if pod["metadata"].get("deletionTimestamp"):
                await self.finish_deletion(pod)
            elif "status" not in pod:
                await self.make_ready(pod)

    async def until(self, probe: Callable[[], Any], patience: float = PATIENCE) -> Any:
        """Wait until an async (or plain) question has a truthy answer, and return it."""
        step = 0.01
        async with asyncio.timeout(patience):
            while True:
                answer = probe()
                if asyncio.iscoroutine(answer):
                    answer = await answer
                if answer:
                    return answer
                await asyncio.sleep(step)
                step = min(step * 1.1, patience / 100)

    async def settle(self) -> None:
        """Let everything that is already decided happen."""
        for _ in range(50):
            await asyncio.sleep(0)


@asynccontextmanager
async def running_cluster() -> AsyncIterator[FakeCluster]:
    """Run the controllers for the length of a test."""
    cluster = FakeCluster()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(cluster.controllers.run())
        try:
            yield cluster
        finally:
            task.cancel()


def deployment(name: str = "web", *, replicas: int = 1, **spec: Any) -> Object:
    """Build a Deployment in namespace `shop` whose container needs nothing."""
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"namespace": "shop", "name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "app", "image": "app:1"}]},
            },
            **spec,
        },
    }


def stateful_set(name: str = "web", *, replicas: int = 1, **spec: Any) -> Object:
    """Build a StatefulSet in namespace `shop` whose container needs nothing."""
    obj = deployment(name, replicas=replicas, serviceName=name, **spec)
    return obj | {"kind": "StatefulSet"}


def service(name: str = "web", *, ports: list[dict[str, Any]] | None = None) -> Object:
    """Build a Service in namespace `shop` that selects `app: <name>`."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"namespace": "shop", "name": name},
        "spec": {"selector": {"app": name}, "ports": ports or [{"port": 80, "targetPort": 8080}]},
    }
