"""One finding: which problem, about which object, in which words.

Warning [IST0127] (PeerAuthentication shop/web) no pod in namespace shop has the labels …
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

from typing_extensions import override

from mutua.api.kinds import find_by_kind
from mutua.api.object import Object

ISTIO_PAGES: Final = "https://istio.io/latest/docs/reference/config/analysis/"
"""Istio has a page for each of its codes."""

OWN_PAGE: Final = "docs/reference/analysis.md#"


class Level(IntEnum):
    """How bad it is; comparable."""

    INFO = 1
    WARNING = 2
    ERROR = 3

    @override
    def __str__(self) -> str:
        return self.name.capitalize()


@dataclass(frozen=True, slots=True)
class Code:
    """One kind of problem.

    Attributes:
        code: Stable, for scripts and for suppressing it: `IST…` as in Istio, `MUT…` mutua's own.
        level: How bad it is.
        name: In one word.
        summary: When it is raised.
    """

    code: str
    level: Level
    name: str
    summary: str

    @property
    def documentation(self) -> str:
        """Where to read about it."""
        is_istios = self.code.startswith("IST") and self.code not in REVIVED
        return (f"{ISTIO_PAGES}{self.code.lower()}/") if is_istios else OWN_PAGE + self.code.lower()


REVIVED: Final = frozenset({"IST0113"})
"""Codes that Istio no longer has, and mutua gives the meaning they had."""


@dataclass(frozen=True, slots=True, order=True)
class Origin:
    """The object that a message is about.

    Attributes:
        kind: As in manifests.
        namespace: Where it is; "" for a cluster-scoped kind.
        name: Its name.
    """

    kind: str
    namespace: str
    name: str

    @override
    def __str__(self) -> str:
        return f"{self.kind} {self.path}"

    @property
    def path(self) -> str:
        """`namespace/name`, or the name of what is in no namespace."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name

    @property
    def short(self) -> str:
        """`kind/name`, as kubectl takes it."""
        return f"{SHORT.get(self.kind, self.kind.lower())}/{self.name}"


SHORT: Final[Mapping[str, str]] = {
    "Deployment": "deploy", "StatefulSet": "sts", "ReplicaSet": "rs",
    "PeerAuthentication": "pa", "DestinationRule": "dr", "ServiceEntry": "se",
}  # fmt: skip


def origin_of(obj: Object) -> Origin:
    """Return the address of an object; its apiVersion does not matter."""
    kind, metadata = obj.get("kind") or "", obj.get("metadata") or {}
    known = find_by_kind(obj.get("apiVersion") or "", kind)
    is_global = known is not None and not known.namespaced
    namespace = "" if is_global else metadata.get("namespace") or ""
    return Origin(kind, namespace, metadata.get("name") or "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One finding.

    Attributes:
        code: Which problem.
        origin: The object to edit.
        text: What is wrong, and what to do about it; lower case, no full stop.
        path: The field, as admission names fields; "" for the object as a whole.
        related: Other objects without which there would be no problem.
    """

    code: Code
    origin: Origin
    text: str
    path: str = ""
    related: tuple[Origin, ...] = ()

    def document(self, reference: str = "") -> dict[str, Any]:
        """Return it with istioctl's names, for programs.

        Args:
            reference: `file:line` of the origin, "" when it is not from a file.
        """
        document = {
            "code": self.code.code,
            "level": str(self.code.level),
            "origin": str(self.origin),
            "message": self.text,
            "documentationUrl": self.code.documentation,
        }
        return document | ({"reference": reference} if reference else {})

    def line(self, reference: str = "") -> str:
        """Return it for people; `reference` as in `document`."""
        where = f"{self.origin} {reference}" if reference else str(self.origin)
        return f"{self.code.level} [{self.code.code}] ({where}) {self.text}"
