"""What does a Deployment's status say?  Pure; `kubectl rollout status` and `wait` read it.

Source: deployment controller `sync.go` and `progress.go`; kubectl `rollout_status.go`.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from mutua.api.condition import carried_over, find_condition
from mutua.api.object import Object
from mutua.cluster.controllers.rollout import Bounds
from mutua.foundation.clock import parse_rfc3339, rfc3339

DEADLINE: Final = 600
"""Seconds without progress before a rollout is called failed (progressDeadlineSeconds)."""


def deployment_status(
    deployment: Object, new: Object | None, sets: Sequence[Object], bounds: Bounds, now: datetime
) -> dict[str, Any]:
    """Return the whole status.

    Args:
        deployment: As stored.
        new: The ReplicaSet of the current template, None while there is none (paused).
        sets: All ReplicaSets of the Deployment, the new one included.
        bounds: What the rollout respects.
        now: The current time.
    """
    counts = {
        "replicas": _total(sets, "replicas"),
        "updatedReplicas": _total([new] if new else [], "replicas"),
        "readyReplicas": _total(sets, "readyReplicas"),
        "availableReplicas": _total(sets, "availableReplicas"),
    }
    wanted = sum(int(s["spec"].get("replicas") or 0) for s in sets)
    missing = max(0, max(wanted, bounds.desired) - counts["availableReplicas"])
    old = deployment.get("status") or {}
    status: dict[str, Any] = {
        "observedGeneration": deployment["metadata"].get("generation", 1),
        **{name: count for name, count in counts.items() if count},
        **({"unavailableReplicas": missing} if missing else {}),
        **({"collisionCount": old["collisionCount"]} if old.get("collisionCount") else {}),
    }
    conditions = [
        _available(deployment, bounds, counts["availableReplicas"], now),
        _progressing(deployment, new, bounds, counts, now),
    ]
    return {**status, "conditions": conditions}


def seconds_to_deadline(deployment: Object, now: datetime) -> float | None:
    """Return when to look again because a rollout may be stuck; None when it is not under way."""
    progressing = find_condition(deployment, "Progressing")
    if progressing is None or progressing.get("reason") not in {
        "NewReplicaSetCreated",
        "ReplicaSetUpdated",
    }:
        return None
    return max(1.0, (_deadline(deployment, progressing) - now).total_seconds())


def _total(sets: Sequence[Object], field: str) -> int:
    return sum(int((s.get("status") or {}).get(field) or 0) for s in sets)


def _available(deployment: Object, bounds: Bounds, available: int, now: datetime) -> dict[str, Any]:
    enough = available >= bounds.desired - bounds.unavailable
    verb = "has" if enough else "does not have"
    return _stamped(
        find_condition(deployment, "Available"),
        {
            "type": "Available",
            "status": str(enough),
            "reason": f"MinimumReplicas{'Available' if enough else 'Unavailable'}",
            "message": f"Deployment {verb} minimum availability.",
        },
        now,
    )


def _progressing(
    deployment: Object, new: Object | None, bounds: Bounds, counts: dict[str, int], now: datetime
) -> dict[str, Any]:
    old = find_condition(deployment, "Progressing")
    name = new["metadata"]["name"] if new else ""
    verdict = {"type": "Progressing", "status": "True"}
    if deployment["spec"].get("paused"):
        verdict |= {"status": "Unknown", "reason": "DeploymentPaused"}
        return _stamped(old, verdict | {"message": "Deployment is paused"}, now)
    if all(
        counts[c] == bounds.desired for c in ("replicas", "updatedReplicas", "availableReplicas")
    ):
        message = f'ReplicaSet "{name}" has successfully progressed.'
        return _stamped(
            old, verdict | {"reason": "NewReplicaSetAvailable", "message": message}, now
        )
    if old is not None and not _moved(deployment, name, old, counts):
        if old["reason"] == "ProgressDeadlineExceeded" or now >= _deadline(deployment, old):
            verdict |= {"status": "False", "reason": "ProgressDeadlineExceeded"}
            message = f'ReplicaSet "{name}" has timed out progressing.'
            return _stamped(old, verdict | {"message": message}, now)
        return old
    if old is None or f'"{name}"' not in old.get("message", ""):
        message = f'Created new replica set "{name}"'
        return _stamped(old, verdict | {"reason": "NewReplicaSetCreated", "message": message}, now)
    message = f'ReplicaSet "{name}" is progressing.'
    return _stamped(
        old, verdict | {"reason": "ReplicaSetUpdated", "message": message}, now, touch=True
    )


def _moved(deployment: Object, name: str, old: dict[str, Any], counts: dict[str, int]) -> bool:
    if f'"{name}"' not in old.get("message", "") or old["reason"] == "DeploymentPaused":
        return True
    status = deployment.get("status") or {}
    if old["reason"] == "NewReplicaSetAvailable":  # scaled, or pods lost: not a rollout
        return False
    return any(counts[field] > int(status.get(field) or 0) for field in counts)


def _deadline(deployment: Object, progressing: dict[str, Any]) -> datetime:
    if progressing["reason"] == "NewReplicaSetAvailable":
        return datetime.max.replace(tzinfo=parse_rfc3339("1970-01-01T00:00:00Z").tzinfo)
    seconds = int(deployment["spec"].get("progressDeadlineSeconds") or DEADLINE)
    return parse_rfc3339(progressing["lastUpdateTime"]) + timedelta(seconds=seconds)


def _stamped(
    old: dict[str, Any] | None, new: dict[str, Any], now: datetime, *, touch: bool = False
) -> dict[str, Any]:
    same = old is not None and all(
        old.get(k) == new.get(k) for k in ("status", "reason", "message")
    )
    updated = old["lastUpdateTime"] if old is not None and same and not touch else rfc3339(now)
    return {**carried_over(old, new, rfc3339(now)), "lastUpdateTime": updated}
