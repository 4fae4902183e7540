"""The node of an embedded cluster: every pod bound to it gets a worker, and nothing else runs.

On start it adopts what an earlier daemon left running, and removes what no pod asks for.
"""

import asyncio
import logging
import shutil
from collections.abc import Callable, Sequence, Set
from contextlib import suppress

from mutua.api.object import CONFIG_MAPS, PODS, SECRETS, Object
from mutua.cluster.node.binding import bind, is_bound_to
from mutua.cluster.node.context import NodeContext
from mutua.cluster.node.images import CONFIG_MAP, CONFIG_MAP_NAMESPACE
from mutua.cluster.node.registration import register_node
from mutua.cluster.node.services import ServiceRouter
from mutua.cluster.node.worker import PodWorker
from mutua.foundation.backoff import Backoff
from mutua.foundation.errors import MutuaError
from mutua.runtime.spec import NODE, ContainerState, ShimGone, pod_of
from mutua.store.mirror import Change, address, uid

RESTART = Backoff(first=0.5, ceiling=30.0, jitter=0.0)
"""Between restarts of a pod's worker that died of a bug, in seconds."""

log = logging.getLogger(__name__)


class Node:
    """Runs the pods of this machine."""

    def __init__(self, context: NodeContext) -> None:
        self._context = context
        self._workers: dict[str, PodWorker] = {}
        self._group: asyncio.TaskGroup | None = None

    async def run(self, ready: Callable[[], None]) -> None:
        """Run pods until cancelled; cancelling leaves their processes alone.

        Args:
            ready: Called once, when everything found has been adopted.

        Raises:
            ShimGone: The shim has ended, and every process with it.
        """
        view = self._context.view
        await view.wait_synced()
        await register_node(view.store, self._context.settings, self._context.clock)
        found = await self._context.runtime.containers.containers()
        # Before pods are adopted, so that no address is in use twice.
        await self._remove_orphans(found, {uid(pod) for pod in view[PODS].list()})
        async with asyncio.TaskGroup() as group:
            self._group = group
            self._adopt(found)
            view[PODS].subscribe(self._pod_changed)
            view[CONFIG_MAPS].subscribe(self._source_changed)
            view[SECRETS].subscribe(self._source_changed)
            router = ServiceRouter(view, self._context.runtime.network)
            group.create_task(router.run(), name="services")
            # And after, for pods that went in between.
            await self._remove_orphans(found, self._workers.keys())
            ready()
            await self._dispatch_exits()

    async def _dispatch_exits(self) -> None:
        async for state in self._context.runtime.containers.exits():
            if (worker := self._workers.get(pod_of(state.id))) is not None:
                worker.exited(state)
        raise ShimGone("the shim has ended, and every container with it")

    async def _remove_orphans(self, found: Sequence[ContainerState], known: Set[str]) -> None:
        """Remove containers, networks and files of pods that no longer exist.

        Args:
            found: What the shim had when this node started.
            known: The uids of those that do; may grow while this runs.
        """
        runtime = self._context.runtime
        for state in found:
            if pod_of(state.id) not in known and pod_of(state.id) != NODE:
                log.info("removing an orphan", extra={"container": state.id})
                await runtime.containers.remove(state.id)
        for pod_uid in await runtime.network.attached():
            if pod_uid not in known and pod_uid != NODE:
                await self._context.sidecars.release(pod_uid)
                await runtime.network.detach(pod_uid)
        pods = self._context.settings.layout.pod("x").parent
        for directory in pods.iterdir() if pods.is_dir() else ():
            if directory.name not in known and directory.name != NODE:
                shutil.rmtree(directory, ignore_errors=True)

    def _adopt(self, found: Sequence[ContainerState]) -> None:
        """Give every pod its worker, those with an address first: they keep it."""
        pods = [pod for pod in self._context.view[PODS].list() if self._is_ours(pod)]
        for pod in pods:
            ip = (pod.get("status") or {}).get("podIP")
            if ip and (pod.get("status") or {}).get("phase") not in {"Succeeded", "Failed"}:
                self._context.addresses.reserve(uid(pod), ip)
        for pod in pods:
            self._begin(pod, [s for s in found if pod_of(s.id) == uid(pod)])

    def _is_ours(self, pod: Object) -> bool:
        return is_bound_to(self._context.settings.name, pod)

    def _pod_changed(self, change: Change) -> None:
        pod = change.object
        worker = self._workers.get(uid(pod))
        if change.after is None:
            if worker is not None:
                worker.removed()
        elif worker is not None:
            worker.pod_changed(pod)
        elif self._is_ours(pod):
            self._begin(pod, [])

    def _source_changed(self, change: Change) -> None:
        namespace, name = address(change.object)
        everywhere = (namespace, name) == (CONFIG_MAP_NAMESPACE, CONFIG_MAP)
        for worker in self._workers.values():
            if everywhere or worker.state.pod["metadata"]["namespace"] == namespace:
                worker.sources_changed()

    def _begin(self, pod: Object, found: Sequence[ContainerState]) -> None:
        assert self._group is not None, "pods run while the node runs"  # noqa: S101
        worker = self._workers[uid(pod)] = PodWorker(self._context, pod, found)
        if not found and not pod.get("status", {}).get("startTime"):
            name, where = pod["metadata"]["name"], self._context.settings.name
            message = f"Successfully assigned {pod['metadata']['namespace']}/{name} to {where}"
            self._context.events.record(
                pod, "Normal", "Scheduled", message, component="default-scheduler"
            )
        self._group.create_task(self._supervise(worker), name=f"pod {pod['metadata']['name']}")

    async def _supervise(self, worker: PodWorker) -> None:
        """Run a worker; one that dies of a bug is replaced, and adopts what it had running."""
        pod_uid, attempt = worker.state.uid, 0
        with suppress(MutuaError):  # NotFound: it went while it was bound; the mirror tells
            await bind(self._context.view, worker.state.pod, self._context.settings.name)
        while True:
            try:
                await worker.run()
            except* ShimGone:
                raise
            except* Exception:
                log.exception(
                    "pod worker died", extra={"pod": worker.state.pod["metadata"]["name"]}
                )
            else:
                break
            await asyncio.sleep(RESTART.delay(attempt, draw=0.5))
            attempt += 1
            worker = await self._replacement(worker)
        del self._workers[pod_uid]

    async def _replacement(self, dead: PodWorker) -> PodWorker:
        found = await self._context.runtime.containers.containers()
        mine = [state for state in found if pod_of(state.id) == dead.state.uid]
        worker = PodWorker(self._context, dead.state.pod, mine)
        self._workers[dead.state.uid] = worker
        current = self._context.view[PODS].get(*address(dead.state.pod))
        if current is None or uid(current) != dead.state.uid:
            worker.removed()
        else:
            worker.pod_changed(current)
        return worker
