"""What would the mesh be with these manifests applied?"""

from collections.abc import Iterable, Mapping
from typing import Final

from mutua.analysis.message import origin_of
from mutua.analysis.pods import TEMPLATED, maker_of
from mutua.api.defaults import apply_defaults
from mutua.api.kinds import find_by_kind
from mutua.api.object import PODS, Object, Resource

LATER: Final = "9999-12-31T23:59:59Z"
"""creationTimestamp of what does not exist yet: younger than everything that does."""


def overlay(
    live: Mapping[Resource, Iterable[Object]], written: Iterable[Object]
) -> dict[Resource, tuple[Object, ...]]:
    """Return the objects there would be.

    Args:
        live: What there is.
        written: Objects that the API would accept.
    """
    found = {
        resource: {_address(obj): obj for obj in objects} for resource, objects in live.items()
    }
    replaced = set()
    for obj in written:
        kind = find_by_kind(obj["apiVersion"], obj["kind"])
        if kind is None:
            continue
        same_kind = found.setdefault(kind.resource, {})
        known = same_kind.get(_address(obj))
        if kind.resource == PODS and known is not None:
            continue  # what a pod is does not change any more
        new = _as_stored(apply_defaults(kind, obj), known)
        if kind.resource == PODS:
            new.pop("status", None)  # yet to be created, and to be injected
        if kind.resource in TEMPLATED and known and _template(known) != _template(new):
            replaced.add(origin_of(new))
        same_kind[_address(obj)] = new
    objects = {resource: tuple(by_address.values()) for resource, by_address in found.items()}
    if replaced:
        # New pods of another template take the place of those that are there.
        pods = objects.get(PODS, ())
        objects[PODS] = tuple(pod for pod in pods if maker_of(pod) not in replaced)
    return objects


def _address(obj: Object) -> tuple[str, str]:
    metadata = obj["metadata"]
    return metadata.get("namespace") or "", metadata["name"]


def _template(obj: Object) -> object:
    return (obj.get("spec") or {}).get("template")


def _as_stored(obj: Object, known: Object | None) -> Object:
    """Return an object with what the API would give it, or keep of what it had."""
    before = known["metadata"] if known else {}
    metadata = {
        **obj["metadata"],
        "uid": before.get("uid") or str(origin_of(obj)),
        "creationTimestamp": before.get("creationTimestamp") or LATER,
    }
    status = {"status": known["status"]} if known and "status" in known else {}
    return {**obj, "metadata": metadata, **status}
