"""In which form does the client want to see objects?

As objects in the version of the URL, as a Table with the columns kubectl prints, or as metadata
only: the Accept header says (kubectl-facade, sections 1.4 and 3).  Whatever else it asks for,
JSON is an acceptable answer for every client.
"""

from collections.abc import Sequence
from datetime import datetime
from enum import Enum
from typing import Any

from mutua.api.object import Object
from mutua.api.table import IncludeObject, partial_metadata, table
from mutua.cluster.apiserver.message import Request, Response
from mutua.cluster.apiserver.route import Target
from mutua.cluster.apiserver.status import encode

Document = dict[str, Any]


class View(Enum):
    """A form of an answer."""

    OBJECT = "Object"
    TABLE = "Table"
    METADATA = "PartialObjectMetadata"


def view_of(request: Request) -> View:
    """Return the first form in the Accept header that we have."""
    for media_range in request.header("accept").split(","):
        media_type, *parameters = (part.strip() for part in media_range.split(";"))
        given = dict(p.partition("=")[::2] for p in parameters)
        wanted = given.get("as", "")
        if media_type != "application/json" or (wanted and given.get("v") != "v1"):
            continue
        if wanted == "Table":
            return View.TABLE
        return View.METADATA if wanted.startswith("PartialObjectMetadata") else View.OBJECT
    return View.OBJECT


def presented(obj: Object, target: Target) -> Object:
    """Return a stored object as the version of the URL."""
    return {"apiVersion": target.api_version, "kind": target.kind.kind} | {
        k: v for k, v in obj.items() if k not in {"apiVersion", "kind"}
    }


class Renderer:
    """Renders the objects of one request."""

    def __init__(self, request: Request, target: Target, now: datetime) -> None:
        """Render for this request.

        Args:
            request: Its Accept header and ?includeObject decide.
            target: What its URL addresses.
            now: For ages in tables.
        """
        self.view = view_of(request)
        self._target = target
        self._now = now
        self._include = _include_object(request)

    def one(self, obj: Object) -> Document:
        """Return the document for a single object."""
        match self.view:
            case View.TABLE:
                return self._table([obj], obj["metadata"].get("resourceVersion", ""))
            case View.METADATA:
                return partial_metadata(obj)
            case View.OBJECT:
                return presented(obj, self._target)

    def many(self, objects: Sequence[Object], resource_version: int) -> Document:
        """Return the document for a list."""
        version = str(resource_version)
        if self.view is View.TABLE:
            return self._table(objects, version)
        if self.view is View.METADATA:
            kind, api_version = "PartialObjectMetadataList", "meta.k8s.io/v1"
            items = [partial_metadata(obj) for obj in objects]
        else:
            kind, api_version = f"{self._target.kind.kind}List", self._target.api_version
            items = [presented(obj, self._target) for obj in objects]
        return {
            "kind": kind,
            "apiVersion": api_version,
            "metadata": {"resourceVersion": version},
            "items": items,
        }

    def bookmark(self, resource_version: int, annotations: dict[str, str]) -> Document:
        """Return the object of a BOOKMARK event."""
        metadata: Document = {"resourceVersion": str(resource_version), "creationTimestamp": None}
        if annotations:
            metadata["annotations"] = annotations
        if self.view is View.TABLE:
            return self._table([], str(resource_version)) | {"columnDefinitions": []}
        if self.view is View.METADATA:
            head = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1"}
            return head | {"metadata": metadata}
        return {
            "kind": self._target.kind.kind,
            "apiVersion": self._target.api_version,
            "metadata": metadata,
        }

    def _table(self, objects: Sequence[Object], resource_version: str) -> Document:
        shown = [presented(obj, self._target) for obj in objects]
        return table(
            self._target.kind,
            shown,
            self._now,
            include_object=self._include,
            resource_version=resource_version,
        )


def _include_object(request: Request) -> IncludeObject:
    match request.parameter("includeObject"):
        case "None":
            return "None"
        case "Object":
            return "Object"
        case _:
            return "Metadata"


def json_response(
    document: Document, *, status: int = 200, warnings: Sequence[str] = ()
) -> Response:
    """Return a reply with a JSON body, and Warning headers that kubectl prints."""
    headers = tuple(("Warning", f"299 - {_quoted(text)}") for text in dict.fromkeys(warnings))
    return Response(status=status, body=encode(document), headers=headers)


def _quoted(text: str) -> str:
    """Return a quoted-string for a header (RFC 9110 section 5.6.4), ASCII only."""
    printable = "".join(c if " " <= c <= "~" else "?" for c in text)
    return '"' + printable.replace("\\", "\\\\").replace('"', '\\"') + '"'
