"""What a proxy is given: Envoy resources as bytes, shared between proxies wherever they are equal.

A mesh of S services and P proxies has S*P pairs but only about S + P different resources.  So
a resource is generated once and kept serialized, and what a proxy gets is a `ResourceSet`: a few
immutable layers, of which all but the last few entries are the same objects for every proxy of a
namespace.  Comparing two sets skips layers that are the same object, and remembers the comparison
of two layers, so that a change costs what it touches and not S*P.

    ProxyResources    {type URL: ResourceSet}        one per proxy
    ResourceSet       (shared Layer, own Layer)      names are disjoint between layers
    Layer             {name: Resource}               immutable, compared by identity first
    Resource          name, version, body            body: the serialized message inside the Any
"""

import hashlib
import weakref
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from typing_extensions import override

from mutua.api.object import Key

CLUSTER: Final = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
ENDPOINT: Final = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
LISTENER: Final = "type.googleapis.com/envoy.config.listener.v3.Listener"
ROUTE: Final = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"

VERSION_BYTES: Final = 8
"""Length of a resource's digest, in bytes: equality between two versions of one name needs no
collision resistance against an adversary, since only this process makes the bodies."""


@dataclass(frozen=True, slots=True)
class Resource:
    """One Envoy resource.

    Attributes:
        name: Its xDS name.
        version: Digest of the body, so that equal configuration has an equal version, also
            after a restart of the control plane; of what reads files of the proxy, followed by
            which version of them.
        body: The serialized message: the `value` of the Any that carries it.
        origins: The policies that shaped it: a refusal is one of theirs.
    """

    name: str
    version: str
    body: bytes = field(repr=False)
    origins: tuple[Key, ...] = field(default=(), compare=False)

    @override
    def __hash__(self) -> int:
        return hash(self.version)


def resource(name: str, body: bytes, origins: tuple[Key, ...] = ()) -> Resource:
    """Return the resource with this body, its version computed."""
    version = hashlib.blake2b(body, digest_size=VERSION_BYTES).hexdigest()
    return Resource(name, version, body, origins)


_FILES: Final = "+"
"""Separates a digest from the version of the files in a resource's version."""


def reading(made: Resource, body: bytes, files: str) -> Resource:
    """Return a resource that reads files of the proxy, as one that is to read this version of them.

    Args:
        made: The resource, whatever version of the files there is.
        body: What is sent in its place.
        files: The version.
    """
    return replace(made, version=f"{made.version}{_FILES}{files}", body=body)


def reads_files(version: str) -> bool:
    """Tell whether a resource of this version reads files of the proxy that are followed."""
    return _FILES in version


def is_same_but_for_files(version: str, other: str) -> bool:
    """Tell whether two versions of a resource differ at most in what the files contain."""
    return version.partition(_FILES)[0] == other.partition(_FILES)[0]


@dataclass(frozen=True, slots=True)
class Changes:
    """What separates two sets of resources of one type.

    Attributes:
        changed: Resources that are new or have another version.
        removed: Names that are gone.
    """

    changed: tuple[Resource, ...] = ()
    removed: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.changed or self.removed)


class Layer(Mapping[str, Resource]):
    """An immutable set of resources that many proxies share by reference.

    Attributes:
        by_name: The same as a plain dictionary, which is faster to look things up in.
    """

    __slots__ = ("__weakref__", "_last_changes", "_last_since", "_origins", "by_name")

    def __init__(self, resources: Iterable[Resource] = ()) -> None:
        self.by_name = {resource.name: resource for resource in resources}
        self._origins: frozenset[Key] | None = None
        self._last_since: weakref.ref[Layer] | None = None
        self._last_changes = Changes()

    @override
    def __getitem__(self, name: str) -> Resource:
        return self.by_name[name]

    @override
    def __iter__(self) -> Iterator[str]:
        return iter(self.by_name)

    @override
    def __len__(self) -> int:
        return len(self.by_name)

    @property
    def origins(self) -> frozenset[Key]:
        """The policies that shaped anything in it."""
        if self._origins is None:
            self._origins = frozenset(key for one in self.by_name.values() for key in one.origins)
        return self._origins

    def changes(self, since: "Layer") -> Changes:
        """Return what separates this layer from an older one; remembered for the last one asked."""
        if since is self:
            return Changes()
        if self._last_since is None or self._last_since() is not since:
            # A weak reference: a layer must not keep the whole history of the mesh alive.
            self._last_since, self._last_changes = weakref.ref(since), _compare(self, since)
        return self._last_changes


class ResourceSet(Mapping[str, Resource]):
    """All resources of one type for one proxy.

    Attributes:
        layers: Disjoint in names; the same position means the same scope in every set.
    """

    __slots__ = ("layers",)

    def __init__(self, *layers: Layer) -> None:
        self.layers = layers

    @override
    def __getitem__(self, name: str) -> Resource:
        if (found := self.find(name)) is None:
            raise KeyError(name)
        return found

    @override
    def __iter__(self) -> Iterator[str]:
        for layer in self.layers:
            yield from layer

    @override
    def __len__(self) -> int:
        return sum(len(layer) for layer in self.layers)

    def find(self, name: str) -> Resource | None:
        """Return the resource of this name, if there is one."""
        for layer in self.layers:
            if (found := layer.by_name.get(name)) is not None:
                return found
        return None

    def changes(self, since: "ResourceSet") -> Changes:
        """Return what separates this set from an older one of the same proxy."""
        if len(self.layers) != len(since.layers):
            return _compare(self, since)
        parts = [
            new.changes(old)
            for new, old in zip(self.layers, since.layers, strict=True)
            if new is not old
        ]
        if len(parts) == 1:
            return parts[0]
        # A name that moved between layers is not gone, and need not have changed.
        changed = tuple(
            resource
            for part in parts
            for resource in part.changed
            if (before := since.get(resource.name)) is None or before.version != resource.version
        )
        removed = tuple(name for part in parts for name in part.removed if name not in self)
        return Changes(changed, removed)


def _compare(new: Mapping[str, Resource], old: Mapping[str, Resource]) -> Changes:
    changed = tuple(
        resource
        for name, resource in new.items()
        if (before := old.get(name)) is not resource
        and (before is None or before.version != resource.version)
    )
    return Changes(changed, tuple(name for name in old if name not in new))


ProxyResources = Mapping[str, ResourceSet]
"""What one proxy is given: type URL (CLUSTER, ENDPOINT, LISTENER, ROUTE) to resources."""


def is_shaped_by(resources: ProxyResources, key: Key) -> bool:
    """Tell whether a policy shaped anything of what a proxy is given."""
    return any(key in layer.origins for kind in resources.values() for layer in kind.layers)
