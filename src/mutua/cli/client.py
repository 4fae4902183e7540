"""How do mutua's own commands speak to the API?  Like any other client: with lightkube.

Objects stay plain JSON (lightkube's generic resources are dictionaries), so that the same pure
code prints and judges them here and in the control plane.
"""

import functools
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from httpx2 import TimeoutException, TransportError
from lightkube import ApiError, Client, KubeConfig
from lightkube.core.exceptions import LoadResourceError
from lightkube.generic_resource import create_global_resource, create_namespaced_resource

from mutua.api.kinds import KINDS, Kind, kind_of
from mutua.api.object import Object, Resource
from mutua.foundation.errors import Conflict, Rejected, Unavailable
from mutua.foundation.layout import Layout
from mutua.store.port import NotFound

TIMEOUT: Final = 30.0
"""Seconds for one request, watches and execs excepted."""

ALL_NAMESPACES: Final = "*"
"""lightkube's word for "in every namespace"."""


@functools.cache
def resource_class(kind: Kind, version: str = "") -> Any:
    """Return lightkube's class for a kind, made once."""
    create = create_namespaced_resource if kind.namespaced else create_global_resource
    resource = kind.resource
    return create(resource.group, version or kind.storage_version, kind.kind, resource.plural)


@contextmanager
def connect(layout: Layout, namespace: str | None = None) -> Iterator[Client]:
    """Yield a client of the mesh; translate what goes wrong into one line.

    Raises:
        Unavailable: The mesh does not run, or cannot be spoken to.
        Rejected: The API refused; the message is the API's.
        Conflict: Somebody else changed the object first.
    """
    if not layout.kubeconfig.exists():
        raise Unavailable(f"the mesh {layout.name!r} has not been started", hint="run: mutua up")
    config = KubeConfig.from_file(layout.kubeconfig)
    try:
        with Client(config, namespace=namespace, timeout=TIMEOUT) as client:
            yield client
    except TransportError as error:
        raise _unreachable(layout.name, error) from error
    except ApiError as error:
        raise _translated(error) from error
    except LoadResourceError as error:
        raise Rejected(str(error)) from error


def _unreachable(mesh: str, error: TransportError) -> Unavailable:
    """Say "not running" only of a mesh that did not take the connection at all."""
    causes = list(_causes(error))
    if any(isinstance(cause, ssl.SSLError) for cause in causes):
        return Unavailable(f"the API of the mesh {mesh!r} answers, but not in TLS: {error}")
    if any(isinstance(cause, ConnectionRefusedError) for cause in causes):
        return Unavailable(f"the mesh {mesh!r} is not running", hint="run: mutua up")
    if isinstance(error, TimeoutException):
        return Unavailable(f"the API of the mesh {mesh!r} did not answer in time")
    hint = "it may be stopping or starting: mutua status"
    what = str(error) or type(error).__name__
    return Unavailable(f"the connection to the mesh {mesh!r} broke: {what}", hint=hint)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _translated(error: ApiError) -> Exception:
    status = error.status
    message = f"({status.reason}): {status.message}"
    if status.code == 404:
        return NotFound(message)
    if status.code == 409:
        return Conflict(message)
    return Rejected(message)


def list_objects(
    client: Client, resource: Resource, namespace: str = ALL_NAMESPACES
) -> list[Object]:
    """Return the objects of a kind in one namespace, or in all."""
    kind = kind_of(resource)
    where = namespace if kind.namespaced else None
    found = client.list(resource_class(kind), namespace=where)
    return [_plain(item, kind) for item in found]


def _plain(item: Any, kind: Kind) -> Object:
    obj: Object = {"apiVersion": kind.api_version(), "kind": kind.kind, **item}
    return obj


def all_kinds() -> tuple[Kind, ...]:
    """Return every kind the API stores."""
    return tuple(kind for kind in KINDS if kind.stored)
