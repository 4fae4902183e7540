"""What an object of each kind may contain.

One compact schema per kind (`mutua.api.tables`) is the single source for strict decoding, type and
enumeration errors, OpenAPI, strategic merge keys and the types of protobuf bodies.  Every write
goes through three questions:

    unknown_fields   paths the schema does not know         -> 400 under fieldValidation=Strict
    drop_unknown     the object without them                -> what is stored otherwise
    shape_errors     wrong types, missing, out of range     -> 422; admission asks it first

Code after `shape_errors` may rely on the shape.
"""

from collections.abc import Sequence

from mutua.api.kinds import Kind
from mutua.api.object import Object
from mutua.api.shape import Struct, known, misshapen, unknown
from mutua.api.tables import SCHEMAS
from mutua.api.verdict import FieldError


def schema_of(kind: Kind) -> Struct:
    """Return the schema of a kind."""
    return SCHEMAS[kind.kind]


def unknown_fields(kind: Kind, obj: Object) -> list[str]:
    """Return the paths of fields the kind does not have, as `spec.containers[0].bogus`."""
    return list(unknown(schema_of(kind), obj))


def drop_unknown(kind: Kind, obj: Object) -> Object:
    """Return a copy of `obj` without the fields the kind does not have."""
    kept: Object = known(schema_of(kind), obj)
    return kept


def shape_errors(kind: Kind, obj: Object) -> list[FieldError]:
    """Return what is wrong with types, enumerations, ranges and missing fields."""
    return list(misshapen(schema_of(kind), obj))


def strict_decoding_message(kind: Kind, version: str, fields: Sequence[str]) -> str:
    """Word the refusal of unknown fields as an API server does (HTTP 400)."""
    faults = ", ".join(f'unknown field "{path}"' for path in fields)
    return (
        f'{kind.kind} in version "{version}" cannot be handled as a {kind.kind}: '
        f"strict decoding error: {faults}"
    )
