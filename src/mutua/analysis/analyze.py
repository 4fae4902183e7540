"""Ask every analyzer about a mesh.

The order of messages is istioctl's: the worst first, then by code and object.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from mutua.analysis import (
    annotations,
    authorization_policy,
    capture,
    conflict,
    destination_rule,
    injection,
    peer_authentication,
    ports,
    schema,
    service_entry,
    status,
)
from mutua.analysis.annotations import SUPPRESS
from mutua.analysis.mesh import Mesh
from mutua.analysis.message import Message, Origin, origin_of

Analyzer = Callable[[Mesh], Iterable[Message]]

ANALYZERS: Final[tuple[Analyzer, ...]] = (
    injection.analyze,
    annotations.analyze,
    ports.analyze,
    peer_authentication.analyze,
    authorization_policy.analyze,
    capture.analyze,
    destination_rule.analyze,
    service_entry.analyze,
    conflict.analyze,
    schema.analyze,
    status.analyze,
)


def analyze(mesh: Mesh, analyzers: Sequence[Analyzer] = ANALYZERS) -> list[Message]:
    """Return all that is to be said about a mesh, except what its objects suppress."""
    quiet = dict(_suppressed(mesh))
    found = {
        message
        for analyzer in analyzers
        for message in analyzer(mesh)
        if not quiet.get(message.origin, frozenset()) & {message.code.code, "*"}
    }
    return sorted(found, key=_order)


def _order(message: Message) -> tuple[int, str, Origin, str]:
    return -message.code.level, message.code.code, message.origin, message.text


def _suppressed(mesh: Mesh) -> Iterator[tuple[Origin, frozenset[str]]]:
    for objects in mesh.objects.values():
        for obj in objects:
            codes = (obj["metadata"].get("annotations") or {}).get(SUPPRESS)
            if codes:
                yield origin_of(obj), frozenset(code.strip() for code in codes.split(","))
