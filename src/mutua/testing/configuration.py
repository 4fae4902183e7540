"""Compiled configuration as JSON, for tests that compare it or hand it to an Envoy as a file."""

from functools import cache
from typing import Any, Final

from google.protobuf import descriptor_pb2

from mutua.xds.proto import message, to_json
from mutua.xds.proto.pool import pool
from mutua.xds.resource import ROUTE, ProxyResources

OPAQUE: Final = ("envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate",)
"""Messages without fields that the compiler names without having their description."""


def readable(compiled: ProxyResources, kind: str) -> dict[str, Any]:
    """Return the resources of one type as Envoy's own JSON, by name."""
    _describe_opaque_messages()
    cls = message(kind.rpartition("/")[2])
    return {one.name: to_json(cls.FromString(one.body)) for one in compiled[kind].values()}


def inline_routes(listeners: list[Any], compiled: ProxyResources) -> None:
    """Put into listeners the routes they would fetch, so that a file alone configures an Envoy."""
    _inline(listeners, readable(compiled, ROUTE))


def _inline(value: Any, routes: dict[str, Any]) -> None:
    if isinstance(value, list):
        for inner in value:
            _inline(inner, routes)
    elif isinstance(value, dict):
        if "rds" in value:
            value["route_config"] = routes[value.pop("rds")["route_config_name"]]
        for inner in value.values():
            _inline(inner, routes)


@cache
def _describe_opaque_messages() -> None:
    for full_name in OPAQUE:
        try:
            message(full_name)
        except KeyError:
            package, _, name = full_name.rpartition(".")
            file = descriptor_pb2.FileDescriptorProto(
                name=f"{full_name}.proto", package=package, syntax="proto3"
            )
            file.message_type.add(name=name)
            pool().AddSerializedFile(file.SerializeToString())
