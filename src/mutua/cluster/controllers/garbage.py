"""What goes when its owner goes?  Garbage collection by owner references.

Background deletion is the rule: the owner goes, then its dependents.  The finalizers
`foregroundDeletion` and `orphan`, which the API server sets for `kubectl delete --cascade=…`,
make the owner wait until the dependents are gone, or are nobody's.  Source: Kubernetes "Garbage
Collection".
"""

from functools import partial
from typing import Final

from mutua.api.object import (
    CONFIG_MAPS,
    CONTROLLER_REVISIONS,
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    PODS,
    REPLICA_SETS,
    SECRETS,
    SERVICE_ACCOUNTS,
    SERVICES,
    STATEFUL_SETS,
    WORKLOAD_CERTIFICATES,
    Object,
    Resource,
)
from mutua.cluster.controllers.ownership import is_terminating, owners
from mutua.cluster.controllers.reconciler import Reconciler
from mutua.cluster.controllers.view import View
from mutua.store.mirror import Change, address, uid
from mutua.store.port import NotFound

OWNERS: Final = {
    "Deployment": DEPLOYMENTS,
    "ReplicaSet": REPLICA_SETS,
    "StatefulSet": STATEFUL_SETS,
    "Pod": PODS,
    "Service": SERVICES,
    "ServiceAccount": SERVICE_ACCOUNTS,
    "ConfigMap": CONFIG_MAPS,
    "Secret": SECRETS,
}
"""Kinds that can own; dependents of any other kind are left alone."""

DEPENDENTS: Final = (
    REPLICA_SETS, PODS, ENDPOINT_SLICES, SERVICES, CONFIG_MAPS, SECRETS, DEPLOYMENTS,
    STATEFUL_SETS, CONTROLLER_REVISIONS, WORKLOAD_CERTIFICATES,
)  # fmt: skip
"""Kinds that are collected."""

FOREGROUND: Final = "foregroundDeletion"
ORPHAN: Final = "orphan"

Address = tuple[Resource, str, str]


class GarbageCollector:
    """Deletes objects whose owners are gone."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._loop = Reconciler("garbage", self._reconcile)
        self._dependents: dict[str, set[Address]] = {}
        for resource in DEPENDENTS:
            view[resource].subscribe(partial(self._index, resource))
        for resource in OWNERS.values():
            view[resource].subscribe(partial(self._owner, resource))

    async def run(self) -> None:
        """Work until cancelled; start once the view is synced, or everything looks orphaned."""
        await self._loop.run()

    def _index(self, resource: Resource, change: Change) -> None:
        where = (resource, *address(change.object))
        for owner in owners(change.before) if change.before else []:
            owned = self._dependents.get(owner["uid"], set())
            owned.discard(where)
            if not owned:
                self._dependents.pop(owner["uid"], None)
        if change.after is None:
            for owner in owners(change.object):  # an owner may wait for its last dependent
                if (kind := OWNERS.get(owner["kind"])) is not None:
                    self._loop.add((kind, where[1], owner["name"]))
            return
        for owner in owners(change.after):
            self._dependents.setdefault(owner["uid"], set()).add(where)
        if owners(change.after) and change.before is None:
            self._loop.add(where)

    def _owner(self, resource: Resource, change: Change) -> None:
        if change.after is None:
            for dependent in self._dependents.get(uid(change.object), ()):
                self._loop.add(dependent)
        elif is_terminating(change.after):
            self._loop.add((resource, *address(change.after)))

    async def _reconcile(self, where: Address) -> None:
        resource, namespace, name = where
        obj = self._view[resource].get(namespace, name)
        if obj is None:
            return
        if is_terminating(obj):
            await self._finish_owner(resource, obj)
        elif owners(obj) and not await self._has_owner(obj):
            await self._view.delete(resource, obj)

    async def _has_owner(self, obj: Object) -> bool:
        """Ask the store itself: a mirror may not have seen a new owner yet."""
        for owner in owners(obj):
            resource = OWNERS.get(owner["kind"])
            if resource is None:
                return True
            try:
                found = await self._view.store.get(resource, address(obj)[0], owner["name"])
            except NotFound:
                continue
            if uid(found) == owner["uid"]:
                return True
        return False

    async def _finish_owner(self, resource: Resource, owner: Object) -> None:
        finalizers = owner["metadata"].get("finalizers") or []
        if ORPHAN in finalizers:
            await self._orphan_dependents(owner)
            done = ORPHAN
        elif FOREGROUND in finalizers:
            dependents = self._dependents_of(owner)
            for kind, obj in dependents:
                if not is_terminating(obj):
                    await self._view.delete(kind, obj)
            if self._dependents_of(owner):
                return  # the last one to go brings us back
            done = FOREGROUND
        else:
            return
        metadata = {**owner["metadata"], "finalizers": [f for f in finalizers if f != done]}
        await self._view.update(resource, {**owner, "metadata": metadata})

    async def _orphan_dependents(self, owner: Object) -> None:
        for kind, obj in self._dependents_of(owner):
            left = [o for o in owners(obj) if o["uid"] != uid(owner)]
            metadata = {**obj["metadata"], "ownerReferences": left}
            await self._view.update(kind, {**obj, "metadata": metadata})

    def _dependents_of(self, owner: Object) -> list[tuple[Resource, Object]]:
        found = []
        for resource, namespace, name in sorted(self._dependents.get(uid(owner), ())):
            obj = self._view[resource].get(namespace, name)
            if obj is not None:
                found.append((resource, obj))
        return found
