"""What does a pod's status say?  Pure; kubectl, Services and the mesh read it.

Source: Kubernetes PodStatus; kubelet `getPhase`, `GeneratePodReadyCondition`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from mutua.api.condition import carried_over, find_condition
from mutua.api.object import Object
from mutua.api.proxy_volumes import FILES
from mutua.cluster.node.record import Record, Role, Running, State, Terminated, Waiting
from mutua.foundation.clock import rfc3339

OURS: Final = frozenset(
    {"PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"}
)
"""Conditions that the node writes; others (readiness gates) are kept as they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the node knows about a pod besides its containers.

    Attributes:
        ip: Its address, "" while it has none.
        host_ip: The node's.
        wired: Whether it has its network.
        start_time: When the node first saw it, RFC 3339.
        now: RFC 3339.
        proxy_files: Which versions of Secrets and ConfigMaps are in its proxy's files.
    """

    ip: str
    host_ip: str
    wired: bool
    start_time: str
    now: str
    proxy_files: Sequence[str] = ()


def phase_of(pod: Object, records: Sequence[Record]) -> str:
    """Return Pending, Running, Succeeded or Failed."""
    policy = pod["spec"].get("restartPolicy") or "Always"
    for record in records:
        if record.role is Role.INIT and not record.succeeded:
            failed = isinstance(record.state, Terminated) and policy == "Never"
            return "Failed" if failed else "Pending"
    apps = [record for record in records if record.role is Role.APP]
    if any(isinstance(r.state, Waiting) and r.last is None for r in apps):
        return "Pending"
    ended = [r.state for r in apps if isinstance(r.state, Terminated)]
    if len(ended) < len(apps) or policy == "Always":
        return "Running"
    if all(state.exit_code == 0 for state in ended):
        return "Succeeded"
    return "Failed" if policy == "Never" else "Running"


def pod_status(pod: Object, records: Sequence[Record], facts: Facts) -> dict[str, Any]:
    """Return the whole status of a pod."""
    phase = phase_of(pod, records)
    inits = [_container_status(r) for r in records if r.role is Role.INIT]
    addresses = {"podIP": facts.ip, "podIPs": [{"ip": facts.ip}]} if facts.ip else {}
    return {
        "phase": phase,
        "conditions": _conditions(pod, records, facts, phase),
        "hostIP": facts.host_ip,
        "hostIPs": [{"ip": facts.host_ip}],
        **addresses,
        "startTime": facts.start_time,
        **({"initContainerStatuses": inits} if inits else {}),
        "containerStatuses": [_container_status(r) for r in records if r.role is not Role.INIT],
        "qosClass": qos_class(pod),
    }


def _container_status(record: Record) -> dict[str, Any]:
    ready = record.ready if record.role is not Role.INIT else record.succeeded
    image = str(record.spec.get("image") or "")
    return {
        "name": record.name,
        "state": _state(record.state, record.id),
        "lastState": _state(record.last, f"{record.uid}/{record.name}/{record.attempt - 1}")
        if record.last
        else {},
        "ready": ready,
        "started": record.is_running and record.started,
        "restartCount": record.attempt,
        "image": image,
        "imageID": f"mutua-catalogue://{image}",
        **({} if record.fresh else {"containerID": f"mutua://{record.id}"}),
    }


def _state(state: State, container_id: str) -> dict[str, Any]:
    match state:
        case Waiting(reason, message):
            return {"waiting": {"reason": reason, **({"message": message} if message else {})}}
        case Running(started_at):
            return {"running": {"startedAt": _instant(started_at)}}
        case Terminated():
            times = {"startedAt": state.started_at, "finishedAt": state.finished_at}
            return {
                "terminated": {
                    "exitCode": state.exit_code,
                    "reason": state.reason,
                    **({"message": state.message} if state.message else {}),
                    **({"signal": state.signal} if state.signal else {}),
                    **{name: _instant(time) for name, time in times.items() if time is not None},
                    "containerID": f"mutua://{container_id}",
                }
            }


def _instant(seconds: float) -> str:
    return rfc3339(datetime.fromtimestamp(seconds, UTC))


def _conditions(
    pod: Object, records: Sequence[Record], facts: Facts, phase: str
) -> list[dict[str, Any]]:
    inits = [r.name for r in records if r.role is Role.INIT and not r.succeeded]
    unready = [r.name for r in records if r.role is not Role.INIT and not r.ready]
    gates = [
        gate["conditionType"]
        for gate in pod["spec"].get("readinessGates") or []
        if (find_condition(pod, gate["conditionType"]) or {}).get("status") != "True"
    ]
    done = phase in {"Succeeded", "Failed"}
    containers = _unless(unready, "ContainersNotReady", "containers with unready status", done=done)
    ready = containers
    if containers["status"] == "True" and gates:
        ready = _unless(gates, "ReadinessGatesNotReady", "readiness gates not true", done=False)
    incomplete = "containers with incomplete status"
    new = [
        {"type": "PodReadyToStartContainers", "status": str(facts.wired)},
        {
            "type": "Initialized",
            **_unless(inits, "ContainersNotInitialized", incomplete, done=False),
        },
        {"type": "Ready", **ready},
        {"type": "ContainersReady", **containers},
        {"type": "PodScheduled", "status": "True"},
    ]
    if facts.proxy_files:
        new.append({"type": FILES, "status": "True", "message": ", ".join(facts.proxy_files)})
    old = (pod.get("status") or {}).get("conditions") or []
    written = OURS | {condition["type"] for condition in new}
    kept = [condition for condition in old if condition.get("type") not in written]
    stamped = [carried_over(find_condition(pod, c["type"]), c, facts.now) for c in new]
    return [*stamped, *kept]


def _unless(names: Sequence[str], reason: str, what: str, *, done: bool) -> dict[str, Any]:
    if done:
        return {"status": "False", "reason": "PodCompleted"}
    if not names:
        return {"status": "True"}
    return {"status": "False", "reason": reason, "message": f"{what}: [{' '.join(names)}]"}


def qos_class(pod: Object) -> str:
    """Return BestEffort, Burstable or Guaranteed, from requests and limits alone."""
    resources: list[Mapping[str, Any]] = [
        container.get("resources") or {}
        for field in ("containers", "initContainers")
        for container in pod["spec"].get(field) or []
    ]
    if not any(r.get("requests") or r.get("limits") for r in resources):
        return "BestEffort"
    for r in resources:
        limits, requests = r.get("limits") or {}, r.get("requests") or r.get("limits") or {}
        if set(limits) < {"cpu", "memory"} or any(
            requests.get(name) not in {None, limits[name]} for name in ("cpu", "memory")
        ):
            return "Burstable"
    return "Guaranteed"
