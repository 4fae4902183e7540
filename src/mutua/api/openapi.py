"""The schemas, in the notations kubectl downloads before it applies anything.

OpenAPI v3, one document per group and version, tells kubectl that PATCH takes `fieldValidation`
(so the server, not kubectl, judges unknown fields) and answers `kubectl explain`.  OpenAPI v2 must
exist for kubectl's patch computation; a zero-byte protobuf is a valid empty document, and with it
kubectl uses the schemas compiled into itself for Kubernetes' own kinds (kubectl-facade, section 2).

The patch operation of a built-in kind never lists the strategic type: kubectl would then compute
patches from these schemas, without merge keys, and replace whole lists.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from mutua import __version__
from mutua.api.kinds import Kind, group_versions, kinds_in
from mutua.api.patch import JSON, MERGE
from mutua.api.schema import schema_of
from mutua.api.shape import ListOf, MapOf, Opaque, Scalar, Schema, Struct

V2_TYPE: Final = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
"""Content-Type of the v2 document; kubectl asks with `@` for the second dot and cannot parse it."""

Document = dict[str, Any]

APPLY: Final = "application/apply-patch+yaml"


def openapi_v2() -> bytes:
    """Return the v2 document: empty, which means "use what you know"."""
    return b""


def group_version_paths() -> tuple[str, ...]:
    """Return the names of all v3 documents, as `api/v1` and `apis/<group>/<version>`."""
    return tuple(_root(group, version) for group, version in group_versions())


def openapi_v3_index(hashes: Mapping[str, str]) -> Document:
    """Return the list of v3 documents.

    Args:
        hashes: From each name in `group_version_paths` to a digest of its document, so that
            clients may cache it for ever.
    """
    return {
        "paths": {
            name: {"serverRelativeURL": f"/openapi/v3/{name}?hash={digest}"}
            for name, digest in hashes.items()
        }
    }


def openapi_v3(group: str, version: str) -> Document | None:
    """Return the v3 document of one group and version, None when it is not served."""
    kinds = kinds_in(group, version)
    if not kinds:
        return None
    components: dict[str, Document] = {}
    paths: dict[str, Document] = {}
    for kind in kinds:
        name = _component(schema_of(kind), components)
        components[name]["x-kubernetes-group-version-kind"] = [_gvk(kind, version)]
        paths |= _paths(kind, version, name)
    return {
        "openapi": "3.0.0",
        "info": {"title": "mutua", "version": __version__},
        "paths": paths,
        "components": {"schemas": components},
    }


def structural_schema(schema: Schema) -> Document:
    """Return a schema without references, as a CustomResourceDefinition holds it."""
    return _render(schema, None)


def _root(group: str, version: str) -> str:
    return f"apis/{group}/{version}" if group else f"api/{version}"


def _gvk(kind: Kind, version: str) -> Document:
    return {"group": kind.resource.group, "version": version, "kind": kind.kind}


def _component(schema: Struct, components: dict[str, Document]) -> str:
    """Add a struct and all it refers to; return its name."""
    if schema.name not in components:
        components[schema.name] = {}  # claimed first: schemas may refer to each other
        components[schema.name] = _object(schema, components)
    return schema.name


def _object(schema: Struct, components: dict[str, Document] | None) -> Document:
    document: Document = {
        "type": "object",
        "properties": {name: _render(field, components) for name, field in schema.fields.items()},
    }
    if schema.required:
        document["required"] = list(schema.required)
    return document


def _render(schema: Schema, components: dict[str, Document] | None) -> Document:
    match schema:
        case Scalar():
            return _scalar(schema)
        case ListOf(item=item, max_items=limit):
            bound = {"maxItems": limit} if limit else {}
            return {"type": "array", "items": _render(item, components)} | bound
        case MapOf(value=value, max_items=limit):
            bound = {"maxProperties": limit} if limit else {}
            return {"type": "object", "additionalProperties": _render(value, components)} | bound
        case Opaque():
            return {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        case Struct() if components is None:
            return _object(schema, None)
        case Struct():
            # allOf, because nothing may stand next to a $ref.
            reference = {"$ref": f"#/components/schemas/{_component(schema, components)}"}
            return {"allOf": [reference]}


def _scalar(schema: Scalar) -> Document:
    document: Document = {"type": schema.type, "format": schema.format}
    if not schema.type:
        document = {"x-kubernetes-int-or-string": True}
        document |= {"anyOf": [{"type": "number"}, {"type": "string"}]}
    document |= {
        "enum": list(schema.enum),
        "minimum": schema.minimum,
        "maximum": schema.maximum,
        "maxLength": schema.max_length,
    }
    # 0 as a bound means something; "" and [] and an unlimited length do not.
    return {
        name: value
        for name, value in document.items()
        if value or (name in {"minimum", "maximum"} and value is not None)
    }


def _paths(kind: Kind, version: str, component: str) -> dict[str, Document]:
    prefix = f"/{_root(kind.resource.group, version)}"
    scope = "/namespaces/{namespace}" if kind.namespaced else ""
    collection = f"{prefix}{scope}/{kind.resource.plural}"
    one = collection + "/{name}"
    make = _operations(kind, version, component)
    paths: dict[str, Document] = {}
    for path, methods in (
        (collection, (("list", "get"), ("create", "post"))),
        (one, (("get", "get"), ("update", "put"), ("patch", "patch"), ("delete", "delete"))),
    ):
        found = {method: make[verb] for verb, method in methods if verb in kind.verbs}
        if found:
            paths[path] = {"parameters": _path_parameters(path), **found}
    return paths


def _path_parameters(path: str) -> list[Document]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in ("namespace", "name")
        if f"{{{name}}}" in path
    ]


_WRITE_PARAMETERS: Final = ("dryRun", "fieldManager", "fieldValidation")


def _operations(kind: Kind, version: str, component: str) -> dict[str, Document]:
    body = {"schema": {"$ref": f"#/components/schemas/{component}"}}
    patches = {content: {"schema": {"type": "object"}} for content in (JSON, MERGE, APPLY)}
    answer = {"200": {"description": "OK", "content": {"application/json": body}}}

    def operation(
        action: str, parameters: Iterable[str] = (), content: Document | None = None
    ) -> Document:
        made: Document = {
            "operationId": f"{action}{kind.kind}{version}",
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": _gvk(kind, version),
            "parameters": [_query(name) for name in parameters],
            "responses": answer,
        }
        if content is not None:
            made["requestBody"] = {"content": content}
        return made

    return {
        "list": operation("list", ("labelSelector", "fieldSelector", "limit", "watch")),
        "create": operation("post", _WRITE_PARAMETERS, {"application/json": body}),
        "get": operation("get"),
        "update": operation("put", _WRITE_PARAMETERS, {"application/json": body}),
        "patch": operation("patch", (*_WRITE_PARAMETERS, "force"), patches),
        "delete": operation("delete", ("dryRun", "gracePeriodSeconds", "propagationPolicy")),
    }


def _query(name: str) -> Document:
    kinds = {"limit": "integer", "gracePeriodSeconds": "integer", "watch": "boolean"}
    kinds |= {"force": "boolean"}
    return {"name": name, "in": "query", "schema": {"type": kinds.get(name, "string")}}
