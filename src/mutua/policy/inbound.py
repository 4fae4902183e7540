"""What becomes of a connection that reaches a server?  The reference semantics.

The server's proxy terminates TLS or leaves it alone, by mode, and then reads what it got as HTTP
or as bytes, by the port's protocol:

                  plaintext   mesh mTLS    TLS, mesh certificate   other TLS
    STRICT        closed      terminated   terminated              handshake fails
    PERMISSIVE    read        terminated   application's own       application's own
    DISABLE       read        read         read                    read

    the application's own TLS   no filter chain on an HTTP port: closed; else bytes for it
    a port without protocol     HTTP if the bytes look like it, or if mTLS announced it; else bytes

Whoever waits for the server to speak first waits where the proxy has to look at the client's bytes
first: everywhere but on a TCP port under DISABLE, or inside of mTLS.  The proxy gives up looking
after a while and takes what it has for plaintext that is no HTTP; on an HTTP port it goes on
waiting, for a request.
Specification: istio-semantics sections 2.3 and 2.4.
Deviates from Istio: a mesh that sets no `protocolDetectionTimeout` has a limit all the same.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final

from mutua.api.security import MutualTlsMode
from mutua.model.service import Protocol
from mutua.model.settings import MeshSettings
from mutua.model.snapshot import MeshSnapshot
from mutua.model.workload import Endpoint
from mutua.policy.peer_authentication import Decision, Subject, effective_mode

PATIENCE: Final = 5.0
"""Seconds that a server's proxy waits for a client's first bytes where the mesh says nothing."""


class Wrapping(Enum):
    """How bytes are protected on their way."""

    NONE = "plaintext"
    MESH = "mTLS"
    MESH_CERTIFICATE = "TLS with a certificate of the mesh, but not announced as mTLS of the mesh"
    OTHER = "TLS"


class Content(Enum):
    """What the application at the client's end has to say."""

    HTTP = "HTTP"
    CLIENT_FIRST = "bytes"
    SERVER_FIRST = "nothing until the server speaks"
    TLS = "TLS of its own"


class Outcome(Enum):
    """What becomes of a connection."""

    OK_HTTP = "an HTTP proxy answers"
    OK_TCP = "the bytes reach the application"
    FORWARDED_TO_APP = "the TLS handshake reaches the application"
    CLOSED = "the server's proxy closes the connection"
    HANDSHAKE_FAILS = "the TLS handshake fails"
    PROTOCOL_ERROR = "the server's proxy finds no HTTP in it"
    HANG = "both sides wait for ever"
    NOTHING_SENT = "nothing reaches the server"


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A connection as the server's proxy meets it.

    Attributes:
        wrapping: How it is protected.
        content: What is inside.
        announced_http: Whether mTLS of the mesh says that HTTP is inside.
    """

    wrapping: Wrapping
    content: Content
    announced_http: bool = False


def what_is_demanded(mesh: MeshSnapshot, endpoint: Endpoint) -> Decision | None:
    """Return what an endpoint's proxy demands of its peers, None when it has none."""
    server = endpoint.workload
    if server is None or not server.accepts_mutual_tls:
        return None
    return effective_mode(
        mesh.peer_authentications,
        Subject(namespace=server.namespace, labels=server.labels, port=endpoint.port),
        root_namespace=mesh.settings.root_namespace,
    )


def declared_protocol(mesh: MeshSnapshot, endpoint: Endpoint) -> Protocol:
    """Return what an endpoint's proxy takes its port to speak: AUTO when no Service says."""
    uid = endpoint.workload.uid if endpoint.workload is not None else ""
    for port in mesh.inbound_ports.get(uid, ()):
        if port.number == endpoint.port:
            return port.protocol
    return Protocol.AUTO


def what_becomes_of(arrival: Arrival, mode: MutualTlsMode, protocol: Protocol) -> Outcome:
    """Decide what a proxy does with a connection.

    Args:
        arrival: The connection.
        mode: What the proxy demands on this port; never UNSET.
        protocol: What the port speaks.
    """
    plain = arrival.wrapping is Wrapping.NONE
    if plain and arrival.content is Content.TLS:
        arrival, plain = Arrival(wrapping=Wrapping.OTHER, content=Content.CLIENT_FIRST), False
    if mode is MutualTlsMode.DISABLE:
        return _read(arrival, protocol) if plain else _read_tls(protocol)
    if arrival.wrapping is Wrapping.MESH:
        return _terminated(arrival, protocol)
    if mode is MutualTlsMode.PERMISSIVE:
        if plain:
            return _read(arrival, protocol)
        return Outcome.CLOSED if protocol.is_http else Outcome.FORWARDED_TO_APP
    if arrival.wrapping is Wrapping.MESH_CERTIFICATE:
        return _terminated(arrival, protocol)
    return Outcome.CLOSED if plain else Outcome.HANDSHAKE_FAILS


def wait_for_first_bytes(
    arrival: Arrival, mode: MutualTlsMode, protocol: Protocol, settings: MeshSettings
) -> float:
    """Return the seconds that a proxy waits in vain for the first bytes of a connection.

    Args:
        arrival: The connection.
        mode: What the proxy demands on this port; never UNSET.
        protocol: What the port speaks.
        settings: Of the mesh.
    """
    silent = arrival.wrapping is Wrapping.NONE and arrival.content is Content.SERVER_FIRST
    looks = mode is not MutualTlsMode.DISABLE or protocol is Protocol.AUTO
    return settings.detection_timeout or PATIENCE if silent and looks else 0.0


def what_becomes_of_direct(arrival: Arrival) -> Outcome:
    """Decide what becomes of a connection to a server without a proxy."""
    if arrival.wrapping is not Wrapping.NONE or arrival.content is Content.TLS:
        return Outcome.FORWARDED_TO_APP
    return Outcome.OK_HTTP if arrival.content is Content.HTTP else Outcome.OK_TCP


def _read(arrival: Arrival, protocol: Protocol) -> Outcome:
    """Read plaintext."""
    if protocol.is_http:
        return _as_http(arrival)
    is_http = protocol is Protocol.AUTO and arrival.content is Content.HTTP
    return Outcome.OK_HTTP if is_http else Outcome.OK_TCP


def _read_tls(protocol: Protocol) -> Outcome:
    """Read TLS without knowing that it is TLS."""
    return Outcome.PROTOCOL_ERROR if protocol.is_http else Outcome.FORWARDED_TO_APP


def _terminated(arrival: Arrival, protocol: Protocol) -> Outcome:
    """Read what was inside of TLS."""
    if protocol.is_http or (protocol is Protocol.AUTO and arrival.announced_http):
        return _as_http(arrival)
    return Outcome.OK_TCP


def _as_http(arrival: Arrival) -> Outcome:
    if arrival.content is Content.SERVER_FIRST:
        return Outcome.HANG
    return Outcome.OK_HTTP if arrival.content is Content.HTTP else Outcome.PROTOCOL_ERROR
