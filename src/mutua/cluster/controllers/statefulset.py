"""From StatefulSets to Pods: one after another, each with a name of its own.

The order is in `stateful_plan`, identities in `stateful_pod`, old templates in `revision_history`,
the words in `stateful_status`; this module reads and writes.
"""

from collections.abc import Mapping
from typing import Any, Final

from mutua.api.object import PODS, STATEFUL_SETS, Object
from mutua.api.selectors import read_label_selector
from mutua.cluster.controllers import revision
from mutua.cluster.controllers.claiming import claim
from mutua.cluster.controllers.events import EventRecorder
from mutua.cluster.controllers.ownership import controller_of, is_controlled_by, is_terminating
from mutua.cluster.controllers.pod_facts import is_finished
from mutua.cluster.controllers.reconciler import Reconciler
from mutua.cluster.controllers.revision_history import RevisionHistory, Templates
from mutua.cluster.controllers.stateful_plan import Member, Wish, next_steps
from mutua.cluster.controllers.stateful_pod import (
    identity_labels,
    member_of,
    new_pod,
    ordinal_of,
    pod_name,
    read_wish,
    revision_of,
    seconds_left,
)
from mutua.cluster.controllers.stateful_status import stateful_status
from mutua.cluster.controllers.view import View
from mutua.foundation.clock import Clock
from mutua.foundation.errors import MutuaError
from mutua.store.mirror import Change, address

COMPONENT: Final = "statefulset-controller"

_Pods = Mapping[int, Object]
"""A set's pods by ordinal, those on their way out included."""


class StatefulSetController:
    """Keeps every StatefulSet's pods as its spec says."""

    def __init__(self, view: View, clock: Clock, events: EventRecorder) -> None:
        self._view = view
        self._clock = clock
        self._events = events
        self._history = RevisionHistory(view)
        self._loop = Reconciler("statefulset", self._reconcile)
        view[STATEFUL_SETS].subscribe(lambda change: self._loop.add(address(change.object)))
        view[PODS].subscribe(self._pod_changed)

    async def run(self) -> None:
        """Work until cancelled."""
        await self._loop.run()

    def _pod_changed(self, change: Change) -> None:
        namespace = address(change.object)[0]
        owner = controller_of(change.object)
        if owner is not None:
            if owner["kind"] == "StatefulSet":
                self._loop.add((namespace, owner["name"]))
            return
        for stateful_set in self._view[STATEFUL_SETS].list(namespace):
            if _selects(stateful_set, change.object):
                self._loop.add(address(stateful_set))

    async def _reconcile(self, key: tuple[str, str]) -> float | None:
        stateful_set = self._view[STATEFUL_SETS].get(*key)
        if stateful_set is None or is_terminating(stateful_set):
            return None
        await self._claim_pods(stateful_set)
        templates = await self._history.templates(stateful_set)
        wish = read_wish(stateful_set, revision.name_of(templates.newest))
        failure = await self._step(stateful_set, wish, templates)
        stateful_set = await self._report(stateful_set, wish, templates)
        await self._forget_history(stateful_set)
        if failure is not None:
            raise failure
        return self._seconds_to_next_look(stateful_set)

    async def _claim_pods(self, stateful_set: Object) -> None:
        def selects(pod: Object) -> bool:
            return ordinal_of(stateful_set, pod) is not None and _selects(stateful_set, pod)

        pods = self._view[PODS].list(stateful_set["metadata"]["namespace"])
        staying = [pod for pod in pods if not is_terminating(pod)]
        await claim(self._view, PODS, stateful_set, staying, selects=selects)

    def _pods_of(self, stateful_set: Object) -> _Pods:
        pods = self._view[PODS].list(stateful_set["metadata"]["namespace"])
        mine = (pod for pod in pods if is_controlled_by(pod, stateful_set))
        found = ((ordinal_of(stateful_set, pod), pod) for pod in mine)
        return {ordinal: pod for ordinal, pod in found if ordinal is not None}

    async def _step(
        self, stateful_set: Object, wish: Wish, templates: Templates
    ) -> MutuaError | None:
        """Create and delete what is due now; return what went wrong, to be said in the status."""
        pods = self._pods_of(stateful_set)
        steps = next_steps(wish, self._members(stateful_set, pods))
        try:
            for ordinal, pod in pods.items():
                await self._restore_labels(stateful_set, ordinal, pod)
            for ordinal in steps.create:
                made_from = templates.current if wish.keeps(ordinal) else templates.newest
                await self._create_pod(stateful_set, ordinal, made_from)
            for ordinal in steps.delete:
                await self._delete_pod(stateful_set, pods[ordinal])
        except MutuaError as error:
            return error
        return None

    async def _restore_labels(self, stateful_set: Object, ordinal: int, pod: Object) -> None:
        labels = pod["metadata"].get("labels") or {}
        identity = identity_labels(stateful_set, ordinal)
        if is_terminating(pod) or identity.items() <= labels.items():
            return
        metadata = {**pod["metadata"], "labels": labels | identity}
        await self._view.update(PODS, {**pod, "metadata": metadata})

    async def _create_pod(self, stateful_set: Object, ordinal: int, made_from: Object) -> None:
        what = _what("create", pod_name(stateful_set, ordinal), stateful_set)
        pod = new_pod(
            stateful_set,
            ordinal,
            revision.template_of(made_from),
            revision=revision.name_of(made_from),
        )
        try:
            await self._view.create(PODS, pod)
        except MutuaError as error:
            self._record(stateful_set, "Warning", "FailedCreate", f"{what} failed error: {error}")
            raise
        self._record(stateful_set, "Normal", "SuccessfulCreate", f"{what} successful")

    async def _delete_pod(self, stateful_set: Object, pod: Object) -> None:
        name = pod["metadata"]["name"]
        if is_finished(pod):
            namespace, owner = address(stateful_set)
            message = f"StatefulSet {namespace}/{owner} is recreating terminated Pod {name}"
            self._record(stateful_set, "Normal", "RecreatingTerminatedPod", message)
        await self._view.delete(PODS, pod)
        what = _what("delete", name, stateful_set)
        self._record(stateful_set, "Normal", "SuccessfulDelete", f"{what} successful")

    async def _report(self, stateful_set: Object, wish: Wish, templates: Templates) -> Object:
        members = self._members(stateful_set, self._pods_of(stateful_set))
        current = revision.name_of(templates.current)
        status = stateful_status(stateful_set, wish, members, current=current)
        if status == stateful_set.get("status"):
            return stateful_set
        changed = {**stateful_set, "status": status}
        return await self._view.update_status(STATEFUL_SETS, changed)

    async def _forget_history(self, stateful_set: Object) -> None:
        status, pods = stateful_set["status"], self._pods_of(stateful_set).values()
        used = {status["currentRevision"], status["updateRevision"], *map(revision_of, pods)}
        await self._history.forget(stateful_set, used)

    def _members(self, stateful_set: Object, pods: _Pods) -> list[Member]:
        now = self._clock.now()
        return [member_of(stateful_set, ordinal, pod, now) for ordinal, pod in pods.items()]

    def _seconds_to_next_look(self, stateful_set: Object) -> float | None:
        """Return when time alone makes a pod available."""
        pods, now = self._pods_of(stateful_set).values(), self._clock.now()
        waits = [seconds_left(stateful_set, pod, now) for pod in pods]
        return min((wait for wait in waits if wait), default=None)

    def _record(self, stateful_set: Object, severity: Any, reason: str, message: str) -> None:
        self._events.record(stateful_set, severity, reason, message, component=COMPONENT)


def _selects(stateful_set: Object, pod: Object) -> bool:
    selector = read_label_selector(stateful_set["spec"]["selector"])
    return selector.matches(pod["metadata"].get("labels"))


def _what(verb: str, name: str, stateful_set: Object) -> str:
    """Begin an event's message as Kubernetes does."""
    return f"{verb} Pod {name} in StatefulSet {stateful_set['metadata']['name']}"
