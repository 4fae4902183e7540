"""What somebody who applies an object should know about it: Warnings, before anybody runs into it.

Admission answers whether an object is well-formed; advice says what it will do in this mesh.  The
mesh is modelled as if the object were stored, and what analysis then says about it is the advice.
It never refuses anything, and a fault in it is logged and costs nobody a request.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from mutua.analysis.advice import concerning, reach
from mutua.analysis.mesh import READS, Mesh
from mutua.analysis.message import Message, origin_of
from mutua.analysis.overlay import overlay
from mutua.api.object import (
    DEPLOYMENTS,
    DESTINATION_RULES,
    NAMESPACES,
    PEER_AUTHENTICATIONS,
    SERVICE_ENTRIES,
    SERVICES,
    STATEFUL_SETS,
    Object,
    Resource,
)
from mutua.model.build import BuildMemo
from mutua.model.settings import MeshSettings

ADVISED: Final = frozenset({
    PEER_AUTHENTICATIONS, DESTINATION_RULES, SERVICE_ENTRIES, SERVICES, NAMESPACES, DEPLOYMENTS,
    STATEFUL_SETS,
})  # fmt: skip
"""Kinds that people write and about which analysis has something to say."""

LOCAL: Final = frozenset(READS) - {NAMESPACES, SERVICE_ENTRIES, DESTINATION_RULES}
"""Kinds of which only the namespaces within an object's reach are looked at."""

MOST: Final = 8
"""Warnings that one answer carries; the rest is counted."""

log = logging.getLogger(__name__)

Lister = Callable[[Resource, str | None], Sequence[Object]]
"""(kind, namespace or None for all) -> its objects; unchanged ones are the same Python objects."""


class Adviser:
    """Answers admission's question; remembers between two questions what it has read."""

    def __init__(self, lister: Lister, settings: Callable[[], MeshSettings]) -> None:
        """Prepare.

        Args:
            lister: Lists objects of the kinds in `mutua.analysis.mesh.READS`.
            settings: Returns the mesh-wide settings.
        """
        self._lister = lister
        self._settings = settings
        self._memo = BuildMemo()

    async def __call__(self, resource: Resource, obj: Object) -> list[str]:
        """Return what to say about an object that is about to be stored."""
        if resource not in ADVISED:
            return []
        try:
            found = await self._found(obj)
        except Exception:
            log.exception("no advice", extra={"object": str(origin_of(obj))})
            return []
        shown = [_text(message, obj) for message in found[:MOST]]
        if len(found) > MOST:
            shown.append(f"{len(found) - MOST} more: istioctl analyze -A")
        return shown

    async def _found(self, obj: Object) -> list[Message]:
        settings = self._settings()
        namespaces = reach(obj, settings)
        objects = {
            kind: [
                one
                for namespace in (namespaces if namespaces and kind in LOCAL else (None,))
                for one in self._lister(kind, namespace)
            ]
            for kind in READS
        }
        if namespaces is not None:
            return _advice(objects, obj, settings, self._memo)
        # A whole mesh can take long enough for others to notice; it is rare, and shares nothing.
        return await asyncio.to_thread(_advice, objects, obj, settings, BuildMemo())


def _advice(
    objects: Mapping[Resource, Sequence[Object]],
    obj: Object,
    settings: MeshSettings,
    memo: BuildMemo,
) -> list[Message]:
    return concerning(Mesh(overlay(objects, [obj]), settings, memo=memo), origin_of(obj))


def _text(message: Message, obj: Object) -> str:
    text = f"{message.path}: {message.text}" if message.path else message.text
    if message.origin != origin_of(obj):
        text = f"{message.origin}: {message.text}"
    return f"[{message.code.code}] {text}"
