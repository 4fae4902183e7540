"""The documents that do not depend on any object: discovery, OpenAPI, version.

They are built once, when first asked for, and then sent as bytes; the hashed OpenAPI addresses
let clients keep them for ever.
"""

import hashlib
from functools import cache
from typing import Any, Final

from mutua.api import discovery, openapi
from mutua.api.kinds import group_versions
from mutua.cluster.apiserver.message import JSON, Request, Response
from mutua.cluster.apiserver.status import encode
from mutua.cluster.apiserver.version import version_document

FOREVER: Final = (("Cache-Control", "public, immutable, max-age=31536000"),)
"""For addresses that contain the hash of their content."""


def document(request: Request) -> Response | None:
    """Return the document at the request's path, None when there is none."""
    segments = request.path.strip("/").split("/")
    match segments:
        case ["version"]:
            return Response(body=encode(version_document()))
        case ["api"] | ["apis"]:
            return _groups(request, segments[0])
        case ["api", version]:
            return _optional(discovery.resource_list("", version))
        case ["apis", group]:
            return _optional(discovery.group(group))
        case ["apis", group, version]:
            return _optional(discovery.resource_list(group, version))
        case ["openapi", "v2"]:
            return Response(body=_openapi_v2(), content_type=openapi.V2_TYPE)
        case ["openapi", "v3"]:
            return Response(body=encode(openapi.openapi_v3_index(_hashes())))
        case ["openapi", "v3", "api", version]:
            return _openapi_response(request, "", version)
        case ["openapi", "v3", "apis", group, version]:
            return _openapi_response(request, group, version)
        case _:
            return None


def _groups(request: Request, root: str) -> Response:
    vary = (("Vary", "Accept"),)
    if discovery.wants_aggregated(request.header("accept")):
        wanted = discovery.aggregated_core() if root == "api" else discovery.aggregated_groups()
        return Response(body=encode(wanted), content_type=discovery.AGGREGATED_TYPE, headers=vary)
    if root == "api":
        return Response(body=encode(discovery.core_versions(request.header("host"))), headers=vary)
    return Response(body=encode(discovery.group_list()), headers=vary)


def _optional(found: dict[str, Any] | None) -> Response | None:
    return None if found is None else Response(body=encode(found))


def _openapi_response(request: Request, group: str, version: str) -> Response | None:
    if (group, version) not in group_versions():
        return None
    found = _openapi_v3(group, version)
    etag = (("ETag", f'"{_digest(found)}"'),)
    caching = FOREVER if request.parameter("hash") == _digest(found) else ()
    if request.header("if-none-match") == etag[0][1]:
        return Response(status=304, headers=(*etag, *caching))
    return Response(body=found, content_type=JSON, headers=(*etag, *caching))


@cache
def _openapi_v3(group: str, version: str) -> bytes:
    return encode(openapi.openapi_v3(group, version))


@cache
def _openapi_v2() -> bytes:
    return openapi.openapi_v2()


@cache
def _hashes() -> dict[str, str]:
    # Both functions list the documents in the same order: that of the kinds.
    names = zip(openapi.group_version_paths(), group_versions(), strict=True)
    return {name: _digest(_openapi_v3(*pair)) for name, pair in names}


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:32].upper()
