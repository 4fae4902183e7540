"""From Deployments to ReplicaSets: rolling updates, revisions, history.

The arithmetic is in `rollout`, the words in `deployment_status`; this module reads and writes.
"""

from collections.abc import Sequence
from typing import Any, Final

from mutua.api.object import DEPLOYMENTS, PODS, REPLICA_SETS, Object
from mutua.cluster.controllers import deployment_status, rollout
from mutua.cluster.controllers.events import EventRecorder
from mutua.cluster.controllers.ownership import (
    controller_of,
    is_controlled_by,
    is_terminating,
    owner_reference,
)
from mutua.cluster.controllers.reconciler import Reconciler
from mutua.cluster.controllers.template_hash import (
    LABEL,
    same_template,
    template_hash,
    with_hash,
)
from mutua.cluster.controllers.view import View
from mutua.foundation.clock import Clock
from mutua.store.mirror import Change, address, uid
from mutua.store.port import AlreadyExists

REVISION: Final = "deployment.kubernetes.io/revision"
DESIRED: Final = "deployment.kubernetes.io/desired-replicas"
MAX: Final = "deployment.kubernetes.io/max-replicas"
NOT_COPIED: Final = frozenset(
    {REVISION, DESIRED, MAX, "kubectl.kubernetes.io/last-applied-configuration"}
)
HISTORY: Final = 10
"""Old ReplicaSets kept for `kubectl rollout undo` (revisionHistoryLimit)."""

COMPONENT: Final = "deployment-controller"


class DeploymentController:
    """Keeps every Deployment's ReplicaSets as its spec says."""

    def __init__(self, view: View, clock: Clock, events: EventRecorder) -> None:
        self._view = view
        self._clock = clock
        self._events = events
        self._loop = Reconciler("deployment", self._reconcile)
        view[DEPLOYMENTS].subscribe(lambda change: self._loop.add(address(change.object)))
        view[REPLICA_SETS].subscribe(self._owner_changed)
        view[PODS].subscribe(self._pod_changed)

    async def run(self) -> None:
        """Work until cancelled."""
        await self._loop.run()

    def _owner_changed(self, change: Change) -> None:
        owner = controller_of(change.object)
        if owner is not None and owner["kind"] == "Deployment":
            self._loop.add((address(change.object)[0], owner["name"]))

    def _pod_changed(self, change: Change) -> None:
        """The Recreate strategy waits for the last old pod to be gone."""
        owner = controller_of(change.object)
        if change.after is None and owner is not None and owner["kind"] == "ReplicaSet":
            namespace = address(change.object)[0]
            owning_set = self._view[REPLICA_SETS].get(namespace, owner["name"])
            if owning_set is not None:
                self._owner_changed(Change(None, owning_set))

    async def _reconcile(self, key: tuple[str, str]) -> float | None:
        deployment = self._view[DEPLOYMENTS].get(*key)
        if deployment is None or is_terminating(deployment):
            return None
        sets = self._sets_of(deployment)
        bounds = rollout.read_bounds(deployment["spec"])
        new = _set_of_template(deployment, sets)
        if not deployment["spec"].get("paused"):
            new = await self._ensure_new(deployment, new, sets)
            deployment = await self._ensure_revision(deployment, new)
            sets = self._sets_of(deployment)
            await self._roll(deployment, new, sets, bounds)
            await self._forget_history(deployment, new, sets)
        elif new is not None and len(sets) == 1:
            await self._resize(deployment, new, bounds.desired, bounds)
        return await self._report(deployment, bounds)

    def _sets_of(self, deployment: Object) -> list[Object]:
        sets = self._view[REPLICA_SETS].list(deployment["metadata"]["namespace"])
        return sorted(
            (s for s in sets if is_controlled_by(s, deployment) and not is_terminating(s)),
            key=lambda s: (_revision(s), s["metadata"]["name"]),
        )

    async def _ensure_new(
        self, deployment: Object, new: Object | None, sets: Sequence[Object]
    ) -> Object:
        newest = max((_revision(s) for s in sets if new is None or uid(s) != uid(new)), default=0)
        if new is None:
            return await self._create_set(deployment, revision=newest + 1)
        copied = _copied_annotations(deployment)
        revision = max(newest + 1, _revision(new))
        annotations = {**new["metadata"].get("annotations", {}), **copied, REVISION: str(revision)}
        if annotations == new["metadata"].get("annotations"):
            return new
        changed = {**new, "metadata": {**new["metadata"], "annotations": annotations}}
        return await self._view.update(REPLICA_SETS, changed)

    async def _create_set(self, deployment: Object, *, revision: int) -> Object:
        status = deployment.get("status") or {}
        replica_set = _new_set(deployment, int(status.get("collisionCount") or 0), revision)
        try:
            return await self._view.create(REPLICA_SETS, replica_set)
        except AlreadyExists:
            namespace, name = address(replica_set)
            there = await self._view.store.get(REPLICA_SETS, namespace, name)
            if is_controlled_by(there, deployment) and same_template(
                there["spec"]["template"], deployment["spec"]["template"]
            ):
                return there
            collisions = int(status.get("collisionCount") or 0) + 1
            await self._view.update_status(
                DEPLOYMENTS, {**deployment, "status": {**status, "collisionCount": collisions}}
            )
            raise

    async def _ensure_revision(self, deployment: Object, new: Object) -> Object:
        annotations = deployment["metadata"].get("annotations") or {}
        revision = str(_revision(new))
        if annotations.get(REVISION) == revision:
            return deployment
        metadata = {**deployment["metadata"], "annotations": {**annotations, REVISION: revision}}
        return await self._view.update(DEPLOYMENTS, {**deployment, "metadata": metadata})

    async def _roll(
        self, deployment: Object, new: Object, sets: Sequence[Object], bounds: rollout.Bounds
    ) -> None:
        old = [s for s in sets if uid(s) != uid(new)]
        if (deployment["spec"].get("strategy") or {}).get("type") == "Recreate":
            for replica_set in old:
                await self._resize(deployment, replica_set, 0, bounds)
            if not any(self._has_pods(s) for s in old):
                await self._resize(deployment, new, bounds.desired, bounds)
            return
        new_size, old_sizes = rollout.next_sizes(bounds, _size(new), [_size(s) for s in old])
        await self._resize(deployment, new, new_size, bounds)
        for replica_set, wanted in zip(old, old_sizes, strict=True):
            await self._resize(deployment, replica_set, wanted, bounds)

    def _has_pods(self, replica_set: Object) -> bool:
        pods = self._view[PODS].list(replica_set["metadata"]["namespace"])
        return any(is_controlled_by(pod, replica_set) for pod in pods)

    async def _resize(
        self, deployment: Object, replica_set: Object, wanted: int, bounds: rollout.Bounds
    ) -> None:
        before = int(replica_set["spec"].get("replicas") or 0)
        annotations = {
            **(replica_set["metadata"].get("annotations") or {}),
            DESIRED: str(bounds.desired),
            MAX: str(bounds.desired + bounds.surge),
        }
        if before == wanted and annotations == replica_set["metadata"].get("annotations"):
            return
        resized = {
            **replica_set,
            "metadata": {**replica_set["metadata"], "annotations": annotations},
            "spec": {**replica_set["spec"], "replicas": wanted},
        }
        await self._view.update(REPLICA_SETS, resized)
        if before != wanted:
            name = replica_set["metadata"]["name"]
            how = "up" if wanted > before else "down"
            message = f"Scaled {how} replica set {name} from {before} to {wanted}"
            self._events.record(
                deployment, "Normal", "ScalingReplicaSet", message, component=COMPONENT
            )

    async def _forget_history(
        self, deployment: Object, new: Object, sets: Sequence[Object]
    ) -> None:
        limit = deployment["spec"].get("revisionHistoryLimit")
        kept = HISTORY if limit is None else int(limit)
        empty = [
            s
            for s in sets
            if uid(s) != uid(new)
            and not s["spec"].get("replicas")
            and not (s.get("status") or {}).get("replicas")
        ]
        for replica_set in empty[: max(0, len(empty) - kept)]:
            await self._view.delete(REPLICA_SETS, replica_set)

    async def _report(self, deployment: Object, bounds: rollout.Bounds) -> float | None:
        sets = self._sets_of(deployment)
        new = _set_of_template(deployment, sets)
        now = self._clock.now()
        status = deployment_status.deployment_status(deployment, new, sets, bounds, now)
        reported = {**deployment, "status": status}
        if status != deployment.get("status"):
            reported = await self._view.update_status(DEPLOYMENTS, reported)
        return deployment_status.seconds_to_deadline(reported, now)


def _set_of_template(deployment: Object, sets: Sequence[Object]) -> Object | None:
    template = deployment["spec"]["template"]
    return next((s for s in sets if same_template(s["spec"]["template"], template)), None)


def _new_set(deployment: Object, collisions: int, revision: int) -> Object:
    spec = deployment["spec"]
    value = template_hash(spec["template"], collisions=collisions)
    selector: dict[str, Any] = dict(spec["selector"])
    selector["matchLabels"] = {**(selector.get("matchLabels") or {}), LABEL: value}
    template = with_hash(spec["template"], value)
    minimum = spec.get("minReadySeconds")
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "namespace": deployment["metadata"]["namespace"],
            "name": f"{deployment['metadata']['name']}-{value}",
            "labels": dict(template["metadata"]["labels"]),
            "annotations": {**_copied_annotations(deployment), REVISION: str(revision)},
            "ownerReferences": [owner_reference(deployment)],
        },
        "spec": {
            "replicas": 0,
            **({"minReadySeconds": minimum} if minimum else {}),
            "selector": selector,
            "template": template,
        },
    }


def _copied_annotations(deployment: Object) -> dict[str, str]:
    annotations = deployment["metadata"].get("annotations") or {}
    return {name: value for name, value in annotations.items() if name not in NOT_COPIED}


def _revision(replica_set: Object) -> int:
    text = (replica_set["metadata"].get("annotations") or {}).get(REVISION, "0")
    return int(text) if text.isdecimal() else 0


def _size(replica_set: Object) -> rollout.Size:
    available = int((replica_set.get("status") or {}).get("availableReplicas") or 0)
    return rollout.Size(int(replica_set["spec"].get("replicas") or 0), available)
