"""ConfigMaps and Secrets: keys become file names, and immutable means it."""

from collections.abc import Iterator
from typing import Final

from mutua.api.object import Object
from mutua.api.validation.mesh_config import check_mesh_config, is_mesh_config
from mutua.api.validation.names import data_key, name_errors
from mutua.api.verdict import (
    ErrorType,
    FieldError,
    Verdict,
    duplicate,
    forbidden,
    invalid,
    required,
)

MAX_CONTENT: Final = 1024 * 1024
"""Bytes of all values together (core/v1 `MaxSecretSize`)."""

_REQUIRED_KEYS: Final = {
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
}
"""Keys a typed Secret must have (core/v1 Secret types)."""


def check_secret(obj: Object, old: Object | None) -> Verdict:
    """Judge a Secret."""
    errors = [*_content_errors(obj, ("data",)), *_frozen_errors(obj, old)]
    data, wanted = obj.get("data") or {}, _REQUIRED_KEYS.get(obj.get("type") or "", ())
    errors += [required(f"data[{key}]") for key in wanted if key not in data]
    if old is not None and (old.get("type") or "Opaque") != (obj.get("type") or "Opaque"):
        errors.append(invalid("type", obj.get("type"), "field is immutable"))
    return Verdict(errors=errors)


def check_config_map(obj: Object, old: Object | None) -> Verdict:
    """Judge a ConfigMap."""
    errors = [*_content_errors(obj, ("data", "binaryData")), *_frozen_errors(obj, old)]
    both = (obj.get("data") or {}).keys() & (obj.get("binaryData") or {}).keys()
    errors += [duplicate(f"binaryData[{key}]", key) for key in sorted(both)]
    if not errors and is_mesh_config(obj):
        return check_mesh_config(obj, old)
    return Verdict(errors=errors)


def _content_errors(obj: Object, fields: tuple[str, ...]) -> Iterator[FieldError]:
    size = 0
    for field in fields:
        for key, value in (obj.get(field) or {}).items():
            path = f"{field}[{key}]"
            yield from name_errors(path, key, data_key)
            if key in {".", ".."} or key.startswith(".."):
                yield invalid(path, key, "must not start with '..'")
            size += len(value.encode()) if field == "data" else len(value) * 3 // 4
    if size > MAX_CONTENT:
        yield FieldError(
            "data", ErrorType.TOO_LONG, detail=f"may not be more than {MAX_CONTENT} bytes"
        )


def _frozen_errors(obj: Object, old: Object | None) -> Iterator[FieldError]:
    if old is None or not old.get("immutable"):
        return
    if not obj.get("immutable"):
        yield forbidden("immutable", "field is immutable when `immutable` is set")
    for field in ("data", "binaryData"):
        if (obj.get(field) or {}) != (old.get(field) or {}):
            yield forbidden(field, "field is immutable when `immutable` is set")
