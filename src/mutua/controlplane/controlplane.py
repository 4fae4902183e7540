"""From objects to proxies: follow the store, build the mesh, compile it, push what differs.

    store ── mirrors ──> objects ── build_snapshot ──> MeshSnapshot ── Compiler ──> Feed per proxy
                                                          │               ^            │
                                       what users want    v               │ stage      │ ACK, NACK
                                                      Quarantine ──> Rollout <─────────┤
                                                                                       v
                     status of policies and rules <── StatusWriter <── Receipts <── Progress

Policies and rules take the way through the middle: what proxies refuse is held back, and a change
of modes is given out in an order.  Everything else flows at once, with the stage of the moment.

There is no debounce interval.  A change sets a flag; the loop that waits for the flag lets the
event loop deliver what else is ready, and then takes everything at once.  While it works, further
changes gather: the busier the mesh, the larger the steps.  A proxy that is slow skips steps (see
`xds.session`).

Generations number the pushed states of the mesh.  Every proxy's progress is a generation.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Final

from mutua.api.object import (
    DESTINATION_RULES,
    PEER_AUTHENTICATIONS,
    SERVICES,
    Key,
    Object,
    Resource,
)
from mutua.controlplane.enforcement import why
from mutua.controlplane.epoch import Epoch
from mutua.controlplane.mesh_config import LiveSettings, Report
from mutua.controlplane.port_conflicts import PortConflicts
from mutua.controlplane.quarantine import Quarantine, Refusal
from mutua.controlplane.receipts import Receipts, state_of
from mutua.controlplane.remarks import Remarks
from mutua.controlplane.rollout import Rollout
from mutua.controlplane.rollout_proxy import SETTLE
from mutua.controlplane.status import StatusWriter
from mutua.controlplane.sync_status import GenericXdsConfig, sync_status
from mutua.foundation.clock import Clock
from mutua.lifecycle.supervisor import Ready
from mutua.model.build import INPUTS, BuildMemo, build_snapshot
from mutua.model.settings import MeshSettings
from mutua.model.snapshot import MeshSnapshot
from mutua.store.mirror import Change, Mirror
from mutua.store.port import ObjectStore
from mutua.xds.compile import Compiler
from mutua.xds.compile.names import VIRTUAL_INBOUND
from mutua.xds.feed import Feed, Progress
from mutua.xds.resource import is_shaped_by
from mutua.xds.subscription import Rejection

BREATH: Final = 32
"""Proxies pushed to between two turns of the event loop: about a millisecond of work."""

POLICIES: Final = (PEER_AUTHENTICATIONS, DESTINATION_RULES)
"""The kinds that are rolled out in an order, and that have a status."""

MOST_TOLD: Final = 8
"""Refusals of one proxy that become Events: one that refuses everything tells about itself."""

log = logging.getLogger(__name__)


class ControlPlane:
    """The control plane of one mesh.

    Attributes:
        generation: Number of the last pushed state; 0 before the first.
        snapshot: The last pushed state, None before the first.
        receipts: What proxies have made of policies and rules.
        remarks: What of them has no effect.
        conflicts: Services that do not fit together.
        on_state: Told the state that proxies are about to be given.
    """

    def __init__(
        self,
        store: ObjectStore,
        *,
        clock: Clock,
        settings: LiveSettings | None = None,
        report: Report = lambda *_: None,
        rollout: Rollout | None = None,
    ) -> None:
        """Prepare; nothing happens before `run`.

        Args:
            store: Where the objects are.
            clock: Wall time.
            settings: Of the mesh, followed; None for the defaults.
            report: Told what happened to an object, for an Event.
            rollout: Where to go on; None for the beginning.
        """
        self.generation = 0
        self.snapshot: MeshSnapshot | None = None
        self.on_state: Callable[[MeshSnapshot], None] = lambda _state: None
        self._settings = settings or LiveSettings()
        self._pushed = 0
        self._published: MeshSettings | None = None
        self._settings_since = 0
        self._report = report
        self._changed = asyncio.Event()
        self._settings.subscribe(self._changed.set)
        self._news = asyncio.Event()
        self._mirrors = {kind: Mirror(store, kind) for kind in INPUTS}
        for kind, mirror in self._mirrors.items():
            mirror.subscribe(self._note_policy if kind in POLICIES else self._note)
        self._memo = BuildMemo()
        self._compiler = Compiler()
        self._feeds: dict[str, Feed] = {}
        self._quarantine = Quarantine()
        self._rollout = rollout or Rollout()
        self._epoch: Epoch | None = None
        self._given: MeshSnapshot | None = None
        self.receipts = Receipts(self._rollout, self._quarantine, self._feeds, _now)
        self.remarks = Remarks(lambda kind, namespace: self._mirrors[kind].list(namespace))
        self.conflicts = PortConflicts(self._mirrors[SERVICES].get, report)
        self._status = StatusWriter(store, self, clock)
        self._knows_proxies = True
        self._status_due = 0.0
        self._status_timer: asyncio.TimerHandle | None = None

    async def run(self, ready: Ready) -> None:
        """Serve until cancelled; ready once the mesh is known and compiled."""
        async with asyncio.TaskGroup() as group:
            for mirror in self._mirrors.values():
                group.create_task(mirror.run(), name=f"mirror {mirror.resource}")
            for mirror in self._mirrors.values():
                await mirror.wait_synced()
            await self._push()
            self._changed.set()  # the first epoch may be that of an earlier life
            group.create_task(self._follow(), name="push")
            group.create_task(self._status.run(), name="status")
            ready()

    @property
    def knows_proxies(self) -> bool:
        """Whether every proxy there is has been added; nothing is called in force before."""
        return self._knows_proxies

    @knows_proxies.setter
    def knows_proxies(self, known: bool) -> None:
        self._knows_proxies = known
        self._status.wake()

    def reconsider_status(self) -> None:
        """Note that what is remarked on policies and rules may have changed."""
        self._status.wake()

    def add(self, pod_uid: str, name: str = "") -> Feed:
        """Start to serve the proxy of a pod, and return its feed; the same one until `remove`.

        Args:
            pod_uid: The pod's uid; the pod may be unknown yet, and is served once it is known.
            name: `pod.namespace`, for logs; the uid when not given.
        """
        feed = self._feeds.get(pod_uid)
        if feed is None:
            feed = Feed(
                name or pod_uid,
                on_progress=partial(self._progressed, pod_uid),
                on_rejection=partial(self._refused, pod_uid),
            )
            self._feeds[pod_uid] = feed
            self._rollout.add(pod_uid)
            self._publish(pod_uid, feed)
            self._status.wake()
        return feed

    def remove(self, pod_uid: str) -> None:
        """Stop to count a pod's proxy; its streams, if any, get nothing new."""
        if self._feeds.pop(pod_uid, None) is not None:
            self._rollout.remove(pod_uid)
            self._quarantine.gone(pod_uid)
            self._changed.set()
            self._status.wake()

    def is_ready(self, pod_uid: str) -> bool:
        """Tell whether a pod's proxy has confirmed clusters and listeners."""
        feed = self._feeds.get(pod_uid)
        return feed is not None and feed.progress.acknowledged > 0

    def sync_status(self) -> dict[str, list[GenericXdsConfig]]:
        """Return, by pod uid, what each proxy has made of what it was sent."""
        refused = self._quarantine.refused_by
        return {uid: sync_status(feed, refused(uid)) for uid, feed in self._feeds.items()}

    @property
    def connected(self) -> int:
        """Number of proxies that are connected."""
        return sum(feed.progress.connected for feed in self._feeds.values())

    async def wait_pushed(self, after: int) -> int:
        """Return the next generation after one, once every proxy has been given it."""
        while self._pushed <= after:
            self._news.clear()
            await self._news.wait()
        return self._pushed

    async def wait_followed(self) -> None:
        """Return once every connected proxy has confirmed a state made with the settings of now."""
        while not self._is_followed():
            self._news.clear()
            await self._news.wait()

    @property
    def policies(self) -> Mapping[Key, Object]:
        """Every PeerAuthentication and DestinationRule as stored."""
        return {
            Key(kind, obj["metadata"].get("namespace") or "", obj["metadata"]["name"]): obj
            for kind in POLICIES
            for obj in self._mirrors[kind].list()
        }

    def _is_followed(self) -> bool:
        return self._published is self._settings.current and all(
            feed.progress.acknowledged >= min(self._settings_since, feed.generation)
            for feed in self._feeds.values()
            if feed.progress.connected
        )

    def _note(self, _change: Change) -> None:
        self._changed.set()

    def _note_policy(self, change: Change) -> None:
        before, after = change.before, change.after
        if before is None or after is None or state_of(before) != state_of(after):
            self._changed.set()
        else:
            # Its status, which nobody is given; what others wrote there is put right.
            self._status.wake()

    def _progressed(self, uid: str, progress: Progress) -> None:
        self._news.set()
        if self._epoch is None or uid not in self._feeds:
            return
        self._take_note(uid, progress)
        self._wake_status_at(_now() + SETTLE)

    def _take_note(self, uid: str, progress: Progress) -> None:
        """Draw conclusions from what a proxy has confirmed and refused."""
        generation = self._feeds[uid].confirmed_as_of
        can_go_on = self._rollout.report(
            uid,
            generation=generation,
            refuses=any(one.name == VIRTUAL_INBOUND for one in progress.rejections),
            now=_now(),
        )
        released = self._quarantine.confirmed(uid, generation, progress.origins)
        if can_go_on or released:
            self._changed.set()

    def _wake_status_at(self, due: float) -> None:
        """A confirmation counts only later, and then changes what is true."""
        self._status_due = due
        if self._status_timer is None:
            loop = asyncio.get_running_loop()
            self._status_timer = loop.call_at(due, self._wake_status)

    def _wake_status(self) -> None:
        self._status_timer = None
        self._rollout.save(_now())
        self._status.wake()
        if self._status_due > _now():
            self._wake_status_at(self._status_due)

    def _refused(self, uid: str, rejection: Rejection) -> None:
        """Find out whose fault it is that a proxy refused something."""
        workload = self.snapshot.workloads.get(uid) if self.snapshot is not None else None
        if workload is None:
            return
        name = f"{workload.name}.{workload.namespace}"
        account = f"{workload.namespace}/{workload.service_account}"
        what = rejection.name, rejection.message, self.generation, rejection.type_url
        refusal = Refusal(name, account, *what)
        blamed = self._quarantine.refused(
            uid, refusal, rejection.origins, for_files=rejection.for_files
        )
        case = self._quarantine.case(blamed) if blamed is not None else None
        if blamed is None or case is None:
            return
        if len(case.refusals) == 1 and self._quarantine.refusals_of(uid) <= MOST_TOLD:
            self._tell(blamed, f"{name} refused {rejection.name}: {why(refusal)}")
        self._changed.set()

    def _examine(self) -> None:
        """Find out, for what was refused first now, whom it concerns and who has it already."""
        for key in self._quarantine.unexamined():
            concerned = {
                uid: feed.progress
                for uid, feed in self._feeds.items()
                if is_shaped_by(feed.resources, key)
            }
            self._quarantine.examine(key, concerned)
            for uid, progress in concerned.items():
                self._quarantine.confirmed(uid, progress.acknowledged, progress.origins)

    def _tell(self, key: Key, message: str) -> None:
        """Log a refusal, and make an Event of it."""
        obj = self._mirrors[key.resource].get(key.namespace, key.name)
        what = f"{key.resource} {key.namespace}/{key.name}"
        log.warning("policy refused", extra={"policy": what, "reason": message})
        if obj is not None:
            self._report(obj, "Warning", "RejectedByProxy", message)

    async def _follow(self) -> None:
        while True:
            try:
                async with asyncio.timeout_at(self._due()):
                    await self._changed.wait()
            except TimeoutError:
                pass  # nothing happened, and that is what was waited for
            # One turn of the loop: events that are ready now belong to the same step.
            await asyncio.sleep(0)
            await self._push()

    def _due(self) -> float | None:
        """Return when there may be something to do although nothing happens."""
        now = _now()
        open_to = self._quarantine.open_to(self._rollout.waited_for(now))
        times = (
            self._rollout.due,
            self._rollout.next_left_behind(now),
            *(self._rollout.deadline(uid) for uid in open_to),
        )
        return min((time for time in times if time is not None), default=None)

    async def _push(self) -> None:
        """Bring every feed to the present state of the objects, as far as it is its time."""
        self._changed.clear()
        objects: dict[Resource, list[Object]] = {
            kind: mirror.list() for kind, mirror in self._mirrors.items()
        }
        snapshot = build_snapshot(objects, self._settings.current, memo=self._memo)
        epoch = self._advance(snapshot)
        before = self.snapshot
        is_news = epoch is not self._epoch or before is None or not snapshot.has_parts_of(before)
        if is_news:
            self._take(snapshot, epoch)
        self.receipts.note(self.policies)
        if is_news:
            for number, (uid, feed) in enumerate(tuple(self._feeds.items()), start=1):
                self._publish(uid, feed)
                if number % BREATH == 0:
                    await asyncio.sleep(0)
        self._pushed, self._published = self.generation, snapshot.settings
        self._status.wake()
        self._news.set()

    def _advance(self, snapshot: MeshSnapshot) -> Epoch:
        """Return the epoch that is next, now that users want this."""
        now = _now()
        self._examine()
        self._quarantine.files_changed(snapshot.other_files(self.snapshot))
        for key in self._quarantine.judge(self._rollout.waited_for(now), self.generation):
            self._tell(key, "held back: every proxy that has answered refused it")
        policies, rules = self._quarantine.admit(
            snapshot.peer_authentications, snapshot.destination_rules
        )
        self._rollout.aim(policies, rules, snapshot.settings.root_namespace)
        return self._rollout.advance(snapshot.workloads, now)

    def _take(self, snapshot: MeshSnapshot, epoch: Epoch) -> None:
        """Make this the state that is published."""
        self.generation += 1
        if self.snapshot is None or self.snapshot.settings is not snapshot.settings:
            self._settings_since = self.generation
        self.snapshot, self._epoch = snapshot, epoch
        policies, rules = epoch.target.policies, epoch.dial.rules
        self._given = replace(snapshot, peer_authentications=policies, destination_rules=rules)
        self.on_state(self._given)
        self._rollout.published(self.generation, _now())
        self._quarantine.published(self.generation, policies, rules)

    def _publish(self, uid: str, feed: Feed) -> None:
        if self._given is None or self._epoch is None or uid not in self._given.workloads:
            return
        resources = self._compiler.compile(self._given, uid, self._epoch.stage)
        if resources is not feed.resources:
            feed.publish(resources, self.generation)
            return
        feed.as_of = self.generation
        if feed.progress.acknowledged >= feed.generation:
            self._take_note(uid, feed.progress)


def _now() -> float:
    return asyncio.get_running_loop().time()
