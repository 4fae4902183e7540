"""Bring the API to the state that manifests describe, as `kubectl apply` does on the client's side.

The last applied manifest is kept in kubectl's own annotation, so that a field that disappears
from the manifest disappears from the object, and kubectl and mutua can take turns on one object.

    patch = what is in the manifest + null for what only the last applied manifest had
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from lightkube import ApiError, Client
from lightkube.types import PatchType

from mutua.api.kinds import Kind, find_by_kind
from mutua.api.object import Object
from mutua.cli.client import resource_class
from mutua.foundation.errors import Rejected

LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
"""Where kubectl keeps what it applied last."""

FIELD_MANAGER: Final = "kubectl-client-side-apply"


def apply_objects(
    client: Client, objects: Sequence[Object], *, keep_existing_namespace: bool = False
) -> Iterator[str]:
    """Apply objects one after the other and yield kubectl's line for each.  See `apply_object`."""
    for obj in objects:
        yield apply_object(client, obj, keep_existing_namespace=keep_existing_namespace)


def apply_object(
    client: Client, obj: Object, *, source: str = "", keep_existing_namespace: bool = False
) -> str:
    """Apply an object and return kubectl's line.

    Args:
        client: Its namespace is where an object without one goes.
        obj: As written in a manifest; not changed.
        source: Where it is written, for the API's refusals.
        keep_existing_namespace: Do not touch a Namespace that is already there.

    Raises:
        Rejected: The API does not know the kind.
        ApiError: It refused.
    """
    kind = known_kind(obj, source)
    keep = keep_existing_namespace and not kind.namespaced
    outcome = _apply(client, kind, obj, source=source, keep=keep)
    group = f".{kind.resource.group}" if kind.resource.group else ""
    return f"{kind.singular}{group}/{obj['metadata']['name']} {outcome}"


def known_kind(obj: Object, source: str) -> Kind:
    """Return the kind of an object as written.

    Raises:
        Rejected: The API does not know it.
    """
    kind = find_by_kind(obj["apiVersion"], obj["kind"])
    if kind is None:
        name, namespace = obj["metadata"]["name"], obj["metadata"].get("namespace") or ""
        raise Rejected(
            f'resource mapping not found for name: "{name}" namespace: "{namespace}" '
            f'from "{source}": no matches for kind "{obj["kind"]}" '
            f'in version "{obj["apiVersion"]}"'
        )
    return kind


def _apply(client: Client, kind: Kind, obj: Object, *, source: str, keep: bool) -> str:
    resource = resource_class(kind, obj["apiVersion"].rpartition("/")[2])
    where = {}
    if kind.namespaced:
        where["namespace"] = obj["metadata"].get("namespace") or client.namespace
    name = obj["metadata"]["name"]
    desired = _annotated(obj)
    try:
        live = dict(client.get(resource, name, **where))
    except ApiError as error:
        if error.status.code != 404:
            raise
        with _telling("creating", source):
            client.create(resource(desired), field_manager=FIELD_MANAGER, **where)
        return "created"
    if keep:
        return "unchanged"
    last = (live["metadata"].get("annotations") or {}).get(LAST_APPLIED)
    patch = with_removals(json.loads(last) if last else {}, desired)
    patch_type = PatchType.MERGE if kind.is_custom else PatchType.STRATEGIC
    with _telling("patching", source):
        after = client.patch(
            resource, name, patch, patch_type=patch_type, field_manager=FIELD_MANAGER, **where
        )
    unchanged = after["metadata"]["resourceVersion"] == live["metadata"]["resourceVersion"]
    return "unchanged" if unchanged else "configured"


@contextmanager
def _telling(verb: str, source: str) -> Iterator[None]:
    """Say in the API's refusal what was being done with which file, as kubectl does."""
    try:
        yield
    except ApiError as error:
        if source:
            error.status.message = f'error when {verb} "{source}": {error.status.message}'
        raise


def _annotated(obj: Object) -> Object:
    """Return a copy that remembers itself in the annotation."""
    text = json.dumps(obj, separators=(",", ":"), sort_keys=True) + "\n"
    metadata = obj["metadata"]
    annotations = {**(metadata.get("annotations") or {}), LAST_APPLIED: text}
    return {**obj, "metadata": {**metadata, "annotations": annotations}}


def with_removals(last: Any, desired: Any) -> Any:
    """Return `desired` with an explicit null for every key that only `last` has (RFC 7386)."""
    if not isinstance(last, dict) or not isinstance(desired, dict):
        return desired
    removed = {key: None for key in last if key not in desired}
    kept = {key: with_removals(last.get(key), value) for key, value in desired.items()}
    return kept | removed
