"""Envoy's configuration with the field names that scripts expect.

Envoy prints the names of its .proto files (`inline_bytes`); istioctl prints protobuf's JSON names
(`inlineBytes`), and so every `jq` pipeline in the wild asks for those.  Keys that users chose
(labels, runtime keys, filter names) are left alone.  Private keys never appear: Envoy hides them,
and this module hides them again.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from mutua.api.object import Object
from mutua.foundation.errors import Rejected

FIELD: Final = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)+", re.ASCII)
"""A field name of more than one word."""

OPAQUE: Final = frozenset({"filter_metadata", "filterMetadata", "static_layer", "staticLayer"})
"""Fields whose keys, all the way down, are users'."""

SECRET: Final = frozenset(
    {"privateKey", "password", "sessionTicketKeys", "genericSecret", "pkcs12"}
)
"""Fields whose content nobody may see."""

REDACTED: Final = {"inlineBytes": "W3JlZGFjdGVkXQ=="}
"""`[redacted]` in base64: what Envoy itself writes."""


def readable(value: Any) -> Any:
    """Return a JSON value of Envoy with JSON names, and without secrets."""
    if isinstance(value, list):
        return [readable(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {_name(key): _field(_name(key), one) for key, one in value.items()}


def _field(name: str, value: Any) -> Any:
    if name in SECRET:
        return REDACTED
    if name in OPAQUE or (name == "metadata" and not _is_envoys(value)):
        return value
    return readable(value)


def _is_envoys(metadata: Any) -> bool:
    """Tell Envoy's own Metadata message from the free-form metadata of a node."""
    known = {"filter_metadata", "filterMetadata", "typed_filter_metadata", "typedFilterMetadata"}
    return isinstance(metadata, dict) and bool(known & metadata.keys())


def _name(key: str) -> str:
    if not FIELD.fullmatch(key):
        return key
    first, *rest = key.split("_")
    return first + "".join(word.capitalize() for word in rest)


def section(dump: Mapping[str, Any], name: str) -> Object:
    """Return one part of a config dump, such as "ClustersConfigDump"; empty when absent.

    Raises:
        Rejected: It is not a config dump.
    """
    configs = dump.get("configs")
    if not isinstance(configs, list):
        raise Rejected("not an Envoy config dump: no list `configs`")
    for part in configs:
        if str(part.get("@type", "")).endswith(f".{name}"):
            return {key: value for key, value in part.items() if key != "@type"}
    return {}


def clusters(dump: Mapping[str, Any]) -> list[Object]:
    """Return the clusters of a readable dump."""
    part = section(dump, "ClustersConfigDump")
    return _inner(part, ("staticClusters", "dynamicActiveClusters"), "cluster")


def routes(dump: Mapping[str, Any]) -> list[Object]:
    """Return the route configurations of a readable dump."""
    part = section(dump, "RoutesConfigDump")
    return _inner(part, ("staticRouteConfigs", "dynamicRouteConfigs"), "routeConfig")


def listeners(dump: Mapping[str, Any]) -> list[Object]:
    """Return the active listeners of a readable dump."""
    part = section(dump, "ListenersConfigDump")
    active = [
        one["activeState"] for one in part.get("dynamicListeners", ()) if "activeState" in one
    ]
    return _inner({**part, "active": active}, ("staticListeners", "active"), "listener")


def _inner(part: Mapping[str, Any], fields: Sequence[str], name: str) -> list[Object]:
    return [
        {key: value for key, value in one[name].items() if key != "@type"}
        for field in fields
        for one in part.get(field, ())
        if name in one
    ]
