"""What does a StatefulSet's status say?  Pure; `kubectl rollout status` reads it.

Source: the StatefulSet controller's `updateStatus` and `completeRollingUpdate`.
"""

from collections.abc import Sequence
from typing import Any

from mutua.api.object import Object
from mutua.cluster.controllers.stateful_plan import Health, Member, Wish

READY = frozenset({Health.READY, Health.AVAILABLE})


def stateful_status(
    stateful_set: Object, wish: Wish, members: Sequence[Member], *, current: str
) -> dict[str, Any]:
    """Return the whole status.

    Args:
        stateful_set: As stored.
        wish: What it asks for.
        members: Every pod that is still there.
        current: The name of the template before the update that is under way.
    """
    alive = [one for one in members if one.health is not Health.ENDING]
    ready = sum(one.health in READY for one in alive)
    updated = sum(one.revision == wish.revision for one in alive)
    if len(members) == ready == updated == len(wish.ordinals):
        current = wish.revision
    optional = {
        "readyReplicas": ready,
        "currentReplicas": sum(one.revision == current for one in alive),
        "updatedReplicas": updated,
    }
    return {
        "observedGeneration": stateful_set["metadata"].get("generation", 1),
        "replicas": len(members),
        "availableReplicas": sum(one.health is Health.AVAILABLE for one in alive),
        **{name: count for name, count in optional.items() if count},
        "currentRevision": current,
        "updateRevision": wish.revision,
        "collisionCount": (stateful_set.get("status") or {}).get("collisionCount") or 0,
    }
