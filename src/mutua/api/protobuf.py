r"""Request bodies that kubectl 1.32 insists on sending as protobuf, decoded to JSON objects.

`kubectl create namespace`, Helm and other typed clients cannot be talked out of it
(kubectl-facade, section 1.4); answers may always be JSON, so there is no encoder.

    k8s\0  Unknown{ 1: TypeMeta{1: apiVersion, 2: kind}, 2: the object itself }

The walk is driven by the kind's schema (names, types) and by `NUMBERS` (field numbers).  What is
special is Go's encoding of values: zero scalars are written although they mean "absent", unless
the field is a pointer; times, quantities and int-or-strings are messages.  Unknown numbers are
skipped, as protobuf asks; content of a part that mutua does not model is refused, not dropped.
"""

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final

from mutua.api.object import Object
from mutua.api.shape import ListOf, MapOf, Opaque, Scalar, Schema, Struct
from mutua.api.tables import SCHEMAS
from mutua.api.tables.protobuf_numbers import NUMBERS
from mutua.foundation.clock import rfc3339
from mutua.foundation.errors import Rejected

MEDIA_TYPE: Final = "application/vnd.kubernetes.protobuf"
"""Source: apimachinery `runtime.ContentTypeProtobuf`."""

MAGIC: Final = b"k8s\0"
"""Start of every body (apimachinery `runtime/serializer/protobuf`)."""


class BadBody(Rejected):
    """The body is not a protobuf message that mutua understands (HTTP 400)."""

    code = "api.bad_protobuf"


def decode_protobuf(body: bytes) -> Object:
    """Return the object in a protobuf request body, as its author would write it in JSON.

    Raises:
        BadBody: It is malformed, of an unknown kind, or uses a part that mutua does not model.
    """
    if not body.startswith(MAGIC):
        raise BadBody("protobuf body does not start with k8s\\0")
    envelope = dict(_fields(body[len(MAGIC) :]))
    meta = dict(_fields(_bytes(envelope.get(1, b""))))
    api_version, name = _text(meta.get(1, b"")), _text(meta.get(2, b""))
    if name not in SCHEMAS or name not in NUMBERS:
        raise BadBody(f"no protobuf decoder for kind {name!r}; send JSON")
    obj = _message(SCHEMAS[name], NUMBERS[name], _bytes(envelope.get(2, b"")))
    return {"apiVersion": api_version, "kind": name, **obj}


@dataclass(frozen=True, slots=True)
class _Field:
    """One line of NUMBERS: a field of the object, or an embedded message."""

    name: str
    is_pointer: bool = False
    embedded: str = ""


@cache
def _numbered(line: str) -> Mapping[int, _Field]:
    fields: dict[int, _Field] = {}
    for word in line.split():
        name, _, number = word.partition("=")
        if name.startswith("~"):
            fields[int(number)] = _Field(name, embedded=name[1:])
        else:
            fields[int(number)] = _Field(name.rstrip("*"), is_pointer=name.endswith("*"))
    return fields


def _message(schema: Struct, line: str, data: bytes) -> Object:
    """Decode one message into the object that `schema` describes."""
    numbered = _numbered(line)
    obj: Object = {}
    for number, value in _fields(data):
        field = numbered.get(number)
        if field is None:
            continue
        if field.embedded:
            obj |= _message(schema, NUMBERS[field.embedded], _bytes(value))
            continue
        _put(obj, field, schema.fields[field.name], value)
    return obj


def _put(obj: Object, field: _Field, schema: Schema, value: int | bytes) -> None:
    if isinstance(schema, ListOf):
        obj.setdefault(field.name, []).append(_value(field.name, schema.item, value))
    elif isinstance(schema, MapOf):
        key, item = _entry(field.name, schema, _bytes(value))
        obj.setdefault(field.name, {})[key] = item
    else:
        decoded = _value(field.name, schema, value)
        if isinstance(schema, Scalar) and not field.is_pointer and not decoded:
            return
        if decoded is not None:
            obj[field.name] = decoded


def _entry(name: str, schema: MapOf, data: bytes) -> tuple[str, Any]:
    parts = dict(_fields(data))
    if isinstance(schema.value, ListOf):
        values = [_value(name, schema.value.item, item) for n, item in _fields(data) if n == 2]
        return _text(parts.get(1, b"")), values
    return _text(parts.get(1, b"")), _value(name, schema.value, parts.get(2, b""))


def _value(name: str, schema: Schema, value: int | bytes) -> Any:
    match schema:
        case Scalar():
            return _scalar(schema, value)
        case Struct():
            return _message(schema, NUMBERS.get(schema.name, ""), _bytes(value))
        case Opaque() if name == "fieldsV1":
            return _raw_json(dict(_fields(_bytes(value))).get(1, b"{}"))
        case Opaque() if not _bytes(value):
            return {}
        case _:
            raise BadBody(f"{name} cannot be sent as protobuf; send JSON")


def _scalar(schema: Scalar, value: int | bytes) -> Any:
    match schema:
        case Scalar(type="integer"):
            return _signed(value)
        case Scalar(type="boolean"):
            return _signed(value) != 0
        case Scalar(format="byte"):
            return base64.b64encode(_bytes(value)).decode()
        case Scalar(format="date-time"):
            return _time(_bytes(value))
        case Scalar(format="quantity"):
            return _text(dict(_fields(_bytes(value))).get(1, b""))
        case Scalar(format="int-or-string"):
            parts = dict(_fields(_bytes(value)))
            is_text = parts.get(1, 0) == 1
            return _text(parts.get(3, b"")) if is_text else _signed(parts.get(2, 0))
        case _:
            return _text(value)


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def _time(data: bytes) -> str | None:
    """Decode a Time or MicroTime {1: seconds, 2: nanoseconds}; the zero time is absent."""
    parts = dict(_fields(data))
    seconds, nanos = _signed(parts.get(1, 0)), _signed(parts.get(2, 0))
    if not parts:
        return None
    try:
        instant = _EPOCH + timedelta(seconds=seconds)
    except OverflowError as error:
        raise BadBody(f"instant out of range: {seconds} s") from error
    text = rfc3339(instant)
    return text.replace("Z", f".{nanos // 1000:06d}Z") if nanos else text


def _raw_json(value: int | bytes) -> Any:
    try:
        return json.loads(_bytes(value))
    except ValueError as error:
        raise BadBody("managed fields are not JSON") from error


def _signed(value: int | bytes) -> int:
    """Return a varint as the signed 64-bit integer it encodes."""
    if not isinstance(value, int):
        raise BadBody("expected a number")
    return value - (1 << 64) if value >= 1 << 63 else value


def _bytes(value: int | bytes) -> bytes:
    if not isinstance(value, bytes):
        raise BadBody("expected bytes")
    return value


def _text(value: int | bytes) -> str:
    try:
        return _bytes(value).decode()
    except UnicodeDecodeError as error:
        raise BadBody("text is not UTF-8") from error


VARINT: Final = 0
FIXED64: Final = 1
LENGTH_DELIMITED: Final = 2
FIXED32: Final = 5
"""Wire types (protobuf encoding guide); groups are not used by Kubernetes."""


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield (field number, value) of a message in the order of the wire."""
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        number, wire_type = tag >> 3, tag & 7
        if wire_type == VARINT:
            value, position = _varint(data, position)
            yield number, value
            continue
        length = {FIXED64: 8, FIXED32: 4}.get(wire_type, 0)
        if wire_type == LENGTH_DELIMITED:
            length, position = _varint(data, position)
        elif not length:
            raise BadBody(f"unknown wire type {wire_type}")
        if position + length > len(data):
            raise BadBody("message is cut short")
        yield number, data[position : position + length]
        position += length


MAX_VARINT: Final = 10
"""Bytes of the longest varint (64 bits in groups of 7)."""


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = 0
    for place in range(MAX_VARINT):
        if position >= len(data):
            raise BadBody("message is cut short")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value & (1 << 64) - 1, position
    raise BadBody("number is too long")
