"""What every object must get right: its name, labels and annotations."""

from collections.abc import Iterator, Mapping
from typing import Final

from mutua.api.kinds import Kind
from mutua.api.object import Object
from mutua.api.validation.names import (
    Check,
    annotation_errors,
    dns_label,
    dns_label_1035,
    dns_subdomain,
    label_errors,
    name_errors,
    qualified_name,
    stateful_name,
)
from mutua.api.verdict import FieldError, forbidden, required

_NAME_RULES: Final[Mapping[str, Check]] = {
    "Namespace": dns_label,
    "Service": dns_label_1035,
    "StatefulSet": stateful_name,
}
"""Kinds whose names are stricter than a DNS subdomain: they become single DNS labels."""


def metadata_errors(kind: Kind, obj: Object) -> Iterator[FieldError]:
    """Yield what is wrong with an object's metadata."""
    metadata = obj.get("metadata") or {}
    name, stem = metadata.get("name"), metadata.get("generateName")
    check = _NAME_RULES.get(kind.kind, dns_subdomain)
    if name:
        yield from name_errors("metadata.name", name, check)
    elif stem:
        # A suffix follows, so the stem may end where a whole name may not.
        yield from name_errors("metadata.generateName", stem.rstrip("-.") or stem, check)
    else:
        yield required("metadata.name", "name or generateName is required")
    if kind.namespaced:
        if namespace := metadata.get("namespace"):
            yield from name_errors("metadata.namespace", namespace, dns_label)
    elif metadata.get("namespace"):
        yield forbidden("metadata.namespace", "not allowed on this type")
    yield from label_errors("metadata.labels", metadata.get("labels"))
    yield from annotation_errors("metadata.annotations", metadata.get("annotations"))
    for index, finalizer in enumerate(metadata.get("finalizers") or ()):
        yield from name_errors(f"metadata.finalizers[{index}]", finalizer, qualified_name)
