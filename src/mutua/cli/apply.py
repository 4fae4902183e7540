"""Bring the API to the state that manifests describe, as `kubectl apply` does on the client's side.

The last applied manifest is kept in kubectl's own annotation, so that a field that disappears
from the manifest disappears from the object, and kubectl and mutua can take turns on one object.

    patch = what is in the manifest + null for what only the last applied manifest had
"""

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import yaml
from lightkube import ApiError, Client
from lightkube.types import PatchType

from mutua.api.kinds import Kind, find_by_kind
from mutua.api.object import Object
from mutua.cli.client import resource_class
from mutua.foundation.errors import Rejected

LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
"""Where kubectl keeps what it applied last."""

FIELD_MANAGER: Final = "kubectl-client-side-apply"


def read_manifests(sources: Sequence[str]) -> list[Object]:
    """Read the objects of files, of the YAML and JSON files of folders, or of "-".

    Raises:
        Rejected: A file is missing or is not YAML with apiVersion, kind and metadata.name.
    """
    objects: list[Object] = []
    for source in sources:
        for label, text in _texts(source):
            try:
                documents = list(yaml.load_all(text, Loader=_Loader))
            except yaml.YAMLError as error:
                raise Rejected(f"{label}: {error}") from error
            for document in documents:
                objects.extend(_flatten(document, label))
    if not objects:
        raise Rejected("no objects passed to apply")
    return objects


_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _texts(source: str) -> Iterator[tuple[str, str]]:
    if source == "-":
        yield "standard input", sys.stdin.read()
        return
    path = Path(source)
    if not path.exists():
        raise Rejected(f'the path "{source}" does not exist')
    files = [path]
    if path.is_dir():
        files = sorted(p for p in path.iterdir() if p.suffix in {".yaml", ".yml", ".json"})
    for file in files:
        yield str(file), file.read_text()


def _flatten(document: Any, label: str) -> Iterator[Object]:
    if document is None:
        return
    if not isinstance(document, dict) or not document.get("kind"):
        raise Rejected(f"{label}: Object 'Kind' is missing")
    if str(document["kind"]).endswith("List") and isinstance(document.get("items"), list):
        for item in document["items"]:
            yield from _flatten(item, label)
        return
    if not document.get("apiVersion"):
        raise Rejected(f"{label}: Object 'apiVersion' is missing")
    if not isinstance(document.get("metadata"), dict) or not document["metadata"].get("name"):
        raise Rejected(f"{label}: {document['kind']} without metadata.name")
    yield document


def apply_objects(
    client: Client, objects: Sequence[Object], *, keep_existing_namespace: bool = False
) -> Iterator[str]:
    """Apply objects one after the other and yield kubectl's line for each.

    Args:
        client: Its namespace is where objects without one go.
        objects: As written in manifests; not changed.
        keep_existing_namespace: Do not touch a Namespace that is already there.

    Raises:
        Rejected: The API does not know the kind.
    """
    for obj in objects:
        kind = find_by_kind(obj["apiVersion"], obj["kind"])
        if kind is None:
            raise Rejected(f'no matches for kind "{obj["kind"]}" in version "{obj["apiVersion"]}"')
        outcome = _apply_one(
            client, kind, obj, keep=keep_existing_namespace and not kind.namespaced
        )
        group = f".{kind.resource.group}" if kind.resource.group else ""
        yield f"{kind.singular}{group}/{obj['metadata']['name']} {outcome}"


def _apply_one(client: Client, kind: Kind, obj: Object, *, keep: bool) -> str:
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
        client.create(resource(desired), field_manager=FIELD_MANAGER, **where)
        return "created"
    if keep:
        return "unchanged"
    last = (live["metadata"].get("annotations") or {}).get(LAST_APPLIED)
    patch = with_removals(json.loads(last) if last else {}, desired)
    patch_type = PatchType.MERGE if kind.is_custom else PatchType.STRATEGIC
    after = client.patch(
        resource, name, patch, patch_type=patch_type, field_manager=FIELD_MANAGER, **where
    )
    unchanged = after["metadata"]["resourceVersion"] == live["metadata"]["resourceVersion"]
    return "unchanged" if unchanged else "configured"


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
