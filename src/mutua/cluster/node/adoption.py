"""What was this pod doing before the daemon (re)started?  Pure.

Two witnesses: the shim knows which processes run now and how others ended; the pod's status
knows how often they had been started and how they ended when the shim, too, is new.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from mutua.api.object import Object
from mutua.cluster.node.record import Record, Role, Terminated, Waiting
from mutua.cluster.node.sidecar import SIDECAR
from mutua.foundation.clock import parse_rfc3339
from mutua.runtime.spec import ContainerState

LOST: Final = Terminated(
    137,
    "ContainerStatusUnknown",
    "the container ended together with the process that ran it; it is started again",
)


def recollect(pod: Object, found: Sequence[ContainerState]) -> list[Record]:
    """Return the records of a pod's containers.

    Args:
        pod: As stored.
        found: What the shim knows of this pod; empty for a new pod.
    """
    records = [_recollect(record, pod, found) for record in _blank(pod)]
    if any(not record.fresh or record.attempt for record in records if record.role is Role.APP):
        for record in records:
            if record.role is Role.INIT and not record.succeeded and not record.is_running:
                record.state, record.fresh = Terminated(0, "Completed"), False
    return records


def _blank(pod: Object) -> list[Record]:
    uid, spec = str(pod["metadata"]["uid"]), pod["spec"]
    annotations = pod["metadata"].get("annotations") or {}
    injected = "sidecar.istio.io/status" in annotations
    inits = [Record(c, Role.INIT, uid) for c in spec.get("initContainers") or []]
    containers = [
        Record(c, Role.SIDECAR if injected and c["name"] == SIDECAR else Role.APP, uid)
        for c in spec["containers"]
    ]
    if inits:
        for record in containers:
            record.state = Waiting("PodInitializing")
    return inits + containers


def _recollect(record: Record, pod: Object, found: Sequence[ContainerState]) -> Record:
    status = _status_of(record, pod)
    attempts = {
        int(state.id.rsplit("/", 1)[1]): state
        for state in found
        if state.id.rsplit("/", 1)[0] == f"{record.uid}/{record.name}"
    }
    record.last = _terminated((status.get("lastState") or {}).get("terminated"))
    if attempts:
        record.attempt = max(attempts)
        state = attempts[record.attempt]
        # One that has ended meanwhile is begun too: its end is told to the worker afterwards.
        record.begin(state.started_at or 0.0)
        is_proxy = record.role is Role.SIDECAR  # whose readiness is more than its probes say
        record.ready = bool(status.get("ready")) or (record.ready and not is_proxy)
        record.started = bool(status.get("started")) or (record.started and not is_proxy)
        return record
    record.attempt = int(status.get("restartCount") or 0)
    before = status.get("state") or {}
    if (terminated := _terminated(before.get("terminated"))) is not None:
        record.state, record.fresh = terminated, False
    elif "running" in before:
        record.state, record.fresh = LOST, False
    return record


def _status_of(record: Record, pod: Object) -> Mapping[str, Any]:
    field = "initContainerStatuses" if record.role is Role.INIT else "containerStatuses"
    for status in (pod.get("status") or {}).get(field) or []:
        if status.get("name") == record.name:
            found: Mapping[str, Any] = status
            return found
    return {}


def _terminated(status: Mapping[str, Any] | None) -> Terminated | None:
    if not status:
        return None
    return Terminated(
        exit_code=int(status.get("exitCode") or 0),
        reason=str(status.get("reason") or ""),
        message=str(status.get("message") or ""),
        signal=status.get("signal"),
        started_at=_seconds(status.get("startedAt")),
        finished_at=_seconds(status.get("finishedAt")),
    )


def _seconds(text: str | None) -> float | None:
    if not text:
        return None
    instant: datetime = parse_rfc3339(text)
    return instant.timestamp()
