"""Keeping the network's Service table as Services and EndpointSlices say."""

from mutua.api.object import ENDPOINT_SLICES, SERVICES
from mutua.cluster.controllers.reconciler import Reconciler
from mutua.cluster.controllers.view import View
from mutua.cluster.node.ports import Network
from mutua.runtime.network.service_objects import service_table
from mutua.store.mirror import Change


class ServiceRouter:
    """Hands the network a new table whenever one of its sources changes."""

    def __init__(self, view: View, network: Network) -> None:
        self._view = view
        self._network = network
        self._loop: Reconciler[str] = Reconciler("services", self._reconcile)
        self._loop.add("")
        for resource in (SERVICES, ENDPOINT_SLICES):
            view[resource].subscribe(self._changed)

    async def run(self) -> None:
        """Work until cancelled."""
        await self._loop.run()

    def _changed(self, _: Change) -> None:
        self._loop.add("")

    async def _reconcile(self, _: str) -> None:
        table = service_table(self._view[SERVICES].list(), self._view[ENDPOINT_SLICES].list())
        await self._network.services(table)
