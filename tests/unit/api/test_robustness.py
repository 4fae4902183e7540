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


def values(schema: Schema, depth: int = 0) -> st.SearchStrategy[Any]:
    """Mostly of the right shape, sometimes anything."""
    wild = st.integers(0, 19).flatmap(lambda roll: anything if roll == 0 else shaped(schema, depth))
    return wild if depth else shaped(schema, depth)


def shaped(schema: Schema, depth: int) -> st.SearchStrategy[Any]:
    match schema:
        case Scalar(enum=names) if names:
            return st.sampled_from(names)
        case Scalar(type="string"):
            return words
        case Scalar(type="boolean"):
            return st.booleans()
        case Scalar(type="integer"):
            return st.integers(-1, 70_000)
        case Scalar():
            return words | st.integers(-1, 70_000)
        case ListOf(item=item):
            return st.lists(st.deferred(lambda: values(item, depth + 1)), max_size=2)
        case MapOf(value=value):
            return st.dictionaries(words, st.deferred(lambda: values(value, depth + 1)), max_size=2)
        case Struct(fields=fields, required=required):
            names = sorted(fields)
            chosen = st.lists(st.sampled_from(names), max_size=4, unique=True)
            return chosen.flatmap(
                lambda picked: st.fixed_dictionaries(
                    {
                        name: st.deferred(lambda name=name: values(fields[name], depth + 1))
                        for name in {*picked, *required}
                    }
                )
            )
        case _:
            return st.dictionaries(words, anything, max_size=2)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_any_object_gets_a_verdict_defaults_and_a_row(kind: Kind, data: st.DataObject) -> None:
    obj = data.draw(shaped(schema_of(kind), 0))
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
    obj = data.draw(shaped(schema_of(kind), 0))
    patch = data.draw(shaped(schema_of(kind), 0) | anything)
    before = copy.deepcopy((obj, patch))

    for content_type in patch_types(kind):
        try:
            patched = apply_patch(content_type, obj, patch, kind)
        except BadPatch:
            continue
        assert isinstance(patched, dict)

    assert (obj, patch) == before
