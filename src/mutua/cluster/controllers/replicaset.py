"""From ReplicaSets to Pods: as many as asked for, the least useful ones going first."""

import random
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final

from mutua.api.object import PODS, REPLICA_SETS, Object
from mutua.api.selectors import read_label_selector
from mutua.cluster.controllers.claiming import claim
from mutua.cluster.controllers.events import EventRecorder
from mutua.cluster.controllers.ownership import (
    controller_of,
    is_controlled_by,
    is_terminating,
    owner_reference,
)
from mutua.cluster.controllers.pod_facts import is_active, is_ready, seconds_to_available
from mutua.cluster.controllers.reconciler import Reconciler
from mutua.cluster.controllers.template_hash import ALPHABET
from mutua.cluster.controllers.view import View
from mutua.foundation.clock import Clock
from mutua.foundation.errors import Rejected
from mutua.store.mirror import Change, address

SUFFIX: Final = 5
"""Random characters of a pod's name (Kubernetes generateName)."""

LONGEST_BASE: Final = 57
"""Characters left of the suffix, so that the name stays a DNS label of at most 63."""

COMPONENT: Final = "replicaset-controller"


class ReplicaSetController:
    """Keeps every ReplicaSet's pods as many as its spec says."""

    def __init__(self, view: View, clock: Clock, events: EventRecorder, rng: random.Random) -> None:
        self._view = view
        self._clock = clock
        self._events = events
        self._rng = rng
        self._loop = Reconciler("replicaset", self._reconcile)
        view[REPLICA_SETS].subscribe(lambda change: self._loop.add(address(change.object)))
        view[PODS].subscribe(self._pod_changed)

    async def run(self) -> None:
        """Work until cancelled."""
        await self._loop.run()

    def _pod_changed(self, change: Change) -> None:
        pod = change.object
        namespace = address(pod)[0]
        owner = controller_of(pod)
        if owner is not None:
            if owner["kind"] == "ReplicaSet":
                self._loop.add((namespace, owner["name"]))
            return
        for replica_set in self._view[REPLICA_SETS].list(namespace):
            if _selects(replica_set, pod):
                self._loop.add(address(replica_set))

    async def _reconcile(self, key: tuple[str, str]) -> float | None:
        replica_set = self._view[REPLICA_SETS].get(*key)
        if replica_set is None or is_terminating(replica_set):
            return None
        staying = filter(is_active, self._view[PODS].list(key[0]))
        await claim(self._view, PODS, replica_set, staying, selects=partial(_selects, replica_set))
        pods = self._pods_of(replica_set)
        excess = len(pods) - int(replica_set["spec"].get("replicas") or 0)
        for _ in range(-excess):
            await self._create_pod(replica_set)
        for pod in sorted(pods, key=_usefulness)[: max(0, excess)]:
            await self._delete_pod(replica_set, pod)
        return await self._report(replica_set)

    def _pods_of(self, replica_set: Object) -> list[Object]:
        pods = self._view[PODS].list(replica_set["metadata"]["namespace"])
        return [pod for pod in pods if is_controlled_by(pod, replica_set) and is_active(pod)]

    async def _create_pod(self, replica_set: Object) -> None:
        try:
            pod = await self._view.create(PODS, self._new_pod(replica_set))
        except Rejected as error:
            self._record(replica_set, "Warning", "FailedCreate", f"Error creating: {error}")
            raise
        name = pod["metadata"]["name"]
        self._record(replica_set, "Normal", "SuccessfulCreate", f"Created pod: {name}")

    async def _delete_pod(self, replica_set: Object, pod: Object) -> None:
        await self._view.delete(PODS, pod)
        name = pod["metadata"]["name"]
        self._record(replica_set, "Normal", "SuccessfulDelete", f"Deleted pod: {name}")

    def _new_pod(self, replica_set: Object) -> Object:
        metadata = replica_set["metadata"]
        template = replica_set["spec"]["template"]
        wanted: dict[str, Any] = template.get("metadata") or {}
        base = f"{metadata['name']}-"[:LONGEST_BASE]
        suffix = "".join(self._rng.choice(ALPHABET) for _ in range(SUFFIX))
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "namespace": metadata["namespace"],
                "name": base + suffix,
                "generateName": base,
                "labels": dict(wanted.get("labels") or {}),
                **(
                    {"annotations": dict(wanted["annotations"])}
                    if wanted.get("annotations")
                    else {}
                ),
                "ownerReferences": [owner_reference(replica_set)],
            },
            "spec": template["spec"],
        }

    async def _report(self, replica_set: Object) -> float | None:
        status, wait = _status(replica_set, self._pods_of(replica_set), self._clock.now())
        if status != replica_set.get("status"):
            await self._view.update_status(REPLICA_SETS, {**replica_set, "status": status})
        return wait

    def _record(self, replica_set: Object, severity: Any, reason: str, message: str) -> None:
        self._events.record(replica_set, severity, reason, message, component=COMPONENT)


def _status(
    replica_set: Object, pods: Sequence[Object], now: datetime
) -> tuple[dict[str, Any], float | None]:
    """Return the status, and when it changes next by the passing of time alone."""
    labels = (replica_set["spec"]["template"].get("metadata") or {}).get("labels") or {}
    minimum = int(replica_set["spec"].get("minReadySeconds") or 0)
    waits = [seconds_to_available(pod, minimum, now) for pod in pods]
    labelled = sum(labels.items() <= (pod["metadata"].get("labels") or {}).items() for pod in pods)
    optional = {
        "fullyLabeledReplicas": labelled,
        "readyReplicas": sum(is_ready(pod) for pod in pods),
        "availableReplicas": waits.count(0.0),
    }
    status = {
        "replicas": len(pods),
        "observedGeneration": replica_set["metadata"].get("generation", 1),
        **{name: count for name, count in optional.items() if count},
    }
    return status, min((wait for wait in waits if wait), default=None)


def _selects(replica_set: Object, pod: Object) -> bool:
    selector = read_label_selector(replica_set["spec"]["selector"])
    return selector.matches(pod["metadata"].get("labels"))


def _usefulness(pod: Object) -> tuple[bool, bool, str, str]:
    """Sort the pods to delete first to the front: unassigned, not ready, youngest.

    RFC 3339 text sorts like time; inverting it makes the youngest first.
    """
    created = pod["metadata"].get("creationTimestamp", "")
    youngest_first = "".join(chr(0x10FFF - ord(c)) for c in created)
    assigned = bool(pod["spec"].get("nodeName"))
    return assigned, is_ready(pod), youngest_first, pod["metadata"]["name"]
