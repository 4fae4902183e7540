"""What controllers want to know about a pod.  Pure; the node writes the status read here."""

from datetime import datetime
from typing import Final

from mutua.api.condition import find_condition, is_true
from mutua.api.object import Object
from mutua.cluster.controllers.ownership import is_terminating
from mutua.foundation.clock import parse_rfc3339

GRACE: Final = 30
"""Seconds between SIGTERM and SIGKILL (terminationGracePeriodSeconds)."""

FINISHED: Final = frozenset({"Succeeded", "Failed"})


def is_finished(pod: Object) -> bool:
    """Tell whether all its containers have ended for good."""
    return (pod.get("status") or {}).get("phase") in FINISHED


def is_active(pod: Object) -> bool:
    """Tell whether the pod counts as a replica: neither finished nor on its way out."""
    return not is_finished(pod) and not is_terminating(pod)


def is_ready(pod: Object) -> bool:
    """Tell whether the pod may receive requests."""
    return is_true(pod, "Ready")


def seconds_to_available(pod: Object, min_ready: int, now: datetime) -> float | None:
    """Return how long a pod must stay ready to be available: 0 when it is, None when not ready."""
    ready = find_condition(pod, "Ready")
    if ready is None or ready.get("status") != "True":
        return None
    if not min_ready:
        return 0.0
    elapsed = (now - parse_rfc3339(ready["lastTransitionTime"])).total_seconds()
    return max(0.0, min_ready - elapsed)


def grace_of(pod: Object) -> int:
    """Return the seconds a pod gets to end by itself."""
    grace = pod["spec"].get("terminationGracePeriodSeconds")
    return GRACE if grace is None else int(grace)
