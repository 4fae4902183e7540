"""What object did the client send?

Bodies come as JSON or, for kinds that Kubernetes has built in, in Kubernetes' protobuf, which
kubectl 1.32 uses for `create` and gives up on when refused.  A missing Content-Type means JSON,
because old clients send none (kubectl-facade, section 1.1).

The URL completes the object: apiVersion, kind, namespace and name may be missing, but not differ.
"""

from enum import Enum
from typing import Any

import msgspec

from mutua.api.kinds import Kind
from mutua.api.object import Object
from mutua.api.protobuf import MEDIA_TYPE as PROTOBUF
from mutua.api.protobuf import decode_protobuf
from mutua.api.schema import drop_unknown, strict_decoding_message, unknown_fields
from mutua.cluster.apiserver.message import JSON, Request
from mutua.cluster.apiserver.route import Target
from mutua.cluster.apiserver.status import Refusal, bad_request


class FieldValidation(Enum):
    """What happens to fields that a kind does not have (?fieldValidation=)."""

    STRICT = "Strict"
    WARN = "Warn"
    IGNORE = "Ignore"


def media_type(request: Request) -> str:
    """Return the Content-Type without parameters, JSON when there is none."""
    return request.header("content-type").partition(";")[0].strip().lower() or JSON


def decode(request: Request) -> Any:
    """Return the body as JSON values; None when it is empty.

    Raises:
        Refusal: The format is unknown, or the body does not follow it.
    """
    content_type = media_type(request)
    if not request.body:
        return None
    if content_type == PROTOBUF:
        return decode_protobuf(request.body)
    if content_type != JSON:
        raise Refusal(
            415,
            "UnsupportedMediaType",
            "the body of the request was in an unknown format - "
            f"accepted media types include: {JSON}, {PROTOBUF}",
        )
    return decode_json(request.body)


def decode_json(body: bytes) -> Any:
    """Return JSON values.

    Raises:
        Refusal: The text is not JSON, or nests too deeply.
    """
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise bad_request(f"the object provided is unrecognized: {error}") from error


def decode_object(request: Request) -> Object:
    """Return the body, which must be one JSON object.

    Raises:
        Refusal: It is something else.
    """
    obj = decode(request)
    if not isinstance(obj, dict):
        raise bad_request("the body of the request must be an object")
    return obj


def completed(obj: Object, target: Target) -> Object:
    """Return `obj` with what the URL says filled in.

    Raises:
        Refusal: The object contradicts the URL.
    """
    kind = target.kind
    _must_agree("API version", obj.get("apiVersion"), target.api_version)
    _must_agree("kind", obj.get("kind"), kind.kind)
    metadata = obj.get("metadata") or {}
    if not isinstance(metadata, dict):
        raise bad_request("metadata must be an object")
    namespace, name = metadata.get("namespace"), metadata.get("name")
    if not kind.namespaced:
        metadata = {k: v for k, v in metadata.items() if k != "namespace"}
    elif namespace and namespace != target.namespace:
        raise bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    else:
        metadata = metadata | {"namespace": target.namespace}
    if target.name:
        if name and name != target.name:
            raise bad_request(
                f"the name of the object ({name}) does not match the name on the URL "
                f"({target.name})"
            )
        metadata = metadata | {"name": target.name}
    head = {"apiVersion": kind.api_version(), "kind": kind.kind, "metadata": metadata}
    return head | {k: v for k, v in obj.items() if k not in head}


def _must_agree(what: str, found: Any, expected: str) -> None:
    if found and found != expected:
        raise bad_request(
            f"the {what} in the data ({found}) does not match the expected {what} ({expected})"
        )


def checked_fields(
    obj: Object, kind: Kind, version: str, request: Request
) -> tuple[Object, list[str]]:
    """Return `obj` with only known fields, and warnings about the others.

    Raises:
        Refusal: There are others and the client wants to be told (fieldValidation=Strict).
    """
    unknown = unknown_fields(kind, obj)
    if not unknown:
        return obj, []
    mode = _field_validation(request)
    if mode is FieldValidation.STRICT:
        raise bad_request(strict_decoding_message(kind, version, unknown))
    warnings = [f'unknown field "{path}"' for path in unknown]
    return drop_unknown(kind, obj), warnings if mode is FieldValidation.WARN else []


def _field_validation(request: Request) -> FieldValidation:
    text = request.parameter("fieldValidation") or FieldValidation.WARN.value
    try:
        return FieldValidation(text)
    except ValueError:
        raise bad_request(f"not a fieldValidation: {text!r}") from None


def is_dry_run(request: Request) -> bool:
    """Tell whether the client only wants to know what would happen.

    Raises:
        Refusal: The parameter has an unknown value.
    """
    values = [value for value in request.query.get("dryRun", []) if value]
    if any(value != "All" for value in values):
        raise bad_request(f"not a dryRun: {values}")
    return bool(values)
