"""Routes: which Service an HTTP request means, by its Host header.

    route "P"          every Service with HTTP on port P, for the listener 0.0.0.0_P
    route "host:P"     one Service on a port whose protocol is detected, for its own listener

Names without a namespace mean the client's own namespace, so route "P" differs between namespaces
in a few domains.  A virtual host is therefore serialized once per Service, in at most two forms,
and a route is spliced from them: in protobuf, a repeated field of a concatenation is the
concatenation.  Specification: istio-semantics sections 3.1 and 3.8.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from mutua.model.settings import MeshSettings
from mutua.xds.compile import names
from mutua.xds.compile.exports import is_exported
from mutua.xds.compile.filters import NEVER
from mutua.xds.proto import PreviousHostsPredicate, RouteConfiguration, VirtualHost, pack
from mutua.xds.proto.splice import field_bytes
from mutua.xds.resource import Resource, resource

VIRTUAL_HOSTS: Final = RouteConfiguration.DESCRIPTOR.fields_by_name["virtual_hosts"].number
"""Field number of the repeated field that `_splice` appends to."""

RETRY_POLICY: Final = {
    "retry_on": "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes",
    "num_retries": {"value": 2},
    "host_selection_retry_max_attempts": 5,
    "retry_host_predicate": [
        {
            "name": "envoy.retry_host_predicates.previous_hosts",
            "typed_config": pack(PreviousHostsPredicate()),
        }
    ],
}
"""Retries of every request, as Istio's default (section 3.8)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostShape:
    """Everything a virtual host depends on.

    Attributes:
        hostname: The Service's full name.
        namespace: The Service's namespace.
        port: The port in question.
        domains: What clients everywhere call it.
        local: What clients of its own namespace call it besides.
        addresses: Where clients may say they are going instead.
        exported: Namespaces whose clients see it, "." and "*" as written.
    """

    hostname: str
    namespace: str
    port: int
    domains: tuple[str, ...]
    local: tuple[str, ...]
    addresses: tuple[str, ...]
    exported: tuple[str, ...]

    def seen_from(self, namespace: str) -> bool:
        """Tell whether clients of a namespace see it."""
        return is_exported(self.exported, self.namespace, namespace)


def virtual_host(shape: HostShape, domains: tuple[str, ...]) -> bytes:
    """Return a serialized virtual host.

    Args:
        shape: The Service's port.
        domains: Those under which it is found; a domain may stand in a route only once.
    """
    return _virtual_host(f"{shape.hostname}:{shape.port}", domains, shape)


def port_route(port: int, virtual_hosts: Iterable[bytes], settings: MeshSettings) -> Resource:
    """Return route "P" from the virtual hosts of all Services on that port."""
    return _splice(str(port), [*virtual_hosts, _unknown_hosts(settings)])


def service_route(shape: HostShape) -> Resource:
    """Return the route of a listener that belongs to one Service: any Host header means it."""
    name = f"{shape.hostname}:{shape.port}"
    return _splice(name, [_virtual_host(name, ("*",), shape)])


def _virtual_host(name: str, domains: tuple[str, ...], shape: HostShape) -> bytes:
    route = {
        "cluster": names.outbound_cluster(shape.port, shape.hostname),
        "timeout": NEVER,
        "retry_policy": RETRY_POLICY,
    }
    return _host_bytes(name, domains, {"route": route})


def _unknown_hosts(settings: MeshSettings) -> bytes:
    if settings.allow_any_outbound:
        route = {"cluster": names.PASSTHROUGH_CLUSTER, "timeout": NEVER}
        return _host_bytes("allow_any", ("*",), {"route": route})
    return _host_bytes("block_all", ("*",), {"direct_response": {"status": 502}})


def _host_bytes(name: str, domains: tuple[str, ...], action: dict[str, Any]) -> bytes:
    route = {"name": "default", "match": {"prefix": "/"}, **action}
    host = VirtualHost(
        name=name, domains=domains, routes=[route], include_request_attempt_count=True
    )
    return bytes(host.SerializeToString(deterministic=True))


def _splice(name: str, virtual_hosts: Iterable[bytes]) -> Resource:
    head = RouteConfiguration(
        name=name, validate_clusters={"value": False}, ignore_port_in_host_matching=True
    )
    pieces = [head.SerializeToString(deterministic=True)]
    pieces += [field_bytes(VIRTUAL_HOSTS, host) for host in virtual_hosts]
    return resource(name, b"".join(pieces))
