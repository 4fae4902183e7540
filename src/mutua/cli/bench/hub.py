"""The control plane of a large mesh, without pods: what `mutua bench` measures propagation on.

    python -m mutua.cli.bench.hub DIRECTORY PROXIES SERVICES

It serves one unix socket per proxy in DIRECTORY, says `ready` once all of them are connected and
up to date, and then answers every line on standard input with a line of JSON:

    <namespace> <mode>    set that namespace's PeerAuthentication (the root namespace's is the
                          mesh's) and wait until the last proxy has confirmed the mesh with it

It is bound to one core: that is what one control plane is said to need.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from mutua.api.object import (
    ENDPOINT_SLICES,
    PEER_AUTHENTICATIONS,
    PODS,
    SERVICES,
    Object,
    Resource,
)
from mutua.controlplane.controlplane import ControlPlane
from mutua.foundation.clock import SystemClock
from mutua.lifecycle.garbage import collect_seldom
from mutua.store.memory import MemoryStore
from mutua.store.port import AlreadyExists
from mutua.xds.feed import Feed, Progress
from mutua.xds.server import ads_handler, serve_workload

PER_NAMESPACE: Final = 10
"""Pods, and Services, of one namespace: how many proxies a namespace's policy concerns."""

PORT: Final = 80
"""The port of every Service."""


def socket_of(directory: Path, number: int) -> Path:
    """Return where a proxy finds the control plane."""
    return directory / f"{number}"


def namespace_of(number: int) -> str:
    """Return the namespace of a pod or Service."""
    return f"n{number // PER_NAMESPACE}"


def objects(proxies: int, services: int) -> Iterator[tuple[Resource, Object]]:
    """Yield a mesh: Services with one endpoint each, as far as there are pods to serve them."""
    for number in range(proxies):
        yield PODS, _pod(number)
    for number in range(services):
        yield SERVICES, _service(number)
        yield ENDPOINT_SLICES, _slice(number, number % proxies)


def _address(number: int, network: int) -> str:
    return f"10.{network + number // 62500}.{number // 250 % 250}.{number % 250 + 1}"


def _metadata(number: int, **more: object) -> Object:
    return {"namespace": namespace_of(number), "name": f"s{number}", **more}


def _pod(number: int) -> Object:
    labels = {"app": f"s{number}", "security.istio.io/tlsMode": "istio"}
    container = {"name": "app", "image": "app"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": _metadata(number, labels=labels),
        "spec": {"serviceAccountName": "default", "containers": [container]},
        "status": {"phase": "Running", "podIP": _address(number, 10)},
    }


def _service(number: int) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(number),
        "spec": {
            "clusterIP": _address(number, 100),
            "selector": {"app": f"s{number}"},
            "ports": [{"name": "http", "port": PORT, "targetPort": 8080}],
        },
    }


def _slice(number: int, pod: int) -> Object:
    label = {"kubernetes.io/service-name": f"s{number}"}
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": _metadata(number, labels=label),
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080}],
        "endpoints": [{"addresses": [_address(pod, 10)], "conditions": {"ready": True}}],
    }


class Hub:
    """The control plane and its proxies' feeds."""

    def __init__(self, store: MemoryStore, control_plane: ControlPlane) -> None:
        """Wait for proxies at `add`."""
        self._store = store
        self._control_plane = control_plane
        self._feeds: list[Feed] = []
        self._moved = asyncio.Event()

    def add(self, uid: str) -> Feed:
        """Return the feed of a pod's proxy."""
        feed = self._control_plane.add(uid)
        forward = feed.on_progress

        def moved(progress: Progress) -> None:
            forward(progress)
            self._moved.set()

        feed.on_progress = moved
        self._feeds.append(feed)
        return feed

    async def wait_confirmed(self, generation: int) -> None:
        """Return once every proxy has confirmed a state of the mesh."""
        behind = self._feeds
        while behind:
            self._moved.clear()
            behind = [feed for feed in behind if feed.confirmed_as_of < generation]
            if behind:
                await self._moved.wait()

    async def flip(self, line: str) -> dict[str, float]:
        """Change a policy, and say what it took until every proxy had confirmed it."""
        namespace, mode = line.split()
        begin, spent = time.monotonic(), time.process_time()
        before = self._control_plane.generation
        await self._write(namespace, mode)
        await self.wait_confirmed(await self._control_plane.wait_pushed(before))
        return {"seconds": time.monotonic() - begin, "cpu": time.process_time() - spent}

    async def _write(self, namespace: str, mode: str) -> None:
        policy: Object = {
            "apiVersion": "security.istio.io/v1",
            "kind": "PeerAuthentication",
            "metadata": {"namespace": namespace, "name": "default"},
            "spec": {"mtls": {"mode": mode}},
        }
        with suppress(AlreadyExists):
            await self._store.create(PEER_AUTHENTICATIONS, policy)
            return
        known = await self._store.get(PEER_AUTHENTICATIONS, namespace, "default")
        await self._store.update(PEER_AUTHENTICATIONS, {**known, "spec": policy["spec"]})


async def serve(directory: Path, proxies: int, services: int) -> None:
    """Serve until standard input ends."""
    store, uids = MemoryStore(SystemClock()), []
    for resource, obj in objects(proxies, services):
        stored = await store.create(resource, obj)
        if resource is PODS:
            # A created object has no status yet.
            await store.update_status(resource, {**stored, "status": obj["status"]})
            uids.append(stored["metadata"]["uid"])
    control_plane = ControlPlane(store, clock=SystemClock())
    hub, ready = Hub(store, control_plane), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        running = group.create_task(control_plane.run(ready.set))
        await ready.wait()
        servers = []
        for number, uid in enumerate(uids):
            handlers = [ads_handler(hub.add(uid))]
            servers.append(await serve_workload({socket_of(directory, number): handlers}))
        say({"serving": True})
        await hub.wait_confirmed(control_plane.generation)
        say({"ready": True})
        await answer_lines(hub.flip)
        for server in servers:
            await server.stop()
        running.cancel()


async def answer_lines(answer: Callable[[str], Awaitable[dict[str, float]]]) -> None:
    """Answer every line on standard input, until it ends."""
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        say(await answer(line))


def say(answer: Mapping[str, float]) -> None:
    """Write a line to standard output."""
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def bind_to_one_core() -> None:
    """Leave the others to the proxies."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def main() -> None:
    """Serve until standard input ends."""
    bind_to_one_core()
    collect_seldom()
    asyncio.run(serve(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))


if __name__ == "__main__":
    main()
