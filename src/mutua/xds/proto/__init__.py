"""Envoy's messages: `from mutua.xds.proto import Cluster`, or `message("envoy.….Cluster")`."""

from mutua.xds.proto.catalogue import NAMES
from mutua.xds.proto.catalogue import named as __getattr__
from mutua.xds.proto.codec import from_json, to_json
from mutua.xds.proto.pool import enum_value, message, pack, type_url, unpack

__all__ = [
    "NAMES",
    "__getattr__",
    "enum_value",
    "from_json",
    "message",
    "pack",
    "to_json",
    "type_url",
    "unpack",
]
