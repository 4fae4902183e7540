"""The columns of a pod: its phase is not what people need to see.

STATUS is the most telling thing known: the reason a container waits or ended, `Init:1/2` while
init containers run, `Terminating` once deletion began, and only then the phase.
Source: Kubernetes printers, `printPod`.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from mutua.api.age import human_duration
from mutua.api.columns import AGE, NAME, NONE, Column, at, field
from mutua.api.object import Object
from mutua.foundation.clock import parse_rfc3339


def _statuses(pod: Object, name: str = "containerStatuses") -> Sequence[Object]:
    return at(pod, "status", name) or ()


def _ready(pod: Object, _: datetime) -> str:
    total = len(at(pod, "spec", "containers") or ())
    ready = sum(
        1
        for each in _statuses(pod)
        if each.get("ready") and at(each, "state", "running") is not None
    )
    return f"{ready}/{total}"


def _status(pod: Object, _: datetime) -> str:
    text = str(at(pod, "status", "reason") or at(pod, "status", "phase") or "Unknown")
    initializing = _initializing(pod)
    text = initializing or _container_reason(pod) or text
    if text == "Completed" and any(_is_running(each) for each in _statuses(pod)):
        text = "Running" if _has_condition(pod, "Ready") else "NotReady"
    if at(pod, "metadata", "deletionTimestamp"):
        return "Unknown" if at(pod, "status", "reason") == "NodeLost" else "Terminating"
    return text


def _initializing(pod: Object) -> str:
    """Return why the init containers are not done, or ""."""
    total = len(at(pod, "spec", "initContainers") or ())
    for number, each in enumerate(_statuses(pod, "initContainerStatuses")):
        state = each.get("state") or {}
        ended = state.get("terminated")
        if ended is not None:
            if ended.get("exitCode") == 0:
                continue
            return f"Init:{_ended(ended)}"
        waiting = at(state, "waiting", "reason")
        if waiting and waiting != "PodInitializing":
            return f"Init:{waiting}"
        return f"Init:{number}/{total}"
    return ""


def _container_reason(pod: Object) -> str:
    """Return the reason of the first container that waits or has ended, or ""."""
    for each in _statuses(pod):
        state = each.get("state") or {}
        if reason := at(state, "waiting", "reason"):
            return str(reason)
        if (ended := state.get("terminated")) is not None:
            return _ended(ended)
    return ""


def _ended(terminated: Object) -> str:
    if terminated.get("reason"):
        return str(terminated["reason"])
    if terminated.get("signal"):
        return f"Signal:{terminated['signal']}"
    return f"ExitCode:{terminated.get('exitCode', 0)}"


def _is_running(status: Object) -> bool:
    return bool(status.get("ready")) and at(status, "state", "running") is not None


def _has_condition(pod: Object, name: str) -> bool:
    conditions = at(pod, "status", "conditions") or ()
    return any(each.get("type") == name and each.get("status") == "True" for each in conditions)


def _restarts(pod: Object, now: datetime) -> str:
    name = "initContainerStatuses" if _initializing(pod) else "containerStatuses"
    count = sum(each.get("restartCount") or 0 for each in _statuses(pod, name))
    ends = [_instant(at(each, "lastState", "terminated", "finishedAt")) for each in _statuses(pod)]
    known = [end for end in ends if end is not None]
    if not count or not known:
        return str(count)
    return f"{count} ({human_duration(max(now - max(known), timedelta()))} ago)"


def _instant(text: Any) -> datetime | None:
    try:
        return parse_rfc3339(text)
    except (TypeError, ValueError):
        return None


def _gates(pod: Object, _: datetime) -> str:
    gates = at(pod, "spec", "readinessGates") or ()
    met = sum(_has_condition(pod, each.get("conditionType", "")) for each in gates)
    return f"{met}/{len(gates)}" if gates else NONE


POD: Final = (
    NAME,
    Column("Ready", _ready),
    Column("Status", _status),
    Column("Restarts", _restarts),
    AGE,
    Column("IP", field("status", "podIP", missing=NONE), wide=True),
    Column("Node", field("spec", "nodeName", missing=NONE), wide=True),
    Column("Nominated Node", field("status", "nominatedNodeName", missing=NONE), wide=True),
    Column("Readiness Gates", _gates, wide=True),
)
