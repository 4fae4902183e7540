"""What a store of objects must do: the only seam between the cluster and the control plane.

The semantics are the Kubernetes API's, reduced to what controllers need.  `SqliteStore` and
`MemoryStore` implement it, the embedded API server's registry implements it again with admission
in front, and a Kubernetes API server will.  One contract suite (tests/contract/store) runs
against every adapter.

Rules every adapter obeys:
    * one global resourceVersion, strictly increasing with every change, decimal in metadata;
    * `create` sets uid, creationTimestamp, generation 1 and resourceVersion;
    * `update` bumps generation only when something outside metadata and status changed, ignores
      changes to status, and refuses with Conflict when metadata.resourceVersion is given and
      stale (or when the uid differs);
    * `update_status` takes only status;
    * a write that changes nothing writes nothing: same resourceVersion, no event;
    * `delete` removes at once unless metadata.finalizers or `grace` ask to wait: then it sets
      deletionTimestamp (+ deletionGracePeriodSeconds) and the object goes when the finalizers
      are emptied, or a second delete with `grace=0` comes;
    * what is returned is a copy: callers may keep it, and it never changes under them;
    * an acknowledged write survives the death of the process at any instant.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from mutua.api.object import Object, Resource
from mutua.foundation.errors import Conflict, Rejected


class NotFound(Rejected):
    """No object has this address."""

    code = "store.not_found"


class AlreadyExists(Conflict):
    """An object with this address exists."""

    code = "store.already_exists"


class Stale(Conflict):
    """The write was based on an older version of the object."""

    code = "store.stale"


class Expired(Rejected):
    """The watch position is older than the kept history (HTTP 410): list again."""

    code = "store.expired"


class EventType(Enum):
    """What happened to an object."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"
    BOOKMARK = "BOOKMARK"


@dataclass(frozen=True, slots=True)
class Event:
    """One change.

    Attributes:
        type: What happened.
        object: The object after the change; before it, with the deletion's resourceVersion, when
            DELETED; only apiVersion, kind and metadata.resourceVersion when BOOKMARK.
        resource_version: The position of this event.
        previous: The object before the change, None when ADDED or unknown.  Lets a server turn
            "left the selector" into DELETED.
    """

    type: EventType
    object: Object
    resource_version: int
    previous: Object | None = None


@dataclass(frozen=True, slots=True)
class Listing:
    """A consistent list and the position from which to watch."""

    items: tuple[Object, ...]
    resource_version: int


class ObjectStore(Protocol):
    """Durable objects with optimistic concurrency and watches."""

    async def get(self, resource: Resource, namespace: str, name: str) -> Object:
        """Return one object.

        Raises:
            NotFound: There is none.
        """
        ...

    async def list(self, resource: Resource, namespace: str | None = None) -> Listing:
        """Return all objects of a kind, in one namespace or (None) in all, ordered by key."""
        ...

    def watch(
        self,
        resource: Resource,
        *,
        since: int,
        namespace: str | None = None,
        bookmarks: float | None = None,
    ) -> AsyncIterator[Event]:
        """Yield every change after position `since`, in order, for ever.

        Args:
            resource: The kind.
            since: A position from a listing or an event.
            namespace: Only changes in this one; None for all.
            bookmarks: Seconds of silence after which a BOOKMARK tells how far the watch has
                come; None for no bookmarks.

        Raises:
            Expired: History no longer reaches back to `since`.  Raised by the iterator.
        """
        ...

    async def create(self, resource: Resource, obj: Object) -> Object:
        """Store a new object and return it as stored.

        Raises:
            AlreadyExists: The address is taken.
        """
        ...

    async def update(self, resource: Resource, obj: Object) -> Object:
        """Replace an object, its status excepted.

        Raises:
            NotFound: There is none.
            Stale: See the module's rules.
        """
        ...

    async def update_status(self, resource: Resource, obj: Object) -> Object:
        """Replace only the status of an object.

        Raises:
            NotFound: There is none.
            Stale: See the module's rules.
        """
        ...

    async def delete(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        *,
        uid: str = "",
        grace: int | None = None,
    ) -> Object:
        """Delete an object and return its last state.

        Args:
            resource: The kind.
            namespace: "" for cluster-scoped kinds.
            name: Its name.
            uid: When given, delete only the incarnation with this uid.
            grace: Seconds; positive keeps the object with a deletionTimestamp until somebody
                deletes it again with 0 (how a node ends a pod); None and 0 delete at once.

        Raises:
            NotFound: There is none.
            Stale: It has another uid.
        """
        ...
