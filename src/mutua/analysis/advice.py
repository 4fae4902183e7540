"""What should the author of one object know about it, now that it is about to be stored?

Warnings and errors that are about the object, or that would not be there without it.  What is
merely informative is left to `analyze`.
"""

from typing import Final

from mutua.analysis import schema
from mutua.analysis.analyze import ANALYZERS, analyze
from mutua.analysis.codes import (
    BAD_ANNOTATION,
    MISPLACED,
    NO_PROXY,
    NOT_ASKED,
    NOT_CAPTURED,
    PROXY_USER,
    UNKNOWN_ANNOTATION,
)
from mutua.analysis.mesh import Mesh
from mutua.analysis.message import Code, Level, Message, Origin, origin_of
from mutua.analysis.wording import listed
from mutua.api.destination import parse_destination_rule
from mutua.api.object import Object
from mutua.model.settings import MeshSettings

OF_WORKLOADS: Final[frozenset[Code]] = frozenset({
    BAD_ANNOTATION, MISPLACED, NOT_ASKED, NOT_CAPTURED, PROXY_USER, UNKNOWN_ANNOTATION,
})  # fmt: skip
"""What can be said about a workload alone: its Services may be further down in the same file."""

ADVISING: Final = tuple(one for one in ANALYZERS if one is not schema.analyze)
"""What admission says by itself is not said twice."""

WORKLOADS: Final = frozenset({"Deployment", "StatefulSet"})


def reach(obj: Object, settings: MeshSettings) -> frozenset[str] | None:
    """Return the namespaces in which an object can make a difference; None for the whole mesh.

    What applies to the mesh from elsewhere is not counted: ServiceEntries and DestinationRules of
    any namespace, Namespaces themselves.
    """
    origin = origin_of(obj)
    namespace, root = origin.namespace or origin.name, settings.root_namespace
    if namespace == root:
        return None
    found = {namespace, root}
    if origin.kind == "DestinationRule":
        host = parse_destination_rule(obj).hostname(settings.dns_domain)
        if "*" in host:
            return None
        suffix = f".svc.{settings.dns_domain}"
        if host.endswith(suffix):
            found.add(host.removesuffix(suffix).rpartition(".")[2])
    return frozenset(found)


def concerning(mesh: Mesh, origin: Origin) -> list[Message]:
    """Return what to say about an object.

    Args:
        mesh: With the object in it, and as far as it reaches.
        origin: Which object.
    """
    found = [one for one in analyze(mesh, ADVISING) if _matters(one, origin)]
    if origin.kind == "Namespace":
        found += _restarts(mesh, origin)
    return found


def _matters(message: Message, origin: Origin) -> bool:
    if message.code.level < Level.WARNING:
        return False
    if origin.kind in WORKLOADS and message.code not in OF_WORKLOADS:
        return False
    return message.origin == origin or origin in message.related


def _restarts(mesh: Mesh, origin: Origin) -> list[Message]:
    """Return, for a namespace that asks for sidecars, which of its pods wait for a restart."""
    waiting = {one.origin for one in analyze(mesh, ADVISING) if one.code is NO_PROXY}
    groups = [
        one
        for one in mesh.groups_in(origin.name)
        if any(origin_of(pod) in waiting for pod in one.pods)
    ]
    if not groups:
        return []
    names = sorted({one.name for one in groups})
    verb = "gets its sidecar when it is" if len(names) == 1 else "get their sidecars when they are"
    text = f"{listed(names)} {verb} created again"
    if any(one.origin.kind == "Deployment" for one in groups):
        text += f": kubectl rollout restart deployment -n {origin.name}"
    return [Message(code=NO_PROXY, origin=origin, text=text)]
