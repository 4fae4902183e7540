"""Requests and responses of the delta protocol from and to bytes.

A resource's bytes are made once, by the compiler; a response wraps them in a few more bytes per
resource.  Doing that by hand, instead of through a message that copies every body, is what keeps
a push to a thousand proxies cheap.  The layout is three protobuf messages deep:

    DeltaDiscoveryResponse { 1: version  2: resources*  4: type_url  5: nonce  6: removed* }
        Resource           { 1: version  2: resource    3: name }
            Any            { 1: type_url 2: value }

Source: envoy/service/discovery/v3/discovery.proto; protobuf.dev, "Encoding".
"""

from functools import lru_cache
from typing import Final

from mutua.xds.proto import DeltaDiscoveryRequest
from mutua.xds.proto.splice import field_bytes
from mutua.xds.resource import Resource
from mutua.xds.subscription import Request, Response

SMALL: Final = 256
"""Bytes of a request that is remembered: a confirmation takes about 100."""

REMEMBERED: Final = 4096
"""Requests, and resources, of which the other form is remembered: a change that concerns all
proxies wraps the same few resources, and they confirm it in the same words."""


def decode_request(data: bytes) -> Request:
    """Return the request.

    Raises:
        google.protobuf.message.DecodeError: Not a DeltaDiscoveryRequest.
    """
    return _decode_again(data) if len(data) <= SMALL else _decode(data)


def _decode(data: bytes) -> Request:
    message = DeltaDiscoveryRequest.FromString(data)
    detail = message.error_detail
    is_refusal = message.HasField("error_detail")
    return Request(
        type_url=message.type_url,
        subscribe=tuple(message.resource_names_subscribe),
        unsubscribe=tuple(message.resource_names_unsubscribe),
        versions=dict(message.initial_resource_versions),
        nonce=message.response_nonce,
        error=(detail.message or f"code {detail.code}") if is_refusal else "",
    )


_decode_again = lru_cache(maxsize=REMEMBERED)(_decode)


def encode_response(response: Response, version: str) -> bytes:
    """Return the response as bytes.

    Args:
        response: What to send.
        version: A label of the state of the mesh, for people who read Envoy's config dump.
    """
    type_url = response.type_url.encode()
    parts = [field_bytes(1, version.encode())]
    parts += [_resource(one, type_url) for one in response.resources]
    parts += [field_bytes(4, type_url), field_bytes(5, response.nonce.encode())]
    parts += [field_bytes(6, name.encode()) for name in response.removed]
    return b"".join(parts)


@lru_cache(maxsize=REMEMBERED)
def _resource(resource: Resource, type_url: bytes) -> bytes:
    """Return a resource as an entry of a response."""
    wrapped = field_bytes(1, type_url) + field_bytes(2, resource.body)
    version, name = resource.version.encode(), resource.name.encode()
    parts = field_bytes(1, version), field_bytes(2, wrapped), field_bytes(3, name)
    return field_bytes(2, b"".join(parts))
