"""The templates of a StatefulSet, in the store: reads and writes; `revision` decides."""

from collections.abc import Collection
from dataclasses import dataclass

from mutua.api.object import CONTROLLER_REVISIONS, STATEFUL_SETS, Object
from mutua.api.selectors import read_label_selector
from mutua.cluster.controllers import revision
from mutua.cluster.controllers.claiming import claim
from mutua.cluster.controllers.ownership import is_controlled_by
from mutua.cluster.controllers.view import View
from mutua.store.port import AlreadyExists


@dataclass(frozen=True, slots=True)
class Templates:
    """The two templates that count.

    Attributes:
        current: What every pod was made from before the update that is under way.
        newest: What the spec says.
    """

    current: Object
    newest: Object


class RevisionHistory:
    """Keeps ControllerRevisions of StatefulSets."""

    def __init__(self, view: View) -> None:
        self._view = view

    async def templates(self, owner: Object) -> Templates:
        """Return the templates of a set, the newest one written down if it is new."""
        await self._claim(owner)
        newest = await self._newest(owner)
        name = (owner.get("status") or {}).get("currentRevision")
        known = (one for one in self._of(owner) if revision.name_of(one) == name)
        return Templates(next(known, newest), newest)

    async def forget(self, owner: Object, used: Collection[str]) -> None:
        """Delete the oldest revisions beyond the limit of those not in `used`, by name."""
        limit = owner["spec"].get("revisionHistoryLimit")
        for one in revision.forgettable(self._of(owner), used, limit):
            await self._view.delete(CONTROLLER_REVISIONS, one)

    async def _claim(self, owner: Object) -> None:
        selector = read_label_selector(owner["spec"]["selector"])
        stem = f"{owner['metadata']['name']}-"

        def selects(one: Object) -> bool:
            labels = one["metadata"].get("labels")
            return revision.name_of(one).startswith(stem) and selector.matches(labels)

        known = self._view[CONTROLLER_REVISIONS].list(owner["metadata"]["namespace"])
        await claim(self._view, CONTROLLER_REVISIONS, owner, known, selects=selects)

    def _of(self, owner: Object) -> list[Object]:
        """Return the revisions of a set, oldest first."""
        found = self._view[CONTROLLER_REVISIONS].list(owner["metadata"]["namespace"])
        mine = (one for one in found if is_controlled_by(one, owner))
        return sorted(mine, key=lambda one: (revision.number_of(one), revision.name_of(one)))

    async def _newest(self, owner: Object) -> Object:
        known = self._of(owner)
        number = revision.number_of(known[-1]) + 1 if known else 1
        found = revision.find_revision(known, owner["spec"]["template"])
        if found is None:
            return await self._create(owner, number)
        if found is known[-1]:
            return found
        return await self._view.update(CONTROLLER_REVISIONS, {**found, "revision": number})

    async def _create(self, owner: Object, number: int) -> Object:
        status = owner.get("status") or {}
        collisions = int(status.get("collisionCount") or 0)
        wanted = revision.new_revision(owner, number, collisions=collisions)
        try:
            return await self._view.create(CONTROLLER_REVISIONS, wanted)
        except AlreadyExists:
            counted = {**owner, "status": {**status, "collisionCount": collisions + 1}}
            await self._view.update_status(STATEFUL_SETS, counted)
            raise
