"""How a compiled proxy protects what it sends, read from Envoy's own messages.

A third party to evaluator and compiler: it knows nothing of policies, only how Envoy chooses a
transport socket for an endpoint.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from mutua.xds.proto import Cluster, ClusterLoadAssignment, UpstreamTlsContext
from mutua.xds.resource import CLUSTER, ENDPOINT, ProxyResources

TLS: Final = "envoy.transport_sockets.tls"
SOCKET_MATCH: Final = "envoy.transport_socket_match"

MESH_CERTIFICATE: Final = "default"
"""Secret with the proxy's own certificate."""


@dataclass(frozen=True, slots=True)
class Wire:
    """How a proxy protects what it sends to one endpoint.

    Attributes:
        mode: DISABLE, SIMPLE, MUTUAL or ISTIO_MUTUAL.
        sni: The server name it asks for, "" for none.
        identities: Whom the server may prove to be, by exact name, sorted.
    """

    mode: str
    sni: str = ""
    identities: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Place:
    """One endpoint of a cluster.

    Attributes:
        address: IP address or name.
        port: Port.
        flagged: Whether it is marked as one that takes mTLS.
    """

    address: str
    port: int
    flagged: bool


class OutboundCluster:
    """A cluster, and the endpoints that belong to it."""

    def __init__(self, cluster: Any, assignment: Any) -> None:
        self._cluster = cluster
        self._entries = {
            (socket.address, socket.port_value): entry
            for group in assignment.endpoints
            for entry in group.lb_endpoints
            for socket in (entry.endpoint.address.socket_address,)
        }

    @property
    def is_addressed(self) -> bool:
        """Whether it dials whatever address the client chose."""
        return bool(self._cluster.type == Cluster.DiscoveryType.Value("ORIGINAL_DST"))

    @property
    def infers(self) -> bool:
        """Whether each endpoint decides about mTLS."""
        return bool(self._cluster.transport_socket_matches)

    def places(self) -> list[Place]:
        """Return its endpoints; none where the client chooses."""
        return [Place(*where, bool(_flag(entry))) for where, entry in self._entries.items()]

    def wire(self, address: str, port: int) -> Wire:
        """Return how an endpoint is met."""
        entry = None if self.is_addressed else self._entries[address, port]
        for one in self._cluster.transport_socket_matches:
            if _texts(one.match).items() <= (_flag(entry) if entry else {}).items():
                return _wire(one.transport_socket)
        return _wire(self._cluster.transport_socket)


def outbound_cluster(compiled: ProxyResources, name: str) -> OutboundCluster | None:
    """Return a cluster with its endpoints, None when there is none of that name."""
    if name not in compiled[CLUSTER]:
        return None
    cluster = Cluster.FromString(compiled[CLUSTER][name].body)
    if cluster.HasField("load_assignment"):
        return OutboundCluster(cluster, cluster.load_assignment)
    assigned = cluster.eds_cluster_config.service_name or name
    if assigned not in compiled[ENDPOINT]:
        return OutboundCluster(cluster, ClusterLoadAssignment())
    body = compiled[ENDPOINT][assigned].body
    return OutboundCluster(cluster, ClusterLoadAssignment.FromString(body))


def _flag(entry: Any) -> dict[str, str]:
    return _texts(entry.metadata.filter_metadata[SOCKET_MATCH])


def _texts(struct: Any) -> dict[str, str]:
    return {key: value.string_value for key, value in struct.fields.items()}


def _wire(socket: Any) -> Wire:
    if socket.name != TLS:
        return Wire("DISABLE")
    context = UpstreamTlsContext.FromString(socket.typed_config.value)
    common = context.common_tls_context
    shown = [one.name for one in common.tls_certificate_sds_secret_configs]
    mode = "MUTUAL" if shown or common.tls_certificates else "SIMPLE"
    if shown == [MESH_CERTIFICATE]:
        mode = "ISTIO_MUTUAL"
    return Wire(mode, context.sni, tuple(sorted(set(_exact_names(common)))))


def _exact_names(common: Any) -> Iterator[str]:
    contexts = (
        common.combined_validation_context.default_validation_context,
        common.validation_context,
    )
    for context in contexts:
        for name in context.match_typed_subject_alt_names:
            if name.matcher.exact:
                yield name.matcher.exact
