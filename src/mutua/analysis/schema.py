"""What the API would say about a manifest, before it is applied."""

from collections.abc import Iterator

from mutua.analysis.codes import SCHEMA_ERROR, SCHEMA_WARNING
from mutua.analysis.message import Level, Message, origin_of
from mutua.api.defaults import apply_defaults
from mutua.api.kinds import find_by_kind
from mutua.api.object import Object
from mutua.api.schema import unknown_fields
from mutua.api.validation import validate


def judge(obj: Object) -> list[Message]:
    """Return the refusal or the warnings that applying an object would get.

    Args:
        obj: With apiVersion, kind and metadata.name; a namespaced one with its namespace.
    """
    return list(_judge(obj))


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
    if not verdict.errors:
        for text in verdict.warnings:
            path = text.partition(": ")[0]
            yield Message(code=SCHEMA_WARNING, origin=origin, text=text, path=path)
