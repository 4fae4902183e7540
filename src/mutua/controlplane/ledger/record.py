"""An entry of the ledger as an object of the API: `kubectl get plaintextcallers -A`.

`spec` says what the entry is about and never changes; `status` says what was seen.  Deleting the
object forgets the caller until it calls again.
"""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from mutua.api.object import Object
from mutua.controlplane.ledger.cause import Finding, Reason
from mutua.controlplane.ledger.ledger import Entry, Key
from mutua.controlplane.ledger.party import Party
from mutua.foundation.clock import parse_rfc3339, rfc3339
from mutua.xds.sighting import Speaks

LONGEST_STEM: Final = 200
"""Characters of the server's name in an object's name, which may have 253."""


def object_name(key: Key) -> str:
    """Return the name of a key's object; every key has its own."""
    digest = hashlib.sha256(repr(key).encode()).hexdigest()[:10]
    return f"{key.server.name[:LONGEST_STEM].rstrip('.-')}-{key.port}-{digest}"


def to_object(entry: Entry) -> Object:
    """Return the object that says what an entry says."""
    key = entry.key
    caller = {"kind": key.caller.kind, "namespace": key.caller.namespace, "name": key.caller.name}
    return {
        "apiVersion": "mutua.io/v1alpha1",
        "kind": "PlaintextCaller",
        "metadata": {"namespace": key.server.namespace, "name": object_name(key)},
        "spec": {
            "server": {"kind": key.server.kind, "name": key.server.name},
            "port": key.port,
            "caller": _present(caller),
        },
        "status": _status(entry),
    }


def from_object(obj: Object) -> Entry:
    """Return the entry that an object describes.

    Raises:
        ValueError: It describes none; somebody else wrote it.
    """
    try:
        return _entry(obj["metadata"]["namespace"], obj["spec"], obj.get("status") or {})
    except (KeyError, TypeError) as error:
        raise ValueError(f"not an entry: {error!r}") from error


def _status(entry: Entry) -> Object:
    finding = entry.finding
    status: dict[str, Any] = {
        "firstSeen": rfc3339(entry.first_seen),
        "lastSeen": _text(entry.last_seen),
        "count": entry.count,
        "lastRefused": _text(entry.last_refused),
        "refused": entry.refused,
        "protocol": entry.speaks.value,
        "host": entry.host,
        "serviceAccount": entry.account,
        "address": entry.address,
        "process": entry.process,
        "pods": list(entry.pods),
        "reason": finding.reason.value if finding else "",
        "message": finding.message if finding else "",
        "object": finding.object if finding else "",
        "detail": finding.detail if finding else "",
    }
    return _present(status)


def _entry(namespace: str, spec: Mapping[str, Any], status: Mapping[str, Any]) -> Entry:
    server, caller = spec["server"], spec["caller"]
    finding = None
    if reason := status.get("reason"):
        finding = Finding(
            reason=Reason(reason),
            message=status.get("message") or "",
            object=status.get("object") or "",
            detail=status.get("detail") or "",
        )
    return Entry(
        key=Key(
            Party(server["kind"], namespace, server["name"]),
            spec["port"],
            Party(caller["kind"], caller.get("namespace") or "", caller["name"]),
        ),
        first_seen=parse_rfc3339(status["firstSeen"]),
        last_seen=_instant(status.get("lastSeen")),
        count=status.get("count") or 0,
        last_refused=_instant(status.get("lastRefused")),
        refused=status.get("refused") or 0,
        speaks=Speaks(status.get("protocol") or "TCP"),
        host=status.get("host") or "",
        account=status.get("serviceAccount") or "",
        address=status.get("address") or "",
        process=status.get("process") or "",
        pods=tuple(status.get("pods") or ()),
        finding=finding,
    )


def _present(fields: Mapping[str, Any]) -> Object:
    """Leave out what says nothing."""
    return {name: value for name, value in fields.items() if value not in ("", [], None, 0)}


def _text(instant: datetime | None) -> str | None:
    return None if instant is None else rfc3339(instant)


def _instant(text: str | None) -> datetime | None:
    return None if text is None else parse_rfc3339(text)
