"""The verbs on objects: get, list, create, update, patch, delete, and the status half.

Each verb reads what the client sent, lets the registry decide, and renders the answer.  Which
kind it is about matters only to the schema and the registry.
"""

import copy
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from mutua.api.object import Object, Resource
from mutua.api.patch import apply_patch
from mutua.cluster.apiserver import body
from mutua.cluster.apiserver.call import Call
from mutua.cluster.apiserver.message import Reply, Response, Stream
from mutua.cluster.apiserver.registry import Registry, collect_warnings
from mutua.cluster.apiserver.render import Renderer, json_response
from mutua.cluster.apiserver.selection import selection_of
from mutua.cluster.apiserver.status import Subject, bad_request, refusal_response, success
from mutua.cluster.apiserver.watching import Watch, watch_options
from mutua.foundation.clock import Clock
from mutua.foundation.errors import MutuaError
from mutua.store.port import NotFound, Stale

PATCH_ATTEMPTS: Final = 5
"""Tries to apply a patch that names no resourceVersion, while others write.  Source: apiserver
`MaxRetryWhenPatchConflicts`."""

Document = dict[str, Any]


class Objects:
    """Answers calls for objects and collections."""

    def __init__(self, registry: Registry, clock: Clock) -> None:
        """Serve the objects of `registry`; `clock` is for ages in tables."""
        self._registry = registry
        self._clock = clock
        self._verbs: dict[str, Callable[[Call], Awaitable[Reply]]] = {
            "get": self._get,
            "list": self._list,
            "watch": self._watch,
            "create": self._create,
            "update": self._update,
            "patch": self._patch,
            "delete": self._delete,
            "deletecollection": self._delete_collection,
        }

    async def answer(self, call: Call) -> Reply:
        """Answer one call.

        Raises:
            MutuaError: It is refused.
        """
        return await self._verbs[call.verb](call)

    async def read(self, call: Call) -> Object:
        """Return the object that a call addresses.

        Raises:
            NotFound: There is none.
        """
        target = call.target
        return await self._registry.get(target.kind.resource, target.key_namespace, target.name)

    async def find(self, resource: Resource, namespace: str, name: str) -> Object:
        """Return another object than the one that a call addresses.

        Raises:
            NotFound: There is none.
        """
        return await self._registry.get(resource, namespace, name)

    async def change(self, call: Call, apply: Callable[[Object], Object]) -> Object:
        """Apply a pure change to the addressed object; try again when somebody else was faster.

        Raises:
            Stale: `apply` insists on an older version, or there was no end of other writers.
        """
        resource = call.target.kind.resource
        write = (
            self._registry.update_status
            if call.target.subresource == "status"
            else self._registry.update
        )
        for attempt in range(1, PATCH_ATTEMPTS + 1):
            old = await self.read(call)
            new = apply(copy.deepcopy(old))
            version = new["metadata"].get("resourceVersion")
            insists = bool(version) and version != old["metadata"]["resourceVersion"]
            based = new | {"metadata": {"resourceVersion": _version(old)} | new["metadata"]}
            try:
                return await write(resource, based, dry_run=body.is_dry_run(call.request))
            except Stale:
                if insists or attempt == PATCH_ATTEMPTS:
                    raise
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _get(self, call: Call) -> Reply:
        return json_response(self._renderer(call).one(await self.read(call)))

    async def _list(self, call: Call) -> Reply:
        target, selection = call.target, selection_of(call.request)
        listing = await self._registry.list(target.kind.resource, target.namespace)
        selected = [obj for obj in listing.items if obj in selection]
        return json_response(self._renderer(call).many(selected, listing.resource_version))

    async def _watch(self, call: Call) -> Reply:
        options = watch_options(call.request)
        watch = Watch(self._registry, call.target, options, self._renderer(call))
        return Stream(
            chunks=watch.lines(),
            content_type="application/json",
            refuse=lambda error: refusal_response(error, call.subject),
        )

    async def _create(self, call: Call) -> Reply:
        sent = _received(call)
        obj = {k: v for k, v in sent.object.items() if k != "status"}
        if obj["metadata"].get("resourceVersion"):
            raise bad_request("resourceVersion should not be set on objects to be created")
        dry_run = body.is_dry_run(call.request)
        with collect_warnings() as warnings:
            try:
                made = await self._registry.create(call.target.kind.resource, obj, dry_run=dry_run)
            except MutuaError as error:
                # The URL of a create has no name, but kubectl shows one.
                name = obj["metadata"].get("name") or ""
                return refusal_response(error, Subject(call.target.kind, str(name)))
        return self._written(call, made, [*sent.warnings, *warnings], status=201)

    async def _update(self, call: Call) -> Reply:
        sent = _received(call)
        resource, dry_run = call.target.kind.resource, body.is_dry_run(call.request)
        with collect_warnings() as warnings:
            if call.target.subresource == "status":
                made = await self._registry.update_status(resource, sent.object, dry_run=dry_run)
            else:
                made = await self._registry.update(resource, sent.object, dry_run=dry_run)
        return self._written(call, made, [*sent.warnings, *warnings])

    async def _patch(self, call: Call) -> Reply:
        target = call.target
        patch = body.decode_json(call.request.body)
        unknown: list[str] = []

        def apply(old: Object) -> Object:
            seen = old | {"apiVersion": target.api_version}
            patched = apply_patch(body.media_type(call.request), seen, patch, target.kind)
            complete = body.completed(patched, target)
            known, found = body.checked_fields(complete, target.kind, target.version, call.request)
            unknown[:] = found
            return known

        with collect_warnings() as warnings:
            made = await self.change(call, apply)
        return self._written(call, made, [*unknown, *warnings])

    async def _delete(self, call: Call) -> Reply:
        options = delete_options(call)
        gone = await self._remove(call, call.target.name, call.target.key_namespace, options)
        if await self._still_exists(call, gone) or options.dry_run:
            return self._written(call, gone, [])
        return json_response(success(call.subject, gone["metadata"]["uid"]))

    async def _delete_collection(self, call: Call) -> Reply:
        options, selection = delete_options(call), selection_of(call.request)
        target = call.target
        listing = await self._registry.list(target.kind.resource, target.namespace)
        selected = [obj for obj in listing.items if obj in selection]
        for obj in selected:
            metadata = obj["metadata"]
            try:
                await self._remove(call, metadata["name"], metadata.get("namespace") or "", options)
            except NotFound:
                continue  # somebody else was faster
        return json_response(self._renderer(call).many(selected, listing.resource_version))

    async def _remove(
        self, call: Call, name: str, namespace: str, options: "DeleteOptions"
    ) -> Object:
        return await self._registry.delete(
            call.target.kind.resource,
            namespace,
            name,
            uid=options.uid,
            grace=options.grace,
            dry_run=options.dry_run,
        )

    async def _still_exists(self, call: Call, obj: Object) -> bool:
        try:
            current = await self.read(call)
        except NotFound:
            return False
        return bool(current["metadata"]["uid"] == obj["metadata"]["uid"])

    def _written(
        self, call: Call, obj: Object, warnings: list[str], *, status: int = 200
    ) -> Response:
        return json_response(self._renderer(call).one(obj), status=status, warnings=warnings)

    def _renderer(self, call: Call) -> Renderer:
        return Renderer(call.request, call.target, self._clock.now())


@dataclass(frozen=True, slots=True)
class _Received:
    """An object from a body, and what to tell its author about unknown fields."""

    object: Object
    warnings: list[str]


def _received(call: Call) -> _Received:
    target = call.target
    complete = body.completed(body.decode_object(call.request), target)
    return _Received(*body.checked_fields(complete, target.kind, target.version, call.request))


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteOptions:
    """How to delete.

    Attributes:
        grace: Seconds, None for the object's own.
        uid: Only this incarnation; "" for any.
        dry_run: Only say what would happen.
    """

    grace: int | None
    uid: str
    dry_run: bool


def delete_options(call: Call) -> DeleteOptions:
    """Read DeleteOptions from the body, and from the query where the body is silent.

    propagationPolicy is accepted and always means Background: the garbage collector removes what
    the object owned.  Orphan and Foreground are refused rather than ignored.

    Raises:
        Refusal: They are malformed, or ask for what this server does not do.
    """
    sent = body.decode(call.request) or {}
    if not isinstance(sent, dict):
        raise bad_request("DeleteOptions must be an object")
    request = call.request
    grace = sent.get("gracePeriodSeconds", request.parameter("gracePeriodSeconds") or None)
    uid = (sent.get("preconditions") or {}).get("uid") or ""
    policy = sent.get("propagationPolicy") or request.parameter("propagationPolicy")
    if policy not in {"", None, "Background"}:
        raise bad_request(f"propagationPolicy {policy!r} is not supported: use Background")
    try:
        seconds = None if grace is None else int(grace)
    except (TypeError, ValueError):
        raise bad_request(f"not a gracePeriodSeconds: {grace!r}") from None
    dry_run = body.is_dry_run(request) or bool(sent.get("dryRun"))
    return DeleteOptions(grace=seconds, uid=uid, dry_run=dry_run)


def _version(obj: Object) -> str:
    version: str = obj["metadata"]["resourceVersion"]
    return version
