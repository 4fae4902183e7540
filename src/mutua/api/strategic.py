"""Strategic merge: what kubectl apply, edit and set send for Kubernetes' own kinds.

Objects merge as in a merge patch.  Lists that the schema gives a key merge element by element,
sets of scalars grow, all other lists are replaced.  Directives inside the patch say the rest:

    $patch: delete | replace | merge     on an object or on an element of a keyed list
    $retainKeys: [a, b]                  drop every other key of this object first
    $deleteFromPrimitiveList/<field>     remove these scalars from a set
    $setElementOrder/<field>             the order the author sees; elements of others keep place

Source: Kubernetes community document "strategic-merge-patch"; order as apimachinery
`strategicpatch.normalizeElementOrder`.
"""

from typing import Any, Final

from mutua.api.shape import OPAQUE, ListOf, MapOf, Schema, Struct

PATCH: Final = "$patch"
RETAIN: Final = "$retainKeys"
ORDER: Final = "$setElementOrder/"
DELETE: Final = "$deleteFromPrimitiveList/"

_NO_KEY: Final = ListOf(OPAQUE)


def merge_strategically(
    target: dict[str, Any], patch: dict[str, Any], schema: Schema
) -> dict[str, Any]:
    """Return `target` merged with `patch`; neither is changed.

    Raises:
        ValueError: A directive is unknown, or a list element lacks its merge key.
        TypeError: A directive's value has the wrong type.
    """
    content = {name: value for name, value in patch.items() if not name.startswith("$")}
    match patch.get(PATCH, "merge"):
        case "delete":
            return {}
        case "replace":
            return content
        case "merge":
            pass
        case directive:
            raise ValueError(f"unknown {PATCH} directive: {directive!r}")
    merged = _retained(target, patch)
    for name, value in content.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = _merge_value(merged.get(name), value, _field(schema, name))
    for directive, values in patch.items():
        if directive.startswith(DELETE):
            name = directive.removeprefix(DELETE)
            merged[name] = [item for item in merged.get(name) or [] if item not in values]
        elif directive.startswith(ORDER):
            name = directive.removeprefix(ORDER)
            if isinstance(merged.get(name), list):
                merged[name] = _ordered(merged[name], values, target.get(name) or [], schema, name)
    return merged


def _retained(target: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    if RETAIN not in patch:
        return dict(target)
    if not isinstance(patch[RETAIN], list):
        raise TypeError(f"{RETAIN} must be a list")
    return {name: value for name, value in target.items() if name in patch[RETAIN]}


def _field(schema: Schema, name: str) -> Schema:
    match schema:
        case Struct(fields=fields):
            return fields.get(name, OPAQUE)
        case MapOf(value=value):
            return value
        case _:
            return OPAQUE


def _merge_value(target: Any, value: Any, schema: Schema) -> Any:
    if isinstance(value, dict):
        return merge_strategically(target if isinstance(target, dict) else {}, value, schema)
    if not isinstance(value, list):
        return value
    known = schema if isinstance(schema, ListOf) else _NO_KEY
    present = target if isinstance(target, list) else []
    if known.key:
        return _merge_elements(present, value, known)
    if known.is_set:
        return [*present, *(item for item in value if item not in present)]
    return value


def _merge_elements(target: list[Any], patch: list[Any], schema: ListOf) -> list[Any]:
    if {PATCH: "replace"} in patch:
        return [item for item in patch if item != {PATCH: "replace"}]
    merged = list(target)
    for item in patch:
        key = _key_of(item, schema.key)
        places = [
            place
            for place, present in enumerate(merged)
            if isinstance(present, dict) and present.get(schema.key) == key
        ]
        if item.get(PATCH) == "delete":
            merged = [present for place, present in enumerate(merged) if place not in places]
        elif places:
            merged[places[0]] = merge_strategically(merged[places[0]], item, schema.item)
        else:
            merged.append(merge_strategically({}, item, schema.item))
    return merged


def _key_of(item: Any, key: str) -> Any:
    if not isinstance(item, dict) or key not in item:
        raise ValueError(f"list element does not contain its merge key {key!r}: {item!r}")
    return item[key]


def _ordered(
    merged: list[Any], order: Any, before: list[Any], schema: Schema, name: str
) -> list[Any]:
    """Put `merged` in the author's order; elements the author does not know keep their place."""
    field = _field(schema, name)
    key = field.key if isinstance(field, ListOf) else ""
    if not isinstance(order, list):
        raise TypeError(f"{ORDER}{name} must be a list")

    def identity(item: Any) -> Any:
        return item.get(key) if key and isinstance(item, dict) else item

    wanted = [identity(item) for item in order]
    position = [identity(item) for item in before]
    theirs = [item for item in merged if identity(item) not in wanted]
    ours = sorted(
        (item for item in merged if identity(item) in wanted),
        key=lambda item: wanted.index(identity(item)),
    )
    result: list[Any] = []
    while theirs and ours:
        left, right = identity(theirs[0]), identity(ours[0])
        is_earlier = (
            left in position and right in position and position.index(left) < position.index(right)
        )
        result.append((theirs if is_earlier else ours).pop(0))
    return [*result, *theirs, *ours]
