"""What belongs to a controller?  Orphans that match are adopted, strays are released."""

from collections.abc import Callable, Iterable

from mutua.api.object import Object, Resource
from mutua.cluster.controllers.ownership import (
    controller_of,
    is_controlled_by,
    owner_reference,
    owners,
)
from mutua.cluster.controllers.view import View
from mutua.store.mirror import uid


async def claim(
    view: View,
    resource: Resource,
    owner: Object,
    objects: Iterable[Object],
    *,
    selects: Callable[[Object], bool],
) -> None:
    """Make `owner` the managing owner of exactly those objects that it selects.

    Args:
        view: Where the objects are, and are written to.
        resource: Their kind.
        owner: Who claims.
        objects: Those in question; what somebody else manages is left alone.
        selects: Whether the owner wants an object.
    """
    for obj in objects:
        mine, selected = is_controlled_by(obj, owner), selects(obj)
        if mine and not selected:
            references = [one for one in owners(obj) if one["uid"] != uid(owner)]
        elif selected and controller_of(obj) is None:
            references = [*owners(obj), owner_reference(owner)]
        else:
            continue
        metadata = {**obj["metadata"], "ownerReferences": references}
        await view.update(resource, {**obj, "metadata": metadata})
