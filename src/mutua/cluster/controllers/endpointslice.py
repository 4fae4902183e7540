"""From Services and Pods to EndpointSlices: reads and writes; `endpoints` decides."""

from mutua.api.object import ENDPOINT_SLICES, PODS, SERVICES, Object
from mutua.cluster.controllers.endpoints import (
    CONTROLLER,
    MANAGED_BY,
    SERVICE_NAME,
    endpoint_slices,
    selects,
)
from mutua.cluster.controllers.ownership import is_terminating
from mutua.cluster.controllers.reconciler import Reconciler
from mutua.cluster.controllers.view import View
from mutua.store.mirror import Change, address

COMPARED = ("addressType", "endpoints", "ports")


class EndpointSliceController:
    """Keeps the slices of every Service with a selector as its pods are."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._loop = Reconciler("endpointslice", self._reconcile)
        view[SERVICES].subscribe(lambda change: self._loop.add(address(change.object)))
        view[PODS].subscribe(self._pod_changed)
        view[ENDPOINT_SLICES].subscribe(self._slice_changed)

    async def run(self) -> None:
        """Work until cancelled."""
        await self._loop.run()

    def _pod_changed(self, change: Change) -> None:
        for service in self._view[SERVICES].list(address(change.object)[0]):
            if any(pod and selects(service, pod) for pod in (change.before, change.after)):
                self._loop.add(address(service))

    def _slice_changed(self, change: Change) -> None:
        """Somebody else's edit is put right."""
        name = (change.object["metadata"].get("labels") or {}).get(SERVICE_NAME)
        if name and _is_ours(change.object):
            self._loop.add((address(change.object)[0], name))

    async def _reconcile(self, key: tuple[str, str]) -> None:
        service = self._view[SERVICES].get(*key)
        if service is None or is_terminating(service):
            return  # the garbage collector takes the slices
        present = {s["metadata"]["name"]: s for s in self._slices_of(key)}
        wanted: list[Object] = []
        if service["spec"].get("selector") and service["spec"].get("type") != "ExternalName":
            wanted = endpoint_slices(service, self._view[PODS].list(key[0]))
        for wish in wanted:
            await self._bring(present.pop(wish["metadata"]["name"], None), wish)
        for left in present.values():
            await self._view.delete(ENDPOINT_SLICES, left)

    def _slices_of(self, key: tuple[str, str]) -> list[Object]:
        return [
            s
            for s in self._view[ENDPOINT_SLICES].list(key[0])
            if _is_ours(s) and s["metadata"]["labels"].get(SERVICE_NAME) == key[1]
        ]

    async def _bring(self, there: Object | None, wish: Object) -> None:
        if there is None:
            await self._view.create(ENDPOINT_SLICES, wish)
            return
        metadata = {
            **there["metadata"],
            "labels": wish["metadata"]["labels"],
            "ownerReferences": wish["metadata"]["ownerReferences"],
        }
        changed = {**there, **{field: wish[field] for field in COMPARED}, "metadata": metadata}
        if changed != there:
            await self._view.update(ENDPOINT_SLICES, changed)


def _is_ours(endpoint_slice: Object) -> bool:
    return (endpoint_slice["metadata"].get("labels") or {}).get(MANAGED_BY) == CONTROLLER
