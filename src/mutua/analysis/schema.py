"""What the API would say about a manifest, before it is applied."""

from collections.abc import Iterator
from typing import Final

from mutua.analysis.codes import NO_ADDRESSES, SCHEMA_ERROR, SCHEMA_WARNING
from mutua.analysis.mesh import Mesh
from mutua.analysis.message import Level, Message, origin_of
from mutua.api.defaults import apply_defaults
from mutua.api.kinds import find_by_kind
from mutua.api.object import (
    AUTHORIZATION_POLICIES,
    CONFIG_MAPS,
    DESTINATION_RULES,
    PEER_AUTHENTICATIONS,
    SERVICE_ENTRIES,
    Object,
)
from mutua.api.schema import unknown_fields
from mutua.api.validation import validate
from mutua.api.validation.mesh_config import is_mesh_config

POLICIES: Final = (
    CONFIG_MAPS,
    PEER_AUTHENTICATIONS,
    AUTHORIZATION_POLICIES,
    DESTINATION_RULES,
    SERVICE_ENTRIES,
)
"""Kinds of which admission's words are worth repeating; of ConfigMaps only the MeshConfig is read,
which the mesh does not follow when admission would refuse it."""


def judge(obj: Object) -> list[Message]:
    """Return the refusal or the warnings that applying an object would get.

    Args:
        obj: With apiVersion, kind and metadata.name; a namespaced one with its namespace.
    """
    return list(_judge(obj))


def analyze(mesh: Mesh) -> Iterator[Message]:
    """Yield what admission warned of when the policies and rules of a mesh were stored."""
    for resource in POLICIES:
        for obj in mesh.of_kind(resource):
            if resource != CONFIG_MAPS or is_mesh_config(obj):
                yield from judge(obj)


def is_refused(messages: list[Message]) -> bool:
    """Tell whether the API would not store the object."""
    return any(message.code.level is Level.ERROR for message in messages)


def _judge(obj: Object) -> Iterator[Message]:
    origin = origin_of(obj)
    kind = find_by_kind(obj["apiVersion"], obj["kind"])
    if kind is None:
        text = f'no matches for kind "{obj["kind"]}" in version "{obj["apiVersion"]}"'
        yield Message(code=SCHEMA_ERROR, origin=origin, text=text)
        return
    for path in unknown_fields(kind, obj):
        text = f'unknown field "{path}"'
        yield Message(code=SCHEMA_ERROR, origin=origin, text=text, path=path)
    verdict = validate(kind, apply_defaults(kind, obj))
    for error in verdict.errors:
        yield Message(code=SCHEMA_ERROR, origin=origin, text=str(error), path=error.path)
    for text in verdict.warnings if not verdict.errors else ():
        code = NO_ADDRESSES if "without spec.addresses" in text else SCHEMA_WARNING
        yield Message(code=code, origin=origin, text=text, path=text.partition(": ")[0])
