"""What a namespace needs to live, and how it ends.

Alive: the label with its own name, phase Active, the service account `default`.  Terminating:
everything in it is deleted, pods with their grace, and the namespace goes with the last of it.
Source: Kubernetes namespace lifecycle; service account controller.
"""

from collections.abc import Sequence
from typing import Final

from mutua.api.object import (
    DEPLOYMENTS,
    NAMESPACES,
    PODS,
    REPLICA_SETS,
    SERVICE_ACCOUNTS,
    STATEFUL_SETS,
    Object,
    Resource,
)
from mutua.cluster.controllers.ownership import is_terminating
from mutua.cluster.controllers.reconciler import Reconciler
from mutua.cluster.controllers.view import View
from mutua.store.mirror import Change, address
from mutua.store.port import AlreadyExists

NAME_LABEL: Final = "kubernetes.io/metadata.name"
FINALIZER: Final = "kubernetes"
"""Holds a Terminating namespace until it is empty."""

CREATORS: Final = (DEPLOYMENTS, REPLICA_SETS, STATEFUL_SETS, PODS)
"""Deleted first and in this order: what creates goes before what it creates."""

LOOK_AGAIN: Final = 1.0
"""Seconds until a namespace is looked at again that waits for kinds without a mirror."""


class NamespaceController:
    """Furnishes living namespaces, empties dying ones."""

    def __init__(self, view: View, namespaced: Sequence[Resource]) -> None:
        """Follow the view.

        Args:
            view: Mirrors at least namespaces and service accounts.
            namespaced: All namespaced kinds there are.
        """
        self._view = view
        self._kinds = (*CREATORS, *(kind for kind in namespaced if kind not in CREATORS))
        self._loop = Reconciler("namespace", self._reconcile)
        view[NAMESPACES].subscribe(lambda change: self._loop.add(address(change.object)[1]))
        for resource in view.resources:
            if resource in self._kinds:
                view[resource].subscribe(self._content_changed)

    async def run(self) -> None:
        """Work until cancelled."""
        await self._loop.run()

    def _content_changed(self, change: Change) -> None:
        """The last object to go takes a Terminating namespace along; the default account stays."""
        namespace, name = address(change.object)
        if change.after is None:
            found = self._view[NAMESPACES].get("", namespace)
            if found is not None and (is_terminating(found) or name == "default"):
                self._loop.add(namespace)

    async def _reconcile(self, name: str) -> float | None:
        namespace = self._view[NAMESPACES].get("", name)
        if namespace is None:
            return None
        if is_terminating(namespace):
            return await self._empty(namespace)
        await self._furnish(namespace)
        return None

    async def _furnish(self, namespace: Object) -> None:
        name = namespace["metadata"]["name"]
        labels = namespace["metadata"].get("labels") or {}
        if labels.get(NAME_LABEL) != name:
            metadata = {**namespace["metadata"], "labels": {**labels, NAME_LABEL: name}}
            namespace = await self._view.update(NAMESPACES, {**namespace, "metadata": metadata})
        await self._set_phase(namespace, "Active")
        if self._view[SERVICE_ACCOUNTS].get(name, "default") is None:
            account = {
                "apiVersion": "v1",
                "kind": "ServiceAccount",
                "metadata": {"namespace": name, "name": "default"},
            }
            try:
                await self._view.create(SERVICE_ACCOUNTS, account)
            except AlreadyExists:
                return

    async def _set_phase(self, namespace: Object, phase: str) -> Object:
        status = namespace.get("status") or {}
        if status.get("phase") == phase:
            return namespace
        changed = {**namespace, "status": {**status, "phase": phase}}
        return await self._view.update_status(NAMESPACES, changed)

    async def _empty(self, namespace: Object) -> float | None:
        namespace = await self._set_phase(namespace, "Terminating")
        name = namespace["metadata"]["name"]
        for resource in self._kinds:
            for obj in (await self._view.store.list(resource, name)).items:
                if not is_terminating(obj):
                    await self._view.delete(resource, obj)
        for resource in self._kinds:
            if (await self._view.store.list(resource, name)).items:
                return LOOK_AGAIN
        finalizers = [f for f in namespace["metadata"].get("finalizers") or [] if f != FINALIZER]
        metadata = {**namespace["metadata"], "finalizers": finalizers}
        await self._view.update(NAMESPACES, {**namespace, "metadata": metadata})
        return None
