"""Services, their ports, and what they speak.

A port's protocol decides how both sidecars read the bytes.  It comes from `appProtocol`, else from
the port's name, of both what is before the first dash, or from a short list of well-known numbers;
otherwise the proxies look at the first bytes (AUTO).  Specification: istio-semantics section 2.2.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from mutua.api.service_entry import Resolution


class Protocol(Enum):
    """What a port speaks, as declared."""

    HTTP = "HTTP"
    HTTP2 = "HTTP2"
    GRPC = "GRPC"
    GRPC_WEB = "GRPC-Web"
    HTTPS = "HTTPS"
    TLS = "TLS"
    TCP = "TCP"
    MONGO = "Mongo"
    MYSQL = "MySQL"
    REDIS = "Redis"
    UDP = "UDP"
    AUTO = "Auto"

    @property
    def is_http(self) -> bool:
        """Whether proxies read it as HTTP without looking first."""
        return self in {Protocol.HTTP, Protocol.HTTP2, Protocol.GRPC, Protocol.GRPC_WEB}

    @property
    def is_http2(self) -> bool:
        """Whether the application expects HTTP/2."""
        return self in {Protocol.HTTP2, Protocol.GRPC}


_BY_NAME: Final[Mapping[str, Protocol]] = {
    "http": Protocol.HTTP,
    "http2": Protocol.HTTP2,
    "grpc": Protocol.GRPC,
    "grpc-web": Protocol.GRPC_WEB,
    "https": Protocol.HTTPS,
    "tls": Protocol.TLS,
    "tcp": Protocol.TCP,
    "mongo": Protocol.MONGO,
    "mysql": Protocol.MYSQL,
    "redis": Protocol.REDIS,
    "udp": Protocol.UDP,
}

_BY_APP_PROTOCOL: Final[Mapping[str, Protocol]] = {
    "kubernetes.io/h2c": Protocol.HTTP2,
    "kubernetes.io/ws": Protocol.HTTP,
    "kubernetes.io/wss": Protocol.HTTPS,
}

_SERVER_FIRST_PORTS: Final = frozenset({25, 53, 3306, 27017})
"""Well-known ports on which waiting for the client's first bytes would hang (or is useless)."""


def port_protocol(number: int, *, name: str, app_protocol: str, transport: str) -> Protocol:
    """Return what a Service port speaks.

    Args:
        number: The Service's port.
        name: The port's name, "" when it has none.
        app_protocol: `appProtocol`, "" when absent.
        transport: Kubernetes' `protocol`: TCP, UDP or SCTP.
    """
    if transport != "TCP":
        return Protocol.UDP
    declared = (app_protocol or name).lower()
    # The one protocol whose own name has a dash.
    prefix = "grpc-web" if declared.startswith("grpc-web") else declared.split("-", 1)[0]
    found = (app_protocol and _BY_APP_PROTOCOL.get(declared)) or _BY_NAME.get(prefix)
    if found is not None:
        return found
    return Protocol.TCP if number in _SERVER_FIRST_PORTS else Protocol.AUTO


@dataclass(frozen=True, slots=True, order=True)
class ServiceName:
    """The address of a Service object."""

    namespace: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicePort:
    """One port of a Service.

    Attributes:
        number: The port clients dial.
        name: Its name, "" when it has none; EndpointSlices refer to it.
        protocol: What it speaks.
        target: Container port number, or the name of a container port.
    """

    number: int
    name: str
    protocol: Protocol
    target: int | str


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A Service, or a host of a ServiceEntry (ExternalName services are not in the model).

    Attributes:
        id: Namespace and name; of a ServiceEntry, namespace and host.
        hostname: Fully qualified DNS name, in a ServiceEntry perhaps with a wildcard.
        created: creationTimestamp, RFC 3339.
        addresses: Where clients dial it: cluster IP, or the addresses and networks of a
            ServiceEntry; none when it is headless or has none yet.
        resolution: How a client's proxy finds its endpoints; NONE: wherever the client was going.
        ports: Its ports, without UDP and SCTP.
        selector: Labels of its pods; empty selects none.
        identities: What it says itself about who may serve it: identities that its annotations add
            to the expected ones, or the `subjectAltNames` of a ServiceEntry.
        is_entry: Whether a ServiceEntry describes it.
        is_external: Whether it is outside of the mesh.
        export_to: Namespaces whose clients see it, "." and "*" as written; () for the default.
    """

    id: ServiceName
    hostname: str
    created: str
    addresses: tuple[str, ...]
    resolution: Resolution = Resolution.STATIC
    ports: tuple[ServicePort, ...]
    selector: Mapping[str, str]
    identities: tuple[str, ...] = ()
    is_entry: bool = False
    is_external: bool = False
    export_to: tuple[str, ...] = ()

    @property
    def headless(self) -> bool:
        """Whether clients resolve a Kubernetes Service to its endpoints' addresses."""
        return self.resolution is Resolution.NONE and not self.is_entry
