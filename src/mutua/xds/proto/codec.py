"""Messages from and to the JSON that Envoy's own documentation and admin interface use."""

from collections.abc import Mapping
from typing import Any

from google.protobuf import json_format

from mutua.xds.proto.pool import message, pool


def from_json(full_name: str, value: Mapping[str, Any]) -> Any:
    """Return the message of this type with this JSON value; `@type` resolves in our pool.

    Raises:
        json_format.ParseError: A field does not exist or has another type.
    """
    return json_format.ParseDict(dict(value), message(full_name)(), descriptor_pool=pool())


def to_json(body: Any) -> dict[str, Any]:
    """Return a message as JSON with Envoy's snake_case field names."""
    value: dict[str, Any] = json_format.MessageToDict(
        body, preserving_proto_field_name=True, descriptor_pool=pool()
    )
    return value
