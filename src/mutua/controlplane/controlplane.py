"""From objects to proxies: follow the store, build the mesh, compile it, push what differs.

    store ── mirrors ──> objects ── build_snapshot ──> MeshSnapshot ── Compiler ──> Feed per proxy
                                                                                       │
    PeerAuthentication.status <── StatusWriter <── Progress (ACK, NACK) <──────────────┘

There is no debounce interval.  A change sets a flag; the loop that waits for the flag lets the
event loop deliver what else is ready, and then takes everything at once.  While it works, further
changes gather: the busier the mesh, the larger the steps.  A proxy that is slow skips steps (see
`xds.session`).

Generations number the pushed states of the mesh.  Every proxy's progress is a generation, so "is
this policy in force there?" is a comparison of two integers.
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import fields
from typing import Final

from mutua.api.object import PEER_AUTHENTICATIONS, Object, Resource
from mutua.controlplane.enforcement import ProxyState
from mutua.controlplane.mesh_config import LiveSettings
from mutua.controlplane.status import StatusWriter
from mutua.foundation.clock import Clock
from mutua.lifecycle.supervisor import Ready
from mutua.model.build import INPUTS, BuildMemo, build_snapshot
from mutua.model.settings import MeshSettings
from mutua.model.snapshot import MeshSnapshot
from mutua.store.mirror import Address, Change, Mirror, address
from mutua.store.port import ObjectStore
from mutua.xds.compile import Compiler
from mutua.xds.feed import Feed, Progress

BREATH: Final = 32
"""Proxies pushed to between two turns of the event loop: about a millisecond of work."""

log = logging.getLogger(__name__)


class ControlPlane:
    """The control plane of one mesh.

    Attributes:
        generation: Number of the last pushed state; 0 before the first.
        snapshot: The last pushed state, None before the first.
    """

    def __init__(
        self, store: ObjectStore, *, clock: Clock, settings: LiveSettings | None = None
    ) -> None:
        """Prepare; nothing happens before `run`.

        Args:
            store: Where the objects are.
            clock: Wall time.
            settings: Of the mesh, followed; None for the defaults.
        """
        self.generation = 0
        self.snapshot: MeshSnapshot | None = None
        self._settings = settings or LiveSettings()
        self._published: MeshSettings | None = None
        self._settings_since = 0
        self._changed = asyncio.Event()
        self._settings.subscribe(self._changed.set)
        self._news = asyncio.Event()
        self._mirrors = {kind: Mirror(store, kind) for kind in INPUTS}
        for mirror in self._mirrors.values():
            mirror.subscribe(self._note)
        self._memo = BuildMemo()
        self._compiler = Compiler()
        self._feeds: dict[str, Feed] = {}
        self._seen: dict[Address, tuple[str, int, int]] = {}
        self._status = StatusWriter(store, self, clock, self._settings)

    async def run(self, ready: Ready) -> None:
        """Serve until cancelled; ready once the mesh is known and compiled."""
        async with asyncio.TaskGroup() as group:
            for mirror in self._mirrors.values():
                group.create_task(mirror.run(), name=f"mirror {mirror.resource}")
            for mirror in self._mirrors.values():
                await mirror.wait_synced()
            await self._push()
            group.create_task(self._follow(), name="push")
            group.create_task(self._status.run(), name="status")
            ready()

    def add(self, pod_uid: str, name: str = "") -> Feed:
        """Start to serve the proxy of a pod, and return its feed; the same one until `remove`.

        Args:
            pod_uid: The pod's uid; the pod may be unknown yet, and is served once it is known.
            name: `pod.namespace`, for logs; the uid when not given.
        """
        feed = self._feeds.get(pod_uid)
        if feed is None:
            feed = Feed(name or pod_uid, on_progress=self._progressed)
            self._feeds[pod_uid] = feed
            self._publish(pod_uid, feed)
            self._status.wake()
        return feed

    def remove(self, pod_uid: str) -> None:
        """Stop to count a pod's proxy; its streams, if any, get nothing new."""
        if self._feeds.pop(pod_uid, None) is not None:
            self._status.wake()

    def is_ready(self, pod_uid: str) -> bool:
        """Tell whether a pod's proxy has confirmed clusters and listeners."""
        feed = self._feeds.get(pod_uid)
        return feed is not None and feed.progress.acknowledged > 0

    async def wait_followed(self) -> None:
        """Return once every connected proxy has confirmed a state made with the settings of now."""
        while not self._is_followed():
            self._news.clear()
            await self._news.wait()

    @property
    def policies(self) -> Mapping[Address, Object]:
        """The PeerAuthentications that the last pushed state contains, as stored."""
        return {address(obj): obj for obj in self._mirrors[PEER_AUTHENTICATIONS].list()}

    def since(self, policy: Object) -> int | None:
        """Return the generation that first contained this state of a policy, None before it."""
        metadata = policy["metadata"]
        seen = self._seen.get(address(policy))
        if seen is None or seen[:2] != (metadata.get("uid"), metadata.get("generation")):
            return None
        return seen[2]

    def proxies(self) -> list[ProxyState]:
        """Return the proxies of the pods that are in the mesh, and how far each is."""
        workloads = self.snapshot.workloads if self.snapshot else {}
        return [
            ProxyState(workloads[uid], feed.progress)
            for uid, feed in self._feeds.items()
            if uid in workloads
        ]

    def _is_followed(self) -> bool:
        return self._published is self._settings.current and all(
            feed.progress.acknowledged >= min(self._settings_since, feed.generation)
            for feed in self._feeds.values()
            if feed.progress.connected
        )

    def _note(self, _change: Change) -> None:
        self._changed.set()

    def _progressed(self, _progress: Progress) -> None:
        self._status.wake()
        self._news.set()

    async def _follow(self) -> None:
        while True:
            await self._changed.wait()
            # One turn of the loop: events that are ready now belong to the same step.
            await asyncio.sleep(0)
            await self._push()

    async def _push(self) -> None:
        """Bring every feed to the present state of the objects."""
        self._changed.clear()
        objects: dict[Resource, list[Object]] = {
            kind: mirror.list() for kind, mirror in self._mirrors.items()
        }
        snapshot = build_snapshot(objects, self._settings.current, memo=self._memo)
        is_news = self.snapshot is None or not _same(self.snapshot, snapshot)
        if is_news:
            before, self.snapshot = self.snapshot, snapshot
            self.generation += 1
            if before is None or before.settings is not snapshot.settings:
                self._settings_since = self.generation
        self._note_policies()
        if is_news:
            for number, (uid, feed) in enumerate(tuple(self._feeds.items()), start=1):
                self._publish(uid, feed)
                if number % BREATH == 0:
                    await asyncio.sleep(0)
        self._published = snapshot.settings
        self._status.wake()
        self._news.set()

    def _publish(self, uid: str, feed: Feed) -> None:
        if self.snapshot is None or uid not in self.snapshot.workloads:
            return
        feed.publish(self._compiler.compile(self.snapshot, uid), self.generation)

    def _note_policies(self) -> None:
        """Remember with which generation each state of a policy came."""
        before, self._seen = self._seen, {}
        for key, policy in self.policies.items():
            metadata = policy["metadata"]
            state = (metadata.get("uid", ""), metadata.get("generation", 0))
            known = before.get(key)
            is_known = known is not None and known[:2] == state
            self._seen[key] = known if known and is_known else (*state, self.generation)


def _same(left: MeshSnapshot, right: MeshSnapshot) -> bool:
    """Tell whether a new snapshot consists of the old one's parts.

    Most changes of objects (a pod's conditions, our own status) do not change the mesh.
    """
    return all(
        getattr(left, part.name) is getattr(right, part.name) for part in fields(MeshSnapshot)
    )
