"""The language of schemas, and how a JSON value is held against one.

Five forms describe every kind: Scalar, Opaque, ListOf, MapOf, Struct.  `mutua.api.tables` writes
the kinds in them; `mutua.api.schema` applies them to whole objects.  They are much less than JSON
Schema on purpose: each form is also a Go type, a protobuf type and a strategic merge strategy, so
one table can drive all of those.

null counts as absent in a Struct, as in Kubernetes, and is a wrong type anywhere else.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from mutua.api.verdict import FieldError, invalid, required, too_many, unsupported


@dataclass(frozen=True, slots=True)
class Scalar:
    """A value without parts.

    Attributes:
        type: OpenAPI type: "string", "integer", "number" or "boolean"; "" for several.
        format: OpenAPI format; "int-or-string" and "quantity" accept numbers and strings.
        enum: The allowed strings; empty allows all.
        minimum: Lowest integer.
        maximum: Highest integer.
        max_length: Longest string in characters; 0 is unlimited.
    """

    type: str
    format: str = ""
    enum: tuple[str, ...] = ()
    minimum: int | None = None
    maximum: int | None = None
    max_length: int = 0


@dataclass(frozen=True, slots=True)
class Opaque:
    """Any JSON object: mutua stores it and does not look inside."""


@dataclass(frozen=True, slots=True)
class ListOf:
    """An array.

    Attributes:
        item: What it holds.
        key: The item's field that strategic merge patches merge by; "" replaces the list.
        is_set: A list of scalars to which strategic merge patches add.
        max_items: 0 is unlimited.
    """

    item: "Schema"
    key: str = ""
    is_set: bool = False
    max_items: int = 0


@dataclass(frozen=True, slots=True)
class MapOf:
    """An object with free keys."""

    value: "Schema"
    max_items: int = 0


@dataclass(frozen=True, slots=True)
class Struct:
    """An object with known keys.

    Attributes:
        name: Unique within its group and version; names the OpenAPI component.
        fields: The known keys.
        required: Keys that must have a value; "" and [] are none.
    """

    name: str
    fields: Mapping[str, "Schema"]
    required: tuple[str, ...] = ()


Schema = Scalar | Opaque | ListOf | MapOf | Struct


def struct(name: str, required: str = "", /, **fields: Schema) -> Struct:
    """Write a Struct; `required` is a space-separated list of its fields."""
    return Struct(name, fields, tuple(required.split()))


STRING: Final = Scalar("string")
BOOLEAN: Final = Scalar("boolean")
NUMBER: Final = Scalar("number", "double")
INT32: Final = Scalar("integer", "int32", minimum=-(2**31), maximum=2**31 - 1)
INT64: Final = Scalar("integer", "int64", minimum=-(2**63), maximum=2**63 - 1)
COUNT: Final = Scalar("integer", "int32", minimum=0, maximum=2**31 - 1)
BYTES: Final = Scalar("string", "byte")
TIME: Final = Scalar("string", "date-time")
PORT: Final = Scalar("integer", "int32", minimum=1, maximum=65535)
INT_OR_STRING: Final = Scalar("", "int-or-string")
QUANTITY: Final = Scalar("", "quantity")
STRINGS: Final = ListOf(STRING)
LABELS: Final = MapOf(STRING)
OPAQUE: Final = Opaque()
OPAQUE_LIST: Final = ListOf(OPAQUE)


def enum(*values: str) -> Scalar:
    """A string out of an enumeration."""
    return Scalar("string", enum=values)


def child(path: str, field: str) -> str:
    """Return the path of a field below `path`."""
    return f"{path}.{field}" if path else field


def _children(schema: Schema, value: Any, path: str) -> Iterator[tuple[Schema, Any, str]]:
    """Yield the known, present parts of a value; nothing when the value has another shape."""
    match schema:
        case Struct(fields=fields) if isinstance(value, dict):
            for name, part in value.items():
                if part is not None and name in fields:
                    yield fields[name], part, child(path, name)
        case ListOf(item=item) if isinstance(value, list):
            for index, part in enumerate(value):
                yield item, part, f"{path}[{index}]"
        case MapOf(value=inner) if isinstance(value, dict):
            for name, part in value.items():
                yield inner, part, f"{path}[{name}]"
        case _:
            return


def unknown(schema: Schema, value: Any, path: str = "") -> Iterator[str]:
    """Yield the paths of fields the schema does not have."""
    if isinstance(schema, Struct) and isinstance(value, dict):
        yield from (child(path, name) for name in value if name not in schema.fields)
    for inner, part, where in _children(schema, value, path):
        yield from unknown(inner, part, where)


def known(schema: Schema, value: Any) -> Any:
    """Return a copy of `value` without the fields the schema does not have."""
    match schema:
        case Struct(fields=fields) if isinstance(value, dict):
            return {
                name: known(fields[name], part) for name, part in value.items() if name in fields
            }
        case ListOf(item=item) if isinstance(value, list):
            return [known(item, part) for part in value]
        case MapOf(value=inner) if isinstance(value, dict):
            return {name: known(inner, part) for name, part in value.items()}
        case _:
            return value


def misshapen(schema: Schema, value: Any, path: str = "") -> Iterator[FieldError]:
    """Yield what is wrong with types, enumerations, ranges and missing fields."""
    expected = _type_name(schema)
    if not _has_type(schema, value):
        yield invalid(path, _type_found(value), f"must be of type {expected}")
        return
    match schema:
        case Scalar():
            yield from _scalar_errors(schema, value, path)
        case Struct(required=names):
            yield from (required(child(path, name)) for name in names if _is_missing(value, name))
        case ListOf(max_items=limit) | MapOf(max_items=limit) if 0 < limit < len(value):
            yield too_many(path, len(value), limit)
        case _:
            pass
    for inner, part, where in _children(schema, value, path):
        yield from misshapen(inner, part, where)


def _is_missing(value: Mapping[str, Any], name: str) -> bool:
    found = value.get(name)
    return found is None or found == "" or found == []


def _scalar_errors(schema: Scalar, value: Any, path: str) -> Iterator[FieldError]:
    if schema.enum and value not in schema.enum:
        yield unsupported(path, value, schema.enum)
    if schema.format == "byte" and not _BASE64.fullmatch(_LINE_ENDS.sub("", value)):
        yield invalid(path, "***", "must be base64")
    if schema.format == "quantity" and not _QUANTITY.fullmatch(str(value)):
        yield invalid(path, value, "must be a quantity, as 100m, 0.5 or 128Mi")
    if schema.minimum is not None and value < schema.minimum:
        yield invalid(path, value, f"must be greater than or equal to {schema.minimum}")
    if schema.maximum is not None and value > schema.maximum:
        yield invalid(path, value, f"must be less than or equal to {schema.maximum}")
    if schema.max_length and len(value) > schema.max_length:
        yield invalid(path, value, f"must be no more than {schema.max_length} characters")


_BASE64: Final = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")

_LINE_ENDS: Final = re.compile(r"[\r\n]")
"""Allowed anywhere in base64, as in Go's decoder."""

_QUANTITY: Final = re.compile(
    r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[numkMGTPE]|[KMGTPE]i|[eE][+-]?\d+)?"
)
"""Source: apimachinery `resource.Quantity`, <quantity>."""


def _has_type(schema: Schema, value: Any) -> bool:
    match schema:
        case Scalar(type="string"):
            return isinstance(value, str)
        case Scalar(type="boolean"):
            return isinstance(value, bool)
        case Scalar(type="integer"):
            return isinstance(value, int) and not isinstance(value, bool)
        case Scalar(type="number") | Scalar(format="quantity", type=""):
            wanted = (int, float) if schema.type else (int, float, str)
            return isinstance(value, wanted) and not isinstance(value, bool)
        case Scalar():
            return isinstance(value, int | str) and not isinstance(value, bool)
        case ListOf():
            return isinstance(value, list)
        case _:
            return isinstance(value, dict)


def _type_name(schema: Schema) -> str:
    match schema:
        case Scalar():
            return schema.type or (
                "quantity" if schema.format == "quantity" else "integer or string"
            )
        case ListOf():
            return "array"
        case _:
            return "object"


def _type_found(value: Any) -> str:
    names = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array"}
    return "null" if value is None else names.get(type(value), "object")
