"""An ObjectStore whose reads never leave the process.

All objects live in one dictionary as JSON text, and recent changes in a `History`.  Every method
that writes does so between two awaits, hence atomically for the tasks of one event loop; the
order is always: decide (semantics), make durable (journal), index, wake the watchers.  A write
that fails to become durable has therefore not happened.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Final
from uuid import uuid4

import msgspec
from typing_extensions import override

from mutua.api.object import Key, Object, Resource
from mutua.foundation.clock import Clock
from mutua.store import semantics
from mutua.store.history import CAPACITY, Change, History
from mutua.store.journal import ForgetfulJournal, Journal
from mutua.store.port import Event, EventType, Expired, Listing, ObjectStore

_decode: Final = msgspec.json.Decoder(dict).decode
_encode: Final = msgspec.json.Encoder().encode


class MemoryStore(ObjectStore):
    """Objects in memory, durable as far as its journal is."""

    def __init__(
        self, clock: Clock, *, journal: Journal | None = None, capacity: int = CAPACITY
    ) -> None:
        """Recover what the journal remembers.

        Args:
            clock: Source of creation and deletion times.
            journal: Where changes are made durable; None keeps nothing.
            capacity: Changes kept per kind for watchers.
        """
        self._clock = clock
        self._journal = journal or ForgetfulJournal()
        recovered = self._journal.recover()
        self._version = recovered.version
        self._objects: dict[Resource, dict[Key, bytes]] = {}
        for key, body in recovered.objects:
            self._of(key.resource)[key] = body
        self._history = History(capacity=capacity)
        for resource, horizon in recovered.horizons.items():
            self._history.forget(resource, horizon)
        for change in recovered.changes:
            self._history.append(change)
        self._changed: dict[Resource, asyncio.Event] = {}

    def close(self) -> None:
        """Release the journal.  The store cannot be used afterwards."""
        self._journal.close()

    @override
    async def get(self, resource: Resource, namespace: str, name: str) -> Object:
        return self._read(Key(resource, namespace, name))[1]

    @override
    async def list(self, resource: Resource, namespace: str | None = None) -> Listing:
        keys = sorted(
            key for key in self._of(resource) if namespace is None or key.namespace == namespace
        )
        objects = self._of(resource)
        return Listing(tuple(_decode(objects[key]) for key in keys), self._version)

    @override
    async def watch(
        self,
        resource: Resource,
        *,
        since: int,
        namespace: str | None = None,
        bookmarks: float | None = None,
    ) -> AsyncIterator[Event]:
        if since > self._version:
            raise Expired(f"resource version {since} is ahead of this store's {self._version}")
        position = since
        while True:
            changed = self._changed.setdefault(resource, asyncio.Event())
            for change in self._history.since(resource, position):
                position = change.version
                if namespace is None or change.key.namespace == namespace:
                    yield _event(change)
            if changed.is_set():
                continue  # something was written while the events above were consumed
            # Everything up to now has been delivered, so a bookmark may promise that.
            position = max(position, self._version)
            if not await _is_set_within(changed, bookmarks):
                yield _bookmark(position)

    @override
    async def create(self, resource: Resource, obj: Object) -> Object:
        key = semantics.key_of(resource, obj)
        if key in self._of(resource):
            raise semantics.already_exists(resource, key.name)
        new = semantics.created(obj, uid=str(uuid4()), now=self._clock.now())
        return self._commit(key, EventType.ADDED, new, previous=None)

    @override
    async def update(self, resource: Resource, obj: Object) -> Object:
        key = semantics.key_of(resource, obj)
        body, old = self._read(key)
        new = semantics.replaced(resource, old, obj)
        if new is None:
            return old
        if semantics.is_finished(new):
            return self._commit(key, EventType.DELETED, new, previous=body)
        return self._commit(key, EventType.MODIFIED, new, previous=body)

    @override
    async def update_status(self, resource: Resource, obj: Object) -> Object:
        key = semantics.key_of(resource, obj)
        body, old = self._read(key)
        new = semantics.with_status(resource, old, obj)
        return old if new is None else self._commit(key, EventType.MODIFIED, new, previous=body)

    @override
    async def delete(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        *,
        uid: str = "",
        grace: int | None = None,
    ) -> Object:
        key = Key(resource, namespace, name)
        body, old = self._read(key)
        semantics.check_uid(resource, old, uid)
        ending = semantics.deleted(old, grace=grace, now=self._clock.now())
        if ending is None:
            return old
        kind = EventType.DELETED if ending.gone else EventType.MODIFIED
        return self._commit(key, kind, ending.object, previous=body)

    def _commit(self, key: Key, kind: EventType, obj: Object, *, previous: bytes | None) -> Object:
        version = self._version + 1
        body = _encode(semantics.stamped(obj, version))
        change = Change(version, key, kind, body, previous)
        self._journal.append(change)
        self._version = version
        if kind is EventType.DELETED:
            del self._of(key.resource)[key]
        else:
            self._of(key.resource)[key] = body
        self._history.append(change)
        if (changed := self._changed.pop(key.resource, None)) is not None:
            changed.set()
        return _copy(body)

    def _read(self, key: Key) -> tuple[bytes, Object]:
        body = self._of(key.resource).get(key)
        if body is None:
            raise semantics.not_found(key.resource, key.name)
        return body, _copy(body)

    def _of(self, resource: Resource) -> dict[Key, bytes]:
        return self._objects.setdefault(resource, {})


def _copy(body: bytes) -> Object:
    obj: Object = _decode(body)
    return obj


def _event(change: Change) -> Event:
    previous = None if change.previous is None else _copy(change.previous)
    return Event(change.type, _copy(change.body), change.version, previous)


def _bookmark(position: int) -> Event:
    return Event(EventType.BOOKMARK, {"metadata": {"resourceVersion": str(position)}}, position)


async def _is_set_within(event: asyncio.Event, seconds: float | None) -> bool:
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return False
