"""Who owns an object?  Owner references, read and written (Kubernetes "Owners and Dependents").

Pure.  The one owner with `controller: true` is the controller that manages the object.
"""

from typing import Any

from mutua.api.object import Object


def owner_reference(owner: Object) -> dict[str, Any]:
    """Return the reference that makes `owner` the managing owner of a dependent."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def owners(obj: Object) -> list[dict[str, Any]]:
    """Return all owner references of an object."""
    return obj["metadata"].get("ownerReferences") or []


def controller_of(obj: Object) -> dict[str, Any] | None:
    """Return the reference to the managing owner, or None."""
    return next((owner for owner in owners(obj) if owner.get("controller")), None)


def is_controlled_by(obj: Object, owner: Object) -> bool:
    """Tell whether this very incarnation of `owner` manages `obj`."""
    reference = controller_of(obj)
    return reference is not None and reference.get("uid") == owner["metadata"]["uid"]


def is_terminating(obj: Object) -> bool:
    """Tell whether somebody asked for the object's deletion."""
    return bool(obj["metadata"].get("deletionTimestamp"))
