"""The tables against a second opinion: the models that lightkube generates from Kubernetes.

A field we forgot would be refused as unknown; a field we invented would be accepted in vain.
"""

import types
import typing
from typing import Any

import msgspec
import pytest
from lightkube.models import (
    apiextensions_v1,
    apps_v1,
    authentication_v1,
    authorization_v1,
    autoscaling_v1,
    core_v1,
    discovery_v1,
    meta_v1,
)

from mutua.api.kinds import KINDS, REVIEWS, Kind
from mutua.api.schema import schema_of
from mutua.api.shape import ListOf, MapOf, Opaque, Scalar, Schema, Struct
from mutua.api.tables import SCHEMAS

MODULES = (
    core_v1,
    apps_v1,
    discovery_v1,
    apiextensions_v1,
    authentication_v1,
    authorization_v1,
    autoscaling_v1,
    meta_v1,
)
MERGED = {
    # one schema for several Kubernetes types that differ in nothing, or in names of times only
    "KeySelector": core_v1.SecretKeySelector,
    "EnvSource": core_v1.SecretEnvSource,
    "KeysProjection": core_v1.SecretProjection,
}
NOT_COMPARED = {"Condition", "IstioStatus"}
NEWER = {
    "allocatedResources",
    "bindMountOptions",
    "defaultUser",
    "evictionResponders",
    "fileKeyRef",
    "mode",
    "nodeAllocatableResourceClaimStatuses",
    "observedGeneration",
    "podCertificate",
    "podPreemptionPolicy",
    "protocol",
    "resources",
    "restartPolicyRules",
    "runningInUserNamespace",
    "schedulingGroup",
    "user",
    "volumeHealth",
}
"""Fields of Kubernetes releases after the one kubectl 1.32 belongs to."""

BUILT_IN = [kind for kind in (*KINDS, *REVIEWS) if not kind.is_custom]


def model_of(schema: Struct) -> Any:
    if schema.name in MERGED:
        return MERGED[schema.name]
    return next(
        (getattr(module, schema.name) for module in MODULES if hasattr(module, schema.name)), None
    )


def structs(schema: Schema) -> typing.Iterator[Struct]:
    match schema:
        case Struct():
            yield schema
            for field in schema.fields.values():
                yield from structs(field)
        case ListOf(item=inner) | MapOf(value=inner):
            yield from structs(inner)
        case _:
            return


def bare(kind: Any) -> Any:
    """Strip Optional."""
    if typing.get_origin(kind) in {typing.Union, types.UnionType}:
        return next(each for each in typing.get_args(kind) if each is not type(None))
    return kind


def agrees(schema: Schema, kind: Any) -> bool:
    kind = bare(kind)
    origin = typing.get_origin(kind) or kind
    match schema:
        case ListOf():
            return origin is list
        case MapOf() | Opaque():
            return origin is dict or hasattr(origin, "__struct_fields__") or origin is object
        case Struct():
            return hasattr(origin, "__struct_fields__")
        case Scalar(type="integer"):
            return origin is int
        case Scalar(type="boolean"):
            return origin is bool
        case Scalar(type="string", format="date-time"):
            return origin.__name__ == "datetime"
        case _:
            return origin in {str, int} or origin is object


@pytest.mark.parametrize("kind", BUILT_IN, ids=lambda kind: kind.kind)
def test_every_field_of_kubernetes_is_known_and_none_is_invented(kind: Kind) -> None:
    for schema in structs(schema_of(kind)):
        model = model_of(schema)
        if schema.name in NOT_COMPARED or model is None:
            assert schema.name in NOT_COMPARED, f"no model for {schema.name}"
            continue
        theirs = {field.encode_name: field for field in msgspec.structs.fields(model)}
        assert set(theirs) - set(schema.fields) <= NEWER, schema.name
        assert set(schema.fields) <= set(theirs), schema.name
        for name, field in schema.fields.items():
            assert agrees(field, theirs[name].type), f"{schema.name}.{name}"


@pytest.mark.parametrize("kind", BUILT_IN, ids=lambda kind: kind.kind)
def test_required_fields_are_required_by_kubernetes(kind: Kind) -> None:
    # The whole object's `spec` is optional in the generated models and required by validation.
    for schema in structs(schema_of(kind)):
        model = model_of(schema)
        if schema.name in NOT_COMPARED or schema is schema_of(kind) or model is None:
            continue
        demanded = {field.encode_name for field in msgspec.structs.fields(model) if field.required}
        assert set(schema.required) <= demanded | {"template"}, schema.name


def test_names_of_schemas_are_unique_so_that_references_are() -> None:
    by_name: dict[str, Struct] = {}
    for root in SCHEMAS.values():
        for schema in structs(root):
            assert by_name.setdefault(schema.name, schema) is schema, schema.name
