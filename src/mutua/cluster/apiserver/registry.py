"""The store that everybody in the cluster uses: with defaults, admission and validation.

The API server and the controllers write through the same `Registry`, so a pod that a controller
creates is defaulted, injected and checked exactly like one that a user applies.  Reads and
watches pass straight through to the store.

    defaults -> hooks (mutate, or refuse) -> defaults -> rules of the kind -> validation -> store
                                                                                  └─> advice
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final
from uuid import uuid4

from typing_extensions import override

from mutua.api.defaults import apply_defaults
from mutua.api.kinds import kind_of
from mutua.api.object import NAMESPACES, Object, Resource
from mutua.api.schema import shape_errors
from mutua.api.validation import validate
from mutua.api.verdict import Verdict
from mutua.cluster.apiserver import strategy
from mutua.cluster.apiserver.status import Forbidden
from mutua.foundation.clock import Clock
from mutua.store import semantics
from mutua.store.port import Event, Listing, NotFound, ObjectStore

AdmissionHook = Callable[[Resource, Object, Object | None], Awaitable[Object]]
"""(kind, object, old object or None when created) -> the object to store; may raise Rejected or
Denied.  It must not change its arguments."""

Adviser = Callable[[Resource, Object], Awaitable[Sequence[str]]]
"""(kind, object that is about to be stored) -> what its author should know; never raises."""

_warnings: Final[ContextVar[list[str] | None]] = ContextVar("admission warnings", default=None)


class Registry(ObjectStore):
    """An ObjectStore that admits only what is right."""

    def __init__(
        self,
        store: ObjectStore,
        *,
        admission: Sequence[AdmissionHook] = (),
        adviser: Adviser | None = None,
        clock: Clock,
    ) -> None:
        """Put admission in front of `store`.

        Args:
            store: Where objects live.
            admission: Hooks, asked in this order.
            adviser: Asked for further warnings where somebody hears them.
            clock: For objects that are only tried (dry run).
        """
        self._store = store
        self._admission = tuple(admission)
        self._adviser = adviser
        self._clock = clock

    @override
    async def get(self, resource: Resource, namespace: str, name: str) -> Object:
        return await self._store.get(resource, namespace, name)

    @override
    async def list(self, resource: Resource, namespace: str | None = None) -> Listing:
        return await self._store.list(resource, namespace)

    @override
    def watch(
        self,
        resource: Resource,
        *,
        since: int,
        namespace: str | None = None,
        bookmarks: float | None = None,
    ) -> AsyncIterator[Event]:
        return self._store.watch(resource, since=since, namespace=namespace, bookmarks=bookmarks)

    @override
    async def create(self, resource: Resource, obj: Object, *, dry_run: bool = False) -> Object:
        """Admit and store a new object; see the port.

        Args:
            resource: The kind.
            obj: What the author wrote.  metadata.generateName is enough of a name.
            dry_run: Do everything but store it.

        Raises:
            Invalid: A field is wrong.
            Forbidden: Its namespace is being deleted.
            NotFound: Its namespace does not exist.
            AlreadyExists: The address is taken.
        """
        _check_shape(resource, obj)
        new = strategy.named(obj)
        await self._check_namespace(resource, new)
        new = strategy.prepared_for_create(resource, new)
        new = await self._admit(resource, new, None)
        if not dry_run:
            return await self._store.create(resource, new)
        key = semantics.key_of(resource, new)
        if await self._find(resource, key.namespace, key.name) is not None:
            raise semantics.already_exists(resource, key.name)
        return semantics.created(new, uid=str(uuid4()), now=self._clock.now())

    @override
    async def update(self, resource: Resource, obj: Object, *, dry_run: bool = False) -> Object:
        """Admit and store a changed object; see the port.

        Args:
            resource: The kind.
            obj: The whole object.
            dry_run: Do everything but store it.

        Raises:
            Invalid: A field is wrong, or may not change.
            NotFound: There is no such object.
            Stale: See the port.
        """
        _check_shape(resource, obj)
        key = semantics.key_of(resource, obj)
        old = await self._store.get(resource, key.namespace, key.name)
        semantics.check_precondition(resource, old, obj)
        new = strategy.prepared_for_update(resource, obj, old)
        new = await self._admit(resource, new, old)
        if not dry_run:
            return await self._store.update(resource, new)
        return semantics.replaced(resource, old, new) or old

    @override
    async def update_status(
        self, resource: Resource, obj: Object, *, dry_run: bool = False
    ) -> Object:
        if not dry_run:
            return await self._store.update_status(resource, obj)
        key = semantics.key_of(resource, obj)
        old = await self._store.get(resource, key.namespace, key.name)
        return semantics.with_status(resource, old, obj) or old

    @override
    async def delete(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        *,
        uid: str = "",
        grace: int | None = None,
        dry_run: bool = False,
    ) -> Object:
        """Delete an object; see the port.

        Pods get their own terminationGracePeriodSeconds when `grace` is None and a node runs
        them; namespaces wait for their controller and say Terminating meanwhile.
        """
        old = await self._store.get(resource, namespace, name)
        if resource == NAMESPACES and name in strategy.PERMANENT_NAMESPACES:
            raise Forbidden(f'namespaces "{name}" is forbidden: this namespace may not be deleted')
        if dry_run:
            semantics.check_uid(resource, old, uid)
            return old
        grace = strategy.grace_of(resource, old, grace)
        ending = await self._store.delete(resource, namespace, name, uid=uid, grace=grace)
        if resource == NAMESPACES and ending["metadata"].get("finalizers"):
            return await self._store.update_status(resource, strategy.terminating(ending))
        return ending

    async def _admit(self, resource: Resource, obj: Object, old: Object | None) -> Object:
        kind = kind_of(resource)
        new = apply_defaults(kind, obj)
        for hook in self._admission:
            new = await hook(resource, new, old)
        if self._admission:
            new = apply_defaults(kind, new)
        verdict = validate(kind, new, old)
        verdict.raise_for_errors()
        if (warnings := _warnings.get()) is not None:
            warnings += verdict.warnings
            warnings += await self._adviser(resource, new) if self._adviser else ()
        return new

    async def _check_namespace(self, resource: Resource, obj: Object) -> None:
        namespace = obj["metadata"].get("namespace") or ""
        if not kind_of(resource).namespaced or not namespace:
            return
        owner = await self._find(NAMESPACES, "", namespace)
        if owner is None:
            raise semantics.not_found(NAMESPACES, namespace)
        if "deletionTimestamp" in owner["metadata"]:
            raise strategy.namespace_is_ending(resource, obj["metadata"]["name"], namespace)

    async def _find(self, resource: Resource, namespace: str, name: str) -> Object | None:
        try:
            return await self._store.get(resource, namespace, name)
        except NotFound:
            return None


def _check_shape(resource: Resource, obj: Object) -> None:
    """Refuse wrong types first: everything after this may rely on the shape."""
    Verdict(errors=shape_errors(kind_of(resource), obj)).raise_for_errors()


@contextmanager
def collect_warnings() -> Iterator[list[str]]:
    """Collect what admission says to the author of the writes made inside the block.

    Writes of other tasks do not show up in it.
    """
    found: list[str] = []
    token = _warnings.set(found)
    try:
        yield found
    finally:
        _warnings.reset(token)
