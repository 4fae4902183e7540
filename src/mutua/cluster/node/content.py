"""What do ConfigMaps, Secrets and the pod itself contain, as text and bytes?  Pure."""

import base64
import re
from collections.abc import Mapping
from typing import Any, Final

from mutua.api.object import SECRETS, Object, Resource
from mutua.foundation.errors import Rejected

_SUBSCRIPT: Final = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")


def decoded(resource: Resource, obj: Object) -> dict[str, bytes]:
    """Return the keys of a ConfigMap or Secret with their bytes."""
    data = obj.get("data") or {}
    if resource == SECRETS:
        return {key: base64.b64decode(value or "") for key, value in data.items()}
    binary = obj.get("binaryData") or {}
    return {
        **{key: str(value).encode() for key, value in data.items()},
        **{key: base64.b64decode(value or "") for key, value in binary.items()},
    }


def field_text(pod: Object, path: str, facts: Mapping[str, str]) -> str:
    """Return one field of a pod for the downward API.

    Args:
        pod: The pod.
        path: As in fieldRef.fieldPath.
        facts: Values by path that win over the pod's own.

    Raises:
        Rejected: The downward API has no such field.
    """
    metadata, spec = pod["metadata"], pod["spec"]
    if (found := _SUBSCRIPT.fullmatch(path)) is not None:
        return str((metadata.get(found[1]) or {}).get(found[2], ""))
    if path in {"metadata.labels", "metadata.annotations"}:
        return _pairs(metadata.get(path.removeprefix("metadata.")) or {})
    fields: dict[str, Any] = {
        "metadata.name": metadata["name"],
        "metadata.namespace": metadata.get("namespace", ""),
        "metadata.uid": metadata.get("uid", ""),
        "spec.nodeName": spec.get("nodeName", ""),
        "spec.serviceAccountName": spec.get("serviceAccountName") or "default",
        "status.podIP": "",
        "status.podIPs": "",
        "status.hostIP": "",
        "status.hostIPs": "",
        **facts,
    }
    if path not in fields:
        raise Rejected(f"not a field of the downward API: {path}")
    return str(fields[path])


def _pairs(values: Mapping[str, str]) -> str:
    escaped = (
        v.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") for v in values.values()
    )
    return "\n".join(f'{key}="{value}"' for key, value in sorted(zip(values, escaped, strict=True)))
