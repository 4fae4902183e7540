"""What does each write do to an object?  The one answer for every adapter.

Pure functions from the stored object and the request to the next state.  The caller supplies the
time and the uid, stores the result under the next resourceVersion and publishes it; `None` means
that nothing changed, so nothing is written and nobody is told.

    create ──> live ──delete──────────────────────────────> gone
                 └──delete, finalizers or grace──> ending ──finalizers emptied, grace 0──> gone

Source: Kubernetes API conventions (metadata, concurrency control) and the registry's
BeforeDelete rules, reduced to what the port promises.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from mutua.api.object import Key, Object, Resource
from mutua.foundation.clock import rfc3339
from mutua.store.port import AlreadyExists, NotFound, Stale

SERVER_OWNED: Final = (
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "resourceVersion",
    "selfLink",
)
"""Metadata that only the store writes (Kubernetes API conventions, metadata)."""


@dataclass(frozen=True, slots=True)
class Ending:
    """The outcome of a delete.

    Attributes:
        object: The object's next state, without its new resourceVersion.
        gone: Whether it leaves the store; otherwise it stays with a deletionTimestamp.
    """

    object: Object
    gone: bool


def key_of(resource: Resource, obj: Object) -> Key:
    """Return the address under which `obj` is stored."""
    metadata = obj["metadata"]
    return Key(resource, metadata.get("namespace") or "", metadata["name"])


def not_found(resource: Resource, name: str) -> NotFound:
    """Return the refusal in kubectl's words."""
    return NotFound(f'{resource} "{name}" not found')


def already_exists(resource: Resource, name: str) -> AlreadyExists:
    """Return the refusal in kubectl's words."""
    return AlreadyExists(f'{resource} "{name}" already exists')


def created(obj: Object, *, uid: str, now: datetime) -> Object:
    """Return the first state of an object.

    Args:
        obj: As sent; server-owned metadata in it is replaced.
        uid: A fresh identifier of this incarnation.
        now: The creation time.
    """
    metadata = {k: v for k, v in obj["metadata"].items() if k not in SERVER_OWNED}
    metadata |= {"uid": uid, "creationTimestamp": rfc3339(now), "generation": 1}
    return obj | {"metadata": metadata}


def replaced(resource: Resource, old: Object, new: Object) -> Object | None:
    """Return what an update makes of `old`, or None when it changes nothing.

    Raises:
        Stale: `new` is based on another version or incarnation.
    """
    check_precondition(resource, old, new)
    metadata = {k: v for k, v in new["metadata"].items() if k not in SERVER_OWNED}
    metadata |= {k: v for k, v in old["metadata"].items() if k in SERVER_OWNED}
    result = {k: v for k, v in new.items() if k != "status"} | {"metadata": metadata}
    if "status" in old:
        result["status"] = old["status"]
    if result == old:
        return None
    if _specified(result) != _specified(old):
        metadata["generation"] = int(metadata.get("generation", 0)) + 1
    return result


def with_status(resource: Resource, old: Object, new: Object) -> Object | None:
    """Return `old` with the status of `new`, or None when that changes nothing.

    Raises:
        Stale: `new` is based on another version or incarnation.
    """
    check_precondition(resource, old, new)
    result = {k: v for k, v in old.items() if k != "status"}
    if "status" in new:
        result["status"] = new["status"]
    return None if result == old else result


def deleted(old: Object, *, grace: int | None, now: datetime) -> Ending | None:
    """Return what a delete makes of `old`, or None when it changes nothing.

    Args:
        old: The stored object.
        grace: Seconds; None and 0 ask for the end at once.  A second delete can only shorten.
        now: The time of the request.
    """
    metadata = old["metadata"]
    wait = max(grace or 0, 0)
    if not metadata.get("finalizers") and wait == 0:
        return Ending(old, gone=True)
    current: int | None = metadata.get("deletionGracePeriodSeconds")
    if "deletionTimestamp" in metadata and current is not None and wait >= current:
        return None
    ending = {
        "deletionTimestamp": rfc3339(now + timedelta(seconds=wait)),
        "deletionGracePeriodSeconds": wait,
    }
    return Ending(old | {"metadata": metadata | ending}, gone=False)


def is_finished(obj: Object) -> bool:
    """Tell whether an ending object has nothing left to wait for."""
    metadata = obj["metadata"]
    return (
        "deletionTimestamp" in metadata
        and not metadata.get("finalizers")
        and not metadata.get("deletionGracePeriodSeconds")
    )


def stamped(obj: Object, version: int) -> Object:
    """Return `obj` with this resourceVersion."""
    return obj | {"metadata": obj["metadata"] | {"resourceVersion": str(version)}}


def check_precondition(resource: Resource, old: Object, new: Object) -> None:
    """Compare resourceVersion and uid, where the writer gave them.

    Raises:
        Stale: One of them differs.
    """
    name = old["metadata"]["name"]
    version = new["metadata"].get("resourceVersion")
    if version and version != old["metadata"]["resourceVersion"]:
        raise Stale(
            f'Operation cannot be fulfilled on {resource} "{name}": the object has been modified; '
            "please apply your changes to the latest version and try again"
        )
    check_uid(resource, old, new["metadata"].get("uid") or "")


def check_uid(resource: Resource, old: Object, uid: str) -> None:
    """Compare the incarnation, when the writer named one.

    Raises:
        Stale: It is another one.
    """
    metadata = old["metadata"]
    if uid and uid != metadata["uid"]:
        raise Stale(
            f'Operation cannot be fulfilled on {resource} "{metadata["name"]}": Precondition '
            f"failed: UID in precondition: {uid}, UID in object meta: {metadata['uid']}"
        )


def _specified(obj: Object) -> dict[str, Any]:
    return {k: v for k, v in obj.items() if k not in {"metadata", "status"}}
