"""Which ReplicaSet has this pod template?  Pure.

The hash only names; equality of the templates decides, so that a change of the hash function
never restarts anybody's pods.
"""

import hashlib
import json
from typing import Any, Final

from mutua.api.object import Object

LABEL: Final = "pod-template-hash"
"""Label that keeps the pods of two ReplicaSets of one Deployment apart."""

ALPHABET: Final = "bcdfghjklmnpqrstvwxz2456789"
"""No vowels: names stay inoffensive (Kubernetes `rand.SafeEncodeString`)."""

LENGTH: Final = 10
"""Characters; 27**10 values."""


def template_hash(template: dict[str, Any], *, collisions: int = 0) -> str:
    """Return the label value for a pod template."""
    text = json.dumps(without_hash(template), sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(f"{collisions}\0{text}".encode()).digest()
    return "".join(ALPHABET[byte % len(ALPHABET)] for byte in digest[:LENGTH])


def same_template(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Tell whether two templates make the same pods, the hash label aside."""
    return without_hash(one) == without_hash(other)


def without_hash(template: dict[str, Any]) -> dict[str, Any]:
    """Return the template as the Deployment has it."""
    metadata = dict(template.get("metadata") or {})
    labels = {k: v for k, v in (metadata.get("labels") or {}).items() if k != LABEL}
    metadata.pop("labels", None)
    metadata.pop("creationTimestamp", None)
    if labels:
        metadata["labels"] = labels
    return {**template, "metadata": metadata}


def with_hash(template: dict[str, Any], value: str) -> dict[str, Any]:
    """Return the template as a ReplicaSet has it."""
    metadata: Object = dict(template.get("metadata") or {})
    metadata["labels"] = {**(metadata.get("labels") or {}), LABEL: value}
    return {**template, "metadata": metadata}
