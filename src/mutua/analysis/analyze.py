"""Ask every analyzer, about a whole mesh or about one object.

An analyzer is a function of the mesh and of the namespaces to look at.  The order of messages is
istioctl's: the worst first, then by code and object.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from mutua.analysis import annotations, capture, injection, peer_authentication, ports, status
from mutua.analysis.annotations import SUPPRESS
from mutua.analysis.mesh import Mesh, Where, everywhere
from mutua.analysis.message import Level, Message, Origin, origin_of

Analyzer = Callable[[Mesh, Where], Iterable[Message]]

ANALYZERS: Final[tuple[Analyzer, ...]] = (
    injection.analyze,
    annotations.analyze,
    ports.analyze,
    peer_authentication.analyze,
    capture.analyze,
    status.analyze,
)


def analyze(mesh: Mesh, where: Where = everywhere) -> list[Message]:
    """Return all that is to be said about some namespaces, except what objects suppress."""
    quiet = dict(_suppressed(mesh))
    found = {
        message
        for analyzer in ANALYZERS
        for message in analyzer(mesh, where)
        if not quiet.get(message.origin, frozenset()) & {message.code.code, "*"}
    }
    return sorted(found, key=_order)


def concerning(mesh: Mesh, origin: Origin) -> list[Message]:
    """Return what is to be said about one object of the mesh: warnings and worse."""
    namespace = origin.namespace or origin.name
    is_mesh_wide = namespace == mesh.root or origin.kind == "DestinationRule"
    found = analyze(mesh, everywhere if is_mesh_wide else lambda one: one == namespace)
    return [
        message
        for message in found
        if message.code.level >= Level.WARNING
        and (message.origin == origin or origin in message.related)
    ]


def _order(message: Message) -> tuple[int, str, Origin, str]:
    return -message.code.level, message.code.code, message.origin, message.text


def _suppressed(mesh: Mesh) -> Iterator[tuple[Origin, frozenset[str]]]:
    for objects in mesh.objects.values():
        for obj in objects:
            codes = (obj["metadata"].get("annotations") or {}).get(SUPPRESS)
            if codes:
                yield origin_of(obj), frozenset(code.strip() for code in codes.split(","))
