"""Compiled configuration as JSON, for tests that compare it or hand it to an Envoy as a file."""

from typing import Any

from mutua.xds.proto import message, to_json
from mutua.xds.resource import ROUTE, ProxyResources


def readable(compiled: ProxyResources, kind: str) -> dict[str, Any]:
    """Return the resources of one type as Envoy's own JSON, by name."""
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
