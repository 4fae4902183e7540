"""Ending a pod: politely, then not, then removing every trace of it."""

import asyncio
import logging
import shutil
import signal
from contextlib import suppress
from typing import Final

from mutua.api.object import ENDPOINT_SLICES, PODS
from mutua.cluster.controllers.pod_facts import grace_of
from mutua.cluster.node import probing
from mutua.cluster.node.context import PodState
from mutua.cluster.node.record import Record
from mutua.foundation.clock import parse_rfc3339
from mutua.foundation.errors import MutuaError
from mutua.runtime.spec import NoSuchContainer, pod_of
from mutua.store.port import NotFound, Stale

KILLED_WITHIN: Final = 5.0
"""Seconds that the kernel may take to end a killed container before we go on without it."""

UNLISTED_WITHIN: Final = 1.0
"""Seconds that the controllers may take to strike a leaving pod off its Services."""

LINGER: Final = 0.5
"""Seconds a pod goes on serving once it is struck off: the proxies and the Service table follow
within tens of milliseconds, on a busy machine within a few tenths, and requests under way need an
answer.  Kubernetes sends SIGTERM at once, so that every rollout loses requests unless the pod has a
preStop hook that sleeps."""

LOOK: Final = 0.02
"""Seconds between looks at the EndpointSlices."""

TICK: Final = 0.001
"""Seconds that do not matter: timers and clocks round differently."""

REMOVED: Final = 2.0
"""Seconds of grace when the object is gone already (kubelet's minimum on force deletion)."""

log = logging.getLogger(__name__)


class GraceClock:
    """How much longer a pod's processes may take to end.

    The wall clock is asked once per deletion, because the object has the end as an instant.  From
    then on a clock counts that nobody sets.
    """

    def __init__(self, state: PodState) -> None:
        self._state = state
        self._begun = asyncio.get_running_loop().time()
        self._announced = ""  # the deletion that `_end` is of
        self._end = 0.0  # on the loop's clock

    def remaining(self, *, removed: bool) -> float:
        """Return the seconds left; a second deletion with less grace shortens them."""
        now = asyncio.get_running_loop().time()
        elapsed = now - self._begun
        if removed:
            return max(0.0, REMOVED - elapsed)
        metadata = self._state.pod["metadata"]
        announced = metadata.get("deletionTimestamp")
        if not announced:  # a finished pod's sidecar
            return max(0.0, grace_of(self._state.pod) - elapsed)
        if announced != self._announced:
            left = (parse_rfc3339(announced) - self._state.node.clock.now()).total_seconds()
            # Not longer than it was given: the clock may have been set back since.
            given = metadata.get("deletionGracePeriodSeconds", left)
            self._announced, self._end = announced, now + min(left, given)
        return max(0.0, self._end - now, REMOVED - elapsed)

    def is_over(self, *, removed: bool) -> bool:
        """Tell whether the time has come."""
        return self.remaining(removed=removed) < TICK


async def depart(state: PodState, seconds: float) -> None:
    """Let whoever sends requests to a leaving pod learn of it, before its programs do.

    Args:
        state: The pod; one that stands behind no Service leaves at once.
        seconds: What is left of its grace.
    """
    if seconds < TICK or not _endpoint_conditions(state):
        return
    with suppress(TimeoutError):
        async with asyncio.timeout(min(seconds, UNLISTED_WITHIN)):
            await _unlisted(state)
    await asyncio.sleep(min(seconds, LINGER))


async def _unlisted(state: PodState) -> None:
    """Return once no Service counts on the pod."""
    while any(one.get("ready") for one in _endpoint_conditions(state)):  # noqa: ASYNC110 - rare,
        await asyncio.sleep(LOOK)  # short, and a mirror's listeners stay for good


def _endpoint_conditions(state: PodState) -> list[dict[str, bool]]:
    return [
        endpoint.get("conditions") or {}
        for slice_ in state.node.view[ENDPOINT_SLICES].list(state.pod["metadata"]["namespace"])
        for endpoint in slice_.get("endpoints") or []
        if (endpoint.get("targetRef") or {}).get("uid") == state.uid
    ]


async def ask_to_end(state: PodState, record: Record, seconds: float) -> None:
    """Run the preStop hook, if any, then send SIGTERM."""
    state.tell("Normal", "Killing", f"Stopping container {record.name}")
    hook = (record.spec.get("lifecycle") or {}).get("preStop")
    if hook is not None:
        await _run_hook(state, record, hook, seconds)
    await _send(state, record, signal.SIGTERM)


async def _run_hook(
    state: PodState, record: Record, hook: dict[str, object], seconds: float
) -> None:
    if isinstance(sleep := hook.get("sleep"), dict):
        await asyncio.sleep(min(seconds, float(sleep.get("seconds") or 0)))
        return
    subject = probing.Subject(state.pod, record.spec, record.id, state.ip, state.is_meshed)
    handler = {**hook, "timeoutSeconds": max(1, int(seconds))}
    if reason := await probing.ask(handler, subject, state.node.runtime):
        state.tell("Warning", "FailedPreStopHook", f"PreStopHook failed: {reason}")


async def stop_unwell(state: PodState, record: Record) -> None:
    """End one attempt of a container with the pod's grace; the worker restarts it."""
    attempt = record.attempt
    await ask_to_end(state, record, grace_of(state.pod))
    await asyncio.sleep(grace_of(state.pod))
    if record.is_running and record.attempt == attempt:
        await kill(state, record)


async def kill(state: PodState, record: Record) -> None:
    """End a container at once."""
    await _send(state, record, signal.SIGKILL)


async def _send(state: PodState, record: Record, signum: signal.Signals) -> None:
    try:
        await state.node.runtime.containers.signal(record.id, signum)
    except NoSuchContainer:
        return


async def disconnect(state: PodState) -> None:
    """Take a pod out of the mesh and off the network."""
    await state.node.sidecars.release(state.uid)
    await state.node.runtime.network.detach(state.uid)
    state.node.addresses.release(state.uid)
    state.netns = ""
    state.plan = None


async def erase(state: PodState) -> None:
    """Remove everything of a pod: containers, network, files, logs."""
    containers = state.node.runtime.containers
    for found in await containers.containers():
        if pod_of(found.id) == state.uid:
            await containers.remove(found.id)
    await disconnect(state)
    metadata, settings = state.pod["metadata"], state.node.settings
    shutil.rmtree(settings.layout.pod(state.uid), ignore_errors=True)
    logs = settings.log_directory(metadata["namespace"], metadata["name"], state.uid)
    shutil.rmtree(logs, ignore_errors=True)


async def forget(state: PodState) -> None:
    """Let the object go, now that nothing of the pod is left."""
    metadata = state.pod["metadata"]
    try:
        await state.node.view.store.delete(
            PODS, metadata["namespace"], metadata["name"], uid=state.uid, grace=0
        )
    except (NotFound, Stale):
        return
    except MutuaError:
        log.exception("pod object not deleted", extra={"pod": metadata["name"]})
        raise
