"""Who answers kubectl logs and kubectl exec?  The pod's object, its log files, and the shim.

`ContainerStreams` is the StreamingBackend of the machine it runs on.  A pod's containers are
`<pod uid>/<container>/<attempt>` at the shim; the newest attempt is the current one.

What comes later has its place here: a terminal (`-t`) is `ShimClient.exec(tty=True)` on a
pseudo-terminal, with channel 4 resizing it; SPDY/3.1 (clients older than kubectl 1.30) is a
second module next to `exec_websocket`, chosen by the request's Upgrade header; port-forward
dials from the pod's network namespace (`NodeNetwork.socket`) and becomes a third method.
"""

from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

from typing_extensions import override

from mutua.api.object import PODS, Object
from mutua.cluster.apiserver.exec_websocket import WebSocketExec
from mutua.cluster.apiserver.status import Refusal, bad_request
from mutua.cluster.apiserver.streaming_port import ExecRequest, LogOptions, StreamingBackend
from mutua.cluster.node.ports import Containers
from mutua.foundation.layout import Layout
from mutua.runtime.logs import LogQuery, read_log
from mutua.runtime.spec import ShimGone
from mutua.store.port import ObjectStore

DEFAULT_CONTAINER: Final = "kubectl.kubernetes.io/default-container"
"""Annotation that names the container to take when the user names none."""


class ContainerStreams(StreamingBackend):
    """Logs and exec of the containers that the shim runs."""

    def __init__(self, store: ObjectStore, containers: Containers, layout: Layout) -> None:
        """Serve the pods of `store` whose containers these are."""
        self._store = store
        self._containers = containers
        self._layout = layout

    @override
    async def logs(self, namespace: str, pod: str, options: LogOptions) -> AsyncIterator[bytes]:
        """Yield the chunks of a container's log; following ends when that attempt has ended.

        Raises:
            Refusal: There is no such container, or nothing to read yet.
        """
        found = await self._store.get(PODS, namespace, pod)
        name = container_of(found, options.container)
        attempt, path = self._log_file(found, name, previous=options.previous)
        identifier = f"{found['metadata']['uid']}/{name}/{attempt}"

        async def is_live() -> bool:
            return identifier in await self._running()

        query = LogQuery(
            follow=options.follow,
            tail=options.tail,
            since=options.since,
            timestamps=options.timestamps,
            limit_bytes=options.limit_bytes,
        )
        async for chunk in read_log(path, query, is_live=is_live):
            yield chunk

    @override
    async def exec(self, request: ExecRequest, reader: StreamReader, writer: StreamWriter) -> None:
        """Run a command over a WebSocket.

        Raises:
            Refusal: There is no such container, it does not run, or the client asks for what is
                not supported (a terminal, SPDY).
        """
        pod = await self._store.get(PODS, request.namespace, request.pod)
        name = container_of(pod, request.container)
        if request.tty:
            raise bad_request("a terminal (-t) is not supported yet: run the command without it")
        identifier = await self._current(pod, name)
        await WebSocketExec(request, reader, writer).run(self._containers, identifier)

    def _log_file(self, pod: Object, name: str, *, previous: bool) -> tuple[int, Path]:
        metadata = pod["metadata"]
        address = (metadata["namespace"], metadata["name"], metadata["uid"])
        directory = self._layout.pod_logs(*address) / name
        attempts = sorted(
            (int(path.stem) for path in directory.glob("*.log") if path.stem.isdecimal()),
            reverse=True,
        )
        ended = _ended_attempt(pod, name)
        if previous and ended in attempts:  # also while the next one waits to start
            return ended, directory / f"{ended}.log"
        if previous and len(attempts) < 2:
            raise bad_request(
                f'previous terminated container "{name}" in pod "{metadata["name"]}" not found'
            )
        if not attempts:
            raise bad_request(
                f'container "{name}" in pod "{metadata["name"]}" is waiting to start: '
                f"{_waiting_reason(pod, name)}"
            )
        attempt = attempts[1 if previous else 0]
        return attempt, directory / f"{attempt}.log"

    async def _current(self, pod: Object, name: str) -> str:
        """Return the id of the running attempt."""
        prefix = f"{pod['metadata']['uid']}/{name}/"
        running = [one for one in await self._running() if one.startswith(prefix)]
        if not running:
            phase = pod.get("status", {}).get("phase", "Pending")
            if phase in {"Succeeded", "Failed"}:
                raise bad_request(
                    f"cannot exec into a container in a completed pod; current phase is {phase}"
                )
            message = f'unable to upgrade connection: container not found ("{name}")'
            raise Refusal(500, "InternalError", message)
        return max(running, key=lambda one: int(one.rsplit("/", 1)[1]))

    async def _running(self) -> frozenset[str]:
        try:
            states = await self._containers.containers()
        except ShimGone:
            return frozenset()
        return frozenset(state.id for state in states if state.running)


def container_of(pod: Object, name: str) -> str:
    """Return the name of the container that the user means.

    Raises:
        Refusal: The pod has none of this name.
    """
    spec, metadata = pod["spec"], pod["metadata"]
    names = [one["name"] for one in (*spec["containers"], *(spec.get("initContainers") or ()))]
    if name and name not in names:
        raise bad_request(f"container {name} is not valid for pod {metadata['name']}")
    default: str = (metadata.get("annotations") or {}).get(DEFAULT_CONTAINER, "")
    return name or (default if default in names else names[0])


def _waiting_reason(pod: Object, name: str) -> str:
    waiting = _status_of(pod, name).get("state", {}).get("waiting", {})
    return str(waiting.get("reason", "ContainerCreating"))


def _ended_attempt(pod: Object, name: str) -> int:
    """Return the number of the attempt that the status shows as the last one, -1 without one."""
    terminated = _status_of(pod, name).get("lastState", {}).get("terminated", {})
    number = str(terminated.get("containerID", "")).rpartition("/")[2]
    return int(number) if number.isdecimal() else -1


def _status_of(pod: Object, name: str) -> dict[str, Any]:
    status: dict[str, Any] = pod.get("status", {})
    statuses = (*status.get("containerStatuses", ()), *status.get("initContainerStatuses", ()))
    return next((one for one in statuses if one["name"] == name), {})
