"""Conditions in a status: reading them, and writing them without touching what did not change.

Pure.  `kubectl wait --for=condition=…` and `describe` read these; lastTransitionTime moves only
when the status flips (Kubernetes API conventions, "typical status properties").
"""

from typing import Any

from mutua.api.object import Object


def find_condition(obj: Object, kind: str) -> dict[str, Any] | None:
    """Return the condition of type `kind` in an object's status, or None."""
    for condition in (obj.get("status") or {}).get("conditions") or []:
        if condition.get("type") == kind:
            found: dict[str, Any] = condition
            return found
    return None


def is_true(obj: Object, kind: str) -> bool:
    """Tell whether the condition of type `kind` is there and true."""
    condition = find_condition(obj, kind)
    return condition is not None and condition.get("status") == "True"


def carried_over(old: dict[str, Any] | None, new: dict[str, Any], now: str) -> dict[str, Any]:
    """Return `new` with the times it deserves, given the condition `old` it replaces.

    Args:
        old: The condition of the same type until now, or None.
        new: type, status and optionally reason, message.
        now: RFC 3339.
    """
    flipped = old is None or old.get("status") != new["status"]
    since = now if old is None or flipped else old.get("lastTransitionTime") or now
    return {**new, "lastTransitionTime": since}
