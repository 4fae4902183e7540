"""Which object does a URL mean?

    /api/v1/namespaces/NS/PLURAL/NAME/SUBRESOURCE
    /apis/GROUP/VERSION/namespaces/NS/PLURAL/NAME/SUBRESOURCE
    …/PLURAL/NAME for cluster-scoped kinds, …/PLURAL for a list over all namespaces

`namespaces/NS` alone, with or without a subresource of its own, is the Namespace object.
"""

from dataclasses import dataclass

from mutua.api.kinds import Kind, find_kind
from mutua.api.object import NAMESPACES


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a URL addresses.

    Attributes:
        kind: The kind of object.
        version: In which version the client wants to see it.
        namespace: None for all namespaces, and for cluster-scoped kinds.
        name: "" for the collection.
        subresource: "" for the object itself.
    """

    kind: Kind
    version: str
    namespace: str | None = None
    name: str = ""
    subresource: str = ""

    @property
    def api_version(self) -> str:
        """ApiVersion of the objects in replies."""
        return self.kind.api_version(self.version)

    @property
    def key_namespace(self) -> str:
        """The namespace part of a store key."""
        return self.namespace or ""


def parse_path(path: str) -> Target | None:
    """Return what `path` addresses, None when nothing is served there."""
    match path.strip("/").split("/"):
        case ["api", version, *rest]:
            return _resolve("", version, rest)
        case ["apis", group, version, *rest]:
            return _resolve(group, version, rest)
        case _:
            return None


def _resolve(group: str, version: str, rest: list[str]) -> Target | None:
    namespace: str | None = None
    own = find_kind("", "v1", NAMESPACES.plural)
    if len(rest) > 1 and rest[0] == "namespaces":
        is_namespace_itself = len(rest) == 2 or (
            own is not None and len(rest) == 3 and rest[2] in own.subresources
        )
        if not is_namespace_itself:
            namespace, rest = rest[1], rest[2:]
    if not rest or len(rest) > 3 or "" in rest:
        return None
    kind = find_kind(group, version, rest[0])
    if kind is None or (namespace is not None and not kind.namespaced):
        return None
    name, subresource, *_ = (*rest[1:], "", "")
    if kind.namespaced and name and namespace is None:
        return None
    if subresource and subresource not in kind.subresources:
        return None
    return Target(
        kind=kind, version=version, namespace=namespace, name=name, subresource=subresource
    )
