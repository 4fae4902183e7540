"""How a stored object changes under a patch: three notations, one function.

    application/merge-patch+json             RFC 7386: objects merge, null removes, rest replaces
    application/json-patch+json              RFC 6902: a list of operations at JSON pointers
    application/strategic-merge-patch+json   Kubernetes: merge, with lists merged by key

Pure: the object given is never changed.  Which notations a kind accepts is part of the answer:
Kubernetes knows merge keys only of its own kinds, and kubectl falls back to a merge patch when a
strategic one is refused with 415 (kubectl-facade, section 5).  Server-side apply will be a fourth
notation here.
"""

import copy
import json
from collections.abc import Callable
from typing import Any, Final

from mutua.api.kinds import Kind
from mutua.api.object import Object
from mutua.api.schema import schema_of
from mutua.api.strategic import merge_strategically
from mutua.foundation.errors import Rejected

MERGE: Final = "application/merge-patch+json"
JSON: Final = "application/json-patch+json"
STRATEGIC: Final = "application/strategic-merge-patch+json"

MAX_OPERATIONS: Final = 10_000
"""Operations in one JSON patch (kube-apiserver `maxJSONPatchOperations`)."""

MAX_COPIED: Final = 3 * 1024 * 1024
"""Bytes the `copy` operations of one patch may add, or doubling copies would exhaust memory
(kube-apiserver sets `AccumulatedCopySizeLimit` to its request limit)."""


class BadPatch(Rejected):
    """The patch is malformed, or does not fit the object (HTTP 422)."""

    code = "api.bad_patch"


class UnsupportedPatchType(Rejected):
    """The kind does not take patches of this media type (HTTP 415)."""

    code = "api.unsupported_patch_type"


def patch_types(kind: Kind) -> tuple[str, ...]:
    """Return the media types a kind accepts."""
    return (JSON, MERGE) if kind.is_custom else (JSON, MERGE, STRATEGIC)


def apply_patch(content_type: str, obj: Object, patch: Any, kind: Kind) -> Object:
    """Return `obj` changed by `patch`.

    Args:
        content_type: Media type of the patch, without parameters.
        obj: The object as stored; not changed.
        patch: The decoded JSON body.
        kind: The object's kind, whose schema knows the merge keys.

    Raises:
        UnsupportedPatchType: The kind does not accept this media type.
        BadPatch: The patch is malformed, refers to something absent, or a `test` failed.
    """
    if content_type not in patch_types(kind):
        accepted = ", ".join(patch_types(kind))
        raise UnsupportedPatchType(
            "the body of the request was in an unknown format - "
            f"accepted media types include: {accepted}"
        )
    patched: Any
    if content_type == JSON:
        patched = _apply_operations(obj, patch)
    elif not isinstance(patch, dict):
        raise BadPatch("a patch must be a JSON object")
    elif content_type == MERGE:
        patched = merge(obj, patch)
    else:
        try:
            patched = merge_strategically(obj, patch, schema_of(kind))
        except (TypeError, ValueError) as error:
            raise BadPatch(str(error)) from error
    if not isinstance(patched, dict):
        raise BadPatch("the patch does not leave an object")
    return copy.deepcopy(patched)


def merge(target: Any, patch: Any) -> Any:
    """Return `target` merged with `patch` (RFC 7386, section 2); neither is changed."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge(merged.get(name), value)
    return merged


def _apply_operations(obj: Object, operations: Any) -> Any:
    if not isinstance(operations, list) or not all(isinstance(op, dict) for op in operations):
        raise BadPatch("a JSON patch must be an array of operations")
    if len(operations) > MAX_OPERATIONS:
        raise BadPatch(f"a JSON patch may have at most {MAX_OPERATIONS} operations")
    document = [copy.deepcopy(obj)]  # boxed, so that the whole document has a place too
    copied = 0
    for number, operation in enumerate(operations):
        try:
            if operation.get("op") == "copy":
                copied += len(json.dumps(_get(document, _pointer(operation, "from"))))
            if copied > MAX_COPIED:
                raise ValueError(f"copies more than {MAX_COPIED} bytes")
            _OPERATIONS[operation["op"]](document, operation)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            detail = f"missing or unknown {error}" if isinstance(error, KeyError) else str(error)
            # The value stays out of the message: it may be a Secret's.
            where = f"operation {number} ({operation.get('op')} {operation.get('path')})"
            raise BadPatch(f"JSON patch {where}: {detail}") from error
    return document[0]


def _add(document: list[Any], operation: Object) -> None:
    _insert(document, _pointer(operation, "path"), copy.deepcopy(operation["value"]))


def _remove(document: list[Any], operation: Object) -> None:
    _take(document, _pointer(operation, "path"))


def _replace(document: list[Any], operation: Object) -> None:
    path = _pointer(operation, "path")
    value = copy.deepcopy(operation["value"])
    parent = _get(document, path[:-1])
    _get(document, path)
    parent[_index(parent, path[-1]) if isinstance(parent, list) else path[-1]] = value


def _move(document: list[Any], operation: Object) -> None:
    source, target = _pointer(operation, "from"), _pointer(operation, "path")
    if target[: len(source)] == source and target != source:
        raise ValueError("cannot move a value into itself")
    _insert(document, target, _take(document, source))


def _copy(document: list[Any], operation: Object) -> None:
    value = copy.deepcopy(_get(document, _pointer(operation, "from")))
    _insert(document, _pointer(operation, "path"), value)


def _test(document: list[Any], operation: Object) -> None:
    found, wanted = _get(document, _pointer(operation, "path")), operation["value"]
    if json.dumps(found, sort_keys=True) != json.dumps(wanted, sort_keys=True):
        raise ValueError("the tested value differs")


_OPERATIONS: Final[dict[str, Callable[[list[Any], Object], None]]] = {
    "add": _add,
    "remove": _remove,
    "replace": _replace,
    "move": _move,
    "copy": _copy,
    "test": _test,
}


def _pointer(operation: Object, member: str) -> tuple[str, ...]:
    """Return the steps of a JSON pointer (RFC 6901) from the box around the document."""
    text = operation[member]
    if not isinstance(text, str) or (text and not text.startswith("/")):
        raise ValueError(f"not a JSON pointer: {text!r}")
    steps = [step.replace("~1", "/").replace("~0", "~") for step in text.split("/")[1:]]
    return ("0", *steps)


def _get(document: Any, path: tuple[str, ...]) -> Any:
    for step in path:
        if isinstance(document, list):
            document = document[_index(document, step)]
        elif isinstance(document, dict) and step in document:
            document = document[step]
        else:
            raise ValueError(f"nothing at {step!r}")
    return document


def _index(items: list[Any], step: str) -> int:
    if not (step.isascii() and step.isdecimal()) or (step != "0" and step.startswith("0")):
        raise ValueError(f"not an array index: {step!r}")
    if int(step[:10]) >= len(items):
        raise ValueError(f"nothing at index {step}")
    return int(step)


def _insert(document: list[Any], path: tuple[str, ...], value: Any) -> None:
    parent, step = _get(document, path[:-1]), path[-1]
    if len(path) == 1:
        document[0] = value
    elif isinstance(parent, list):
        index = len(parent) if step in {"-", str(len(parent))} else _index(parent, step)
        parent.insert(index, value)
    elif isinstance(parent, dict):
        parent[step] = value
    else:
        raise TypeError(f"cannot add below {parent!r}")


def _take(document: list[Any], path: tuple[str, ...]) -> Any:
    if len(path) == 1:
        raise ValueError("the whole object cannot be removed")
    value, parent, step = _get(document, path), _get(document, path[:-1]), path[-1]
    del parent[_index(parent, step) if isinstance(parent, list) else step]
    return value
