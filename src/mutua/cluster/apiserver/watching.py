"""How does a watch look on the wire?

One JSON object per line, `{"type": …, "object": …}`, each flushed at once:

    no position, or 0      the current objects as ADDED, then changes
    a position             the changes after it, or one ERROR with status 410: list again
    sendInitialEvents      as the first, with a marked BOOKMARK in between (WatchList)

An object that starts or stops being selected is ADDED or DELETED for this client.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final

from mutua.api.object import Object
from mutua.cluster.apiserver.message import Request
from mutua.cluster.apiserver.render import Renderer, View
from mutua.cluster.apiserver.route import Target
from mutua.cluster.apiserver.selection import Selection, selection_of
from mutua.cluster.apiserver.status import bad_request, encode, failure
from mutua.store.port import Event, EventType, Expired, ObjectStore

BOOKMARK_EVERY: Final = 30.0
"""Seconds of silence between bookmarks.  Source: half of kube-apiserver's bookmark period, so that
a client's position outlives a burst."""

DEFAULT_TIMEOUT: Final = 1800
"""Seconds after which a watch ends and the client resumes.  Source: kube-apiserver's
--min-request-timeout."""

INITIAL_EVENTS_END: Final = {"k8s.io/initial-events-end": "true"}
"""Annotation of the BOOKMARK after the initial objects.  Source: KEP-3157."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchOptions:
    """The query of a watch.

    Attributes:
        since: Position to resume from; None starts with the current objects.
        selection: Which objects.
        bookmarks: Whether the client understands BOOKMARK.
        mark_initial: Whether to mark the end of the current objects.
        only_new: Leave the current objects out although there is no position.
        timeout: Seconds until the server ends the watch.
    """

    since: int | None
    selection: Selection
    bookmarks: bool
    mark_initial: bool
    only_new: bool
    timeout: float


def watch_options(request: Request) -> WatchOptions:
    """Read the query of a watch.

    Raises:
        Refusal: A number is none.
        BadSelector: A selector is malformed.
    """
    position = _number(request, "resourceVersion", 0)
    initial = request.parameter("sendInitialEvents")
    wants_initial = request.flag("sendInitialEvents")
    return WatchOptions(
        since=None if position == 0 or wants_initial else position,
        selection=selection_of(request),
        bookmarks=request.flag("allowWatchBookmarks"),
        mark_initial=wants_initial,
        only_new=bool(initial) and not wants_initial and position == 0,
        timeout=_number(request, "timeoutSeconds", 0) or DEFAULT_TIMEOUT,
    )


def _number(request: Request, name: str, default: int) -> int:
    text = request.parameter(name)
    if not text:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) < 20):
        raise bad_request(f"invalid {name}: {text!r}")
    return int(text)


class Watch:
    """One client's watch."""

    def __init__(
        self, store: ObjectStore, target: Target, options: WatchOptions, renderer: Renderer
    ) -> None:
        """Watch for one request.

        Args:
            store: Where objects live.
            target: The collection.
            options: The query.
            renderer: Knows the form the client wants.
        """
        self._store = store
        self._target = target
        self._options = options
        self._renderer = renderer
        self._has_sent_columns = False

    async def lines(self) -> AsyncGenerator[bytes, None]:
        """Yield the events, ending at the timeout."""
        yield b""  # the client waits for the headers to know that the watch is on
        deadline = asyncio.get_running_loop().time() + self._options.timeout
        async with aclosing(self._events()) as events:
            while True:
                # The timeout is around the wait only: nobody can be interrupted inside `yield`.
                try:
                    async with asyncio.timeout_at(deadline):
                        line = await anext(events)
                except (TimeoutError, StopAsyncIteration):
                    return
                yield line

    async def _events(self) -> AsyncGenerator[bytes, None]:
        position = self._options.since
        if position is None:
            listing = await self._store.list(self._target.kind.resource, self._target.namespace)
            position = listing.resource_version
            if not self._options.only_new:
                for obj in listing.items:
                    if obj in self._options.selection:
                        yield self._line("ADDED", obj)
            if self._options.mark_initial:
                yield self._bookmark(position, INITIAL_EVENTS_END)
        try:
            async with aclosing(self._changes(position)) as changes:  # type: ignore[type-var]  # every adapter gives a generator
                async for event in changes:
                    for line in self._translated(event):
                        yield line
        except Expired as error:
            yield _encode_line("ERROR", failure(error))

    def _changes(self, position: int) -> AsyncIterator[Event]:
        return self._store.watch(
            self._target.kind.resource,
            since=position,
            namespace=self._target.namespace,
            bookmarks=BOOKMARK_EVERY if self._options.bookmarks else None,
        )

    def _translated(self, event: Event) -> list[bytes]:
        """Return what an event means for this client's selection: one line or none."""
        if event.type is EventType.BOOKMARK:
            return [self._bookmark(event.resource_version, {})]
        selection = self._options.selection
        is_in = event.type is not EventType.DELETED and event.object in selection
        was_in = event.type is not EventType.ADDED and (event.previous or event.object) in selection
        match (was_in, is_in):
            case (False, True):
                return [self._line("ADDED", event.object)]
            case (True, True):
                return [self._line("MODIFIED", event.object)]
            case (True, False):
                return [self._line("DELETED", _left(event))]
            case _:
                return []

    def _line(self, kind: str, obj: Object) -> bytes:
        document = self._renderer.one(obj)
        if self._renderer.view is View.TABLE:
            if self._has_sent_columns:
                document = document | {"columnDefinitions": []}
            self._has_sent_columns = True
        return _encode_line(kind, document)

    def _bookmark(self, position: int, annotations: dict[str, str]) -> bytes:
        return _encode_line("BOOKMARK", self._renderer.bookmark(position, annotations))


def _left(event: Event) -> Object:
    """Return the last selected state of an object, with the version at which it left."""
    obj = event.object if event.type is EventType.DELETED else event.previous or event.object
    return obj | {"metadata": obj["metadata"] | {"resourceVersion": str(event.resource_version)}}


def _encode_line(kind: str, document: dict[str, Any]) -> bytes:
    return encode({"type": kind, "object": document}) + b"\n"
