"""How do mutua's own commands speak to the API?  Like any other client: with lightkube.

Objects stay plain JSON (lightkube's generic resources are dictionaries), so that the same pure
code prints and judges them here and in the control plane.
"""

import functools
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import click
from httpx2 import Client as HTTPClient
from httpx2 import HTTPTransport, Request, Response, TimeoutException, TransportError
from lightkube import ApiError, Client, KubeConfig
from lightkube.config.client_adapter import verify_cluster
from lightkube.core.exceptions import LoadResourceError
from lightkube.generic_resource import create_global_resource, create_namespaced_resource
from typing_extensions import override

from mutua.api.kinds import Kind, kind_of
from mutua.api.object import Object, Resource
from mutua.foundation.errors import Conflict, Rejected, Unavailable
from mutua.foundation.layout import Layout
from mutua.store.port import NotFound

TIMEOUT: Final = 30.0
"""Seconds for one request, watches and execs excepted."""

ALL_NAMESPACES: Final = "*"
"""lightkube's word for "in every namespace"."""

WRITING: Final = frozenset({"POST", "PUT", "PATCH"})

WARNING: Final = re.compile(r'299 \S+ "(.*)"')
"""A warning's header (RFC 9111, section 5.5)."""

SWITCHING_PROTOCOLS: Final = 101

NOT_NOW: Final = frozenset({9, 10})
"""Verification results of a certificate that begins later, or has ended.  Source: OpenSSL
x509_vfy.h, X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED."""


def resource_class(kind: Kind, version: str = "") -> Any:
    """Return lightkube's class for a kind, made once."""
    return _resource_class(kind, version or kind.storage_version)


@functools.cache
def _resource_class(kind: Kind, version: str) -> Any:
    create = create_namespaced_resource if kind.namespaced else create_global_resource
    resource = kind.resource
    return create(resource.group, version, kind.kind, resource.plural)


@contextmanager
def connect(layout: Layout, namespace: str | None = None) -> Iterator[Client]:
    """Yield a client of the mesh; translate what goes wrong into one line.

    Raises:
        Unavailable: The mesh does not run, or cannot be spoken to.
        Rejected: The API refused; the message is the API's, the cause its ApiError.
        Conflict: Somebody else changed the object first.
    """
    if not layout.kubeconfig.exists():
        raise Unavailable(f"the mesh {layout.name!r} has not been started", hint="run: mutua up")
    config = KubeConfig.from_file(layout.kubeconfig).get()
    trust = verify_cluster(config.cluster, config.user, config.abs_file, trust_env=False)
    transport = _Transport(trust)
    try:
        with Client(config, namespace=namespace, timeout=TIMEOUT, transport=transport) as client:
            yield client
    except TransportError as error:
        raise _unreachable(layout, error) from error
    except ApiError as error:
        raise _translated(error) from error
    except LoadResourceError as error:
        raise Rejected(str(error)) from error


class _Transport(HTTPTransport):  # type: ignore[misc]
    """What kubectl asks of the API and lightkube does not: strictness, warnings, and reasons."""

    def __init__(self, trust: ssl.SSLContext) -> None:
        super().__init__(verify=trust, trust_env=False)

    @override
    def handle_request(self, request: Request) -> Response:
        if request.method in WRITING:
            request.url = request.url.copy_add_param("fieldValidation", "Strict")
        response = super().handle_request(request)
        for header in response.headers.get_list("warning"):
            if match := WARNING.match(header):
                text = match[1].replace(r"\"", '"').replace(r"\\", "\\")
                click.echo(f"Warning: {text}", err=True)
        if "upgrade" in request.headers and response.status_code != SWITCHING_PROTOCOLS:
            response.read()  # a refused exec says why in its body
            raise ApiError(request=request, response=response)
        return response


def _unreachable(layout: Layout, error: TransportError) -> Unavailable:
    """Say "not running" only of a mesh that did not take the connection at all."""
    mesh = layout.name
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError) and cause.verify_code in NOT_NOW:
            return Unavailable(
                f"the API of the mesh {mesh!r} has a certificate that is not valid at the time of"
                f" this machine: {cause.verify_message}",
                hint="it gets another one within seconds when the clock was set; else see whether"
                " the clock is right",
            )
    if any(isinstance(cause, ssl.SSLError) for cause in causes):
        return Unavailable(
            f"the API of the mesh {mesh!r} answers, but not in TLS: {error}",
            hint="somebody else listens on its port: mutua down, then mutua up",
        )
    if any(isinstance(cause, ConnectionRefusedError) for cause in causes):
        return Unavailable(f"the mesh {mesh!r} is not running", hint="run: mutua up")
    if isinstance(error, TimeoutException):
        return Unavailable(
            f"the API of the mesh {mesh!r} did not answer in time",
            hint=f"read {layout.daemon_log}",
        )
    hint = "it may be stopping or starting: mutua status"
    what = str(error) or type(error).__name__
    return Unavailable(f"the connection to the mesh {mesh!r} broke: {what}", hint=hint)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _translated(error: ApiError) -> Exception:
    status = error.status
    if status.code == 404:
        return NotFound(status.message)
    if status.code == 409:
        return Conflict(status.message)
    return Rejected(status.message)


def read_document(client: Client, path: str) -> Any:
    """Return the JSON document at a path of the API that is no object's.

    Raises:
        ApiError: The API refused.
    """
    config = client.config
    trust = verify_cluster(config.cluster, config.user, config.abs_file, trust_env=False)
    with HTTPClient(transport=_Transport(trust), timeout=TIMEOUT) as connection:
        response = connection.get(f"{config.cluster.server}{path}")
    if response.is_error:
        raise ApiError(request=response.request, response=response)
    return response.json()


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
