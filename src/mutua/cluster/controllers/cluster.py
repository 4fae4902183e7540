"""All controllers of the embedded cluster, run together over one view of the store."""

import asyncio
import random
from collections.abc import Sequence
from typing import Final

from mutua.api.object import (
    CONFIG_MAPS,
    CONTROLLER_REVISIONS,
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    NAMESPACES,
    PODS,
    REPLICA_SETS,
    SECRETS,
    SERVICE_ACCOUNTS,
    SERVICE_ENTRIES,
    SERVICES,
    STATEFUL_SETS,
    WORKLOAD_CERTIFICATES,
    Resource,
)
from mutua.cluster.controllers.deployment import DeploymentController
from mutua.cluster.controllers.endpointslice import EndpointSliceController
from mutua.cluster.controllers.entry_address import EntryAddressController
from mutua.cluster.controllers.events import EventRecorder
from mutua.cluster.controllers.garbage import GarbageCollector
from mutua.cluster.controllers.namespace import NamespaceController
from mutua.cluster.controllers.replicaset import ReplicaSetController
from mutua.cluster.controllers.statefulset import StatefulSetController
from mutua.cluster.controllers.view import View
from mutua.foundation.clock import Clock
from mutua.store.port import ObjectStore

FOLLOWED: Final = (
    NAMESPACES, PODS, SERVICES, SERVICE_ACCOUNTS, SECRETS, CONFIG_MAPS, DEPLOYMENTS,
    REPLICA_SETS, STATEFUL_SETS, CONTROLLER_REVISIONS, ENDPOINT_SLICES, SERVICE_ENTRIES,
    WORKLOAD_CERTIFICATES,
)  # fmt: skip
"""Kinds that controllers and node keep in memory."""


class Controllers:
    """The controllers, and what they share with the node: the view and the event recorder."""

    def __init__(
        self,
        store: ObjectStore,
        clock: Clock,
        *,
        namespaced: Sequence[Resource],
        rng: random.Random,
    ) -> None:
        """Nothing runs yet.

        Args:
            store: The registry, so that what controllers create is admitted like anybody's.
            clock: Wall-clock time of conditions and events.
            namespaced: All namespaced kinds: what goes with a namespace.
            rng: Source of the random part of pod names.
        """
        self.view = View(store, FOLLOWED)
        self.events = EventRecorder(store, clock)
        self._clock = clock
        self._namespaced = namespaced
        self._rng = rng

    async def run(self) -> None:
        """Control until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.view.run(), name="view")
            await self.view.wait_synced()
            group.create_task(self.events.run(), name="events")
            for controller in self._controllers():
                group.create_task(controller.run(), name=type(controller).__name__)

    def _controllers(
        self,
    ) -> tuple[
        NamespaceController,
        DeploymentController,
        ReplicaSetController,
        StatefulSetController,
        EndpointSliceController,
        EntryAddressController,
        GarbageCollector,
    ]:
        return (
            NamespaceController(self.view, self._namespaced),
            DeploymentController(self.view, self._clock, self.events),
            ReplicaSetController(self.view, self._clock, self.events, self._rng),
            StatefulSetController(self.view, self._clock, self.events),
            EndpointSliceController(self.view),
            EntryAddressController(self.view),
            GarbageCollector(self.view),
        )
