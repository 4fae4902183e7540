"""The CA as the API tells of it: read, asked to rotate, followed."""

import time
import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Final

from lightkube import Client

from mutua.api.age import human_duration
from mutua.api.kinds import kind_of
from mutua.api.object import CERTIFICATE_AUTHORITIES, Object
from mutua.cli.client import list_objects, resource_class
from mutua.controlplane.ca.record import NAME, NAMESPACE
from mutua.foundation.clock import parse_rfc3339
from mutua.foundation.errors import Conflict, Rejected, Unavailable

POLL: Final = 0.1
"""Seconds between two looks at a rotation."""


def read(client: Client) -> Object:
    """Return the object.

    Raises:
        Unavailable: The control plane has not made it.
    """
    for found in list_objects(client, CERTIFICATE_AUTHORITIES, NAMESPACE):
        if found["metadata"]["name"] == NAME and found.get("status"):
            return found
    raise Unavailable("the control plane has not told of its CA yet", hint="try again")


def request(client: Client, replace: str, *, ignore_elsewhere: bool) -> str:
    """Ask for a rotation; return the request's id.

    Args:
        client: The way to the API.
        replace: "Root" or "Intermediate".
        ignore_elsewhere: Do not wait for certificates that were issued over the network.

    Raises:
        Conflict: A rotation is under way.
    """
    found = read(client)
    moving = found["status"].get("rotation")
    if moving:
        raise Conflict(
            f"a rotation is under way: stage {moving['stage']}, {moving['message']}",
            hint="mutua ca rotate status, or: mutua ca rotate abort",
        )
    rotation = str(uuid.uuid4())
    wish = {"id": rotation, "replace": replace, "ignoreElsewhere": ignore_elsewhere}
    _write(client, found, wish)
    return rotation


def abort(client: Client) -> str:
    """Ask for the rotation under way to be taken back; return its id.

    Raises:
        Conflict: None is under way, or it is being taken back already.
    """
    found = read(client)
    moving = found["status"].get("rotation")
    if not moving:
        raise Conflict("no rotation is under way")
    if moving["aborted"]:
        raise Conflict("the rotation is being aborted already", hint="mutua ca rotate status")
    former = (found.get("spec") or {}).get("rotation") or {}
    wish = {"id": moving["id"], "replace": former.get("replace", "Root"), "abort": True}
    _write(client, found, wish)
    return str(moving["id"])


def follow(client: Client, rotation: str, timeout: float) -> Iterator[dict[str, Any]]:
    """Yield the rotation's status whenever it changes; end when it is over.

    Args:
        client: The way to the API.
        rotation: Its id.
        timeout: Seconds for all of it.

    Raises:
        Rejected: It was refused.
        Unavailable: It is not over in time; it goes on all the same.
    """
    deadline, before = time.monotonic() + timeout, None
    while True:
        status = read(client)["status"]
        moving = status.get("rotation")
        if status.get("message", "").startswith(f"request {rotation}: "):
            raise Rejected(status["message"].removeprefix(f"request {rotation}: "))
        if moving and moving["id"] == rotation:
            if moving != before:
                yield moving
            before = moving
        elif status.get("lastRequest") == rotation:
            return
        if time.monotonic() > deadline:
            stage = f"stage {before['stage']}, {before['message']}" if before else "not begun"
            raise Unavailable(
                f"the rotation is not over after {timeout:g} s ({stage})",
                hint="it goes on: mutua ca rotate status, or turn it around: mutua ca rotate abort",
            )
        time.sleep(POLL)


def remaining(certificate: Object, now: datetime) -> str:
    """Return how long a certificate is valid yet, in kubectl's words."""
    left = parse_rfc3339(certificate["notAfter"]) - now
    return human_duration(left) if left > timedelta() else "expired"


def _write(client: Client, found: Object, wish: Object) -> None:
    kind = resource_class(kind_of(CERTIFICATE_AUTHORITIES))
    changed = {**found, "spec": {**(found.get("spec") or {}), "rotation": wish}}
    client.replace(kind.from_dict(changed))
