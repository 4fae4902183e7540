"""Whatever JSON arrives, the api layer answers; it never fails and never changes its input."""

import copy
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mutua.api.defaults import apply_defaults
from mutua.api.kinds import KINDS, Kind
from mutua.api.patch import BadPatch, apply_patch, patch_types
from mutua.api.schema import drop_unknown, schema_of, unknown_fields
from mutua.api.shape import ListOf, MapOf, Scalar, Schema, Struct
from mutua.api.table import table
from mutua.api.validation import validate

NOW = datetime(2026, 1, 1, tzinfo=UTC)

words = st.sampled_from(["", "a", "A b", "*", "v1", "80", "1.2.3.4", "0", "STRICT", "25%", ".."])
scalars = st.none() | st.booleans() | st.integers(-5, 70_000) | st.floats(0, 1) | words
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(words, inner, max_size=2)
)


def values(schema: Schema, *, wild: bool) -> st.SearchStrategy[Any]:
    """Values of the right shape; when `wild`, a tenth of the parts is anything."""
    shaped = st.deferred(lambda: _shaped(schema, wild=wild))
    if not wild:
        return shaped
    return st.integers(0, 9).flatmap(lambda roll: shaped if roll else anything)


def _shaped(schema: Schema, *, wild: bool) -> st.SearchStrategy[Any]:
    match schema:
        case Scalar(enum=names) if names:
            return st.sampled_from(names)
        case Scalar(type="string", format="byte"):
            return st.sampled_from(["", "eA=="])
        case Scalar(type="string"):
            return words
        case Scalar(type="boolean"):
            return st.booleans()
        case Scalar(type="integer"):
            return st.integers(schema.minimum or 0, min(schema.maximum or 0, 70_000))
        case Scalar():
            return st.sampled_from([0, 1, 80, 70_000, "0", "1"])
        case ListOf(item=item):
            return st.lists(values(item, wild=wild), max_size=2)
        case MapOf(value=value):
            return st.dictionaries(words, values(value, wild=wild), max_size=2)
        case Struct(fields=fields, required=required):
            chosen = st.lists(st.sampled_from(sorted(fields)), max_size=6, unique=True)
            return chosen.flatmap(
                lambda picked: st.fixed_dictionaries(
                    {name: values(fields[name], wild=wild) for name in {*picked, *required}}
                )
            )
        case _:
            return st.dictionaries(words, scalars, max_size=2)


def objects(kind: Kind) -> st.SearchStrategy[dict[str, Any]]:
    """Objects of a kind as users get them right, or nearly."""
    schema = schema_of(kind)
    return st.booleans().flatmap(lambda wild: _shaped(schema, wild=wild))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_any_object_gets_a_verdict_defaults_and_a_row(kind: Kind, data: st.DataObject) -> None:
    obj = data.draw(objects(kind))
    before = copy.deepcopy(obj)

    defaulted = apply_defaults(kind, obj)
    verdict = validate(kind, defaulted, obj)
    known = drop_unknown(kind, obj)

    assert apply_defaults(kind, defaulted) == defaulted, "defaults are idempotent"
    assert unknown_fields(kind, known) == []
    assert all(str(error) for error in verdict.errors)
    if not validate(kind, obj).errors:
        json.dumps(table(kind, [obj], NOW))
    assert obj == before


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_any_patch_is_applied_or_refused(kind: Kind, data: st.DataObject) -> None:
    obj = data.draw(objects(kind))
    patch = data.draw(objects(kind) | anything)
    before = copy.deepcopy((obj, patch))

    for content_type in patch_types(kind):
        try:
            patched = apply_patch(content_type, obj, patch, kind)
        except BadPatch:
            continue
        assert isinstance(patched, dict)

    assert (obj, patch) == before
