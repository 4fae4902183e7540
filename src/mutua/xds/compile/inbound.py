"""`virtualInbound`: what a pod's proxy does with connections that others open to the pod.

One listener takes every captured connection and chooses a filter chain by the port that was
dialled, by whether the first bytes are TLS, and by the ALPN tokens offered.  Which chains exist
follows from the port's protocol and the mode in force:

    port       STRICT                 PERMISSIVE                       DISABLE
    HTTP       tls:mTLS→HTTP          tls+istio:mTLS→HTTP  raw→HTTP    raw→HTTP
    TCP        tls:mTLS→TCP           tls+istio:mTLS→TCP   any→TCP     raw→TCP
    AUTO,      tls+istio-http:        tls+istio-http:mTLS→HTTP         raw+http→HTTP
    undeclared   mTLS→HTTP            tls+istio:mTLS→TCP               raw→TCP
               tls:mTLS→TCP           raw+http→HTTP        any→TCP

A connection that no chain matches is closed: that is how STRICT refuses plaintext.  Bytes that do
not tell what they are count as "raw" when the wait for more ends (`PATIENCE`).  The result depends
only on the ports, protocols and modes, so pods of one shape share one listener.
Specification: istio-semantics sections 2.1 to 2.6.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from mutua.api.security import MutualTlsMode
from mutua.model.service import Protocol
from mutua.model.settings import MeshSettings
from mutua.model.workload import InboundPort
from mutua.xds.compile import filters, names, reports
from mutua.xds.compile.access_log import listener_logs
from mutua.xds.compile.lifetime import server_lifetime
from mutua.xds.compile.modes import InboundModes
from mutua.xds.compile.tls import downstream_tls
from mutua.xds.proto import Listener
from mutua.xds.resource import Resource, resource

PATIENCE: Final = 5.0
"""Seconds that a client may leave open what it speaks, where MeshConfig sets no limit.  Envoy's TLS
inspector wants the five bytes of a TLS record's header, whatever the first one is: a client that
says "hi" and waits would wait for ever.  Who speaks TLS does so at once; the limit leaves TCP time
to send it again.  Deviates from Istio, where no limit is none here either."""

OVERLAP_TIMEOUT: Final = 1.0
"""Seconds that a silent client is waited for while a mode changes: its server may be the one that
speaks first, and plaintext still, or already, right.  Who speaks TLS does so at once."""

HANDSHAKE: Final = 15.0
"""Seconds a client gets for its handshake: one that stalls holds a connection otherwise.  Istio's
gateways give as many, its sidecars any number."""

RETRIES: Final = 2
"""Attempts after a pooled connection to the application broke before the request was sent."""


@dataclass(frozen=True, slots=True)
class InboundShape:
    """Everything a pod's `virtualInbound` depends on.

    Attributes:
        ports: Container ports that Services expose, by number.
        modes: What is in force on them and on every other port.
    """

    ports: tuple[InboundPort, ...]
    modes: InboundModes


@dataclass(frozen=True, slots=True)
class _PortChains:
    """One port, or (None) every port that has no chains of its own."""

    port: int | None
    protocol: Protocol
    mode: MutualTlsMode

    @property
    def sniffs_tls(self) -> bool:
        return self.mode is not MutualTlsMode.DISABLE

    @property
    def sniffs_http(self) -> bool:
        return self.protocol is Protocol.AUTO and self.mode is not MutualTlsMode.STRICT


def virtual_inbound(shape: InboundShape, settings: MeshSettings) -> Resource:
    """Return the listener for a pod of this shape."""
    others = _PortChains(None, Protocol.AUTO, shape.modes.default)
    ports = _declared(shape)
    declared = {chains.port for chains in ports}
    # Policies may name ports that no Service exposes.
    ports += [
        _PortChains(port, Protocol.AUTO, mode)
        for port, mode in shape.modes.ports
        if port not in declared and port != names.INBOUND_PORT
    ]
    exposed = {port.number for port in shape.ports}
    listener = Listener(
        name=names.VIRTUAL_INBOUND,
        traffic_direction="INBOUND",
        address={"socket_address": {"address": "0.0.0.0", "port_value": names.INBOUND_PORT}},  # noqa: S104
        listener_filters=[
            filters.original_dst(),
            *_inspectors(others, ports),
        ],
        listener_filters_timeout=filters.duration(_patience(shape.modes, settings)),
        continue_on_listener_filters_timeout=True,
        max_connections_to_accept_per_socket_event={"value": 1},
        access_log=[*listener_logs(settings.access_log), *reports.refusals()],
        filter_chains=[
            _black_hole(settings),
            *_chains(others, settings, exposed=False),
            *(
                made
                for chains in ports
                for made in _chains(chains, settings, exposed=chains.port in exposed)
            ),
        ],
    )
    return resource(names.VIRTUAL_INBOUND, listener.SerializeToString(deterministic=True))


def _patience(modes: InboundModes, settings: MeshSettings) -> float:
    """Return how many seconds to wait for the client's first bytes."""
    seconds = settings.detection_timeout or PATIENCE
    return min(seconds, OVERLAP_TIMEOUT) if modes.overlap else seconds


def _declared(shape: InboundShape) -> list[_PortChains]:
    return [
        _PortChains(port.number, port.protocol, shape.modes.of(port.number))
        for port in shape.ports
        if port.number != names.INBOUND_PORT
    ]


def _inspectors(others: _PortChains, ports: Sequence[_PortChains]) -> list[dict[str, Any]]:
    """Return the inspectors, switched off on every port where nobody asks for their answer.

    An inspector waits for the client's first bytes: on a port without one, a protocol in which
    the server speaks first works, and without the TLS inspector an application's own TLS is just
    bytes.
    """
    made = []
    if others.sniffs_tls or any(chains.sniffs_tls for chains in ports):
        disabled = _disabled(others.sniffs_tls, {c.port: c.sniffs_tls for c in ports if c.port})
        made.append(filters.tls_inspector(disabled=disabled))
    if others.sniffs_http or any(chains.sniffs_http for chains in ports):
        disabled = _disabled(others.sniffs_http, {c.port: c.sniffs_http for c in ports if c.port})
        made.append(filters.http_inspector(disabled=disabled))
    return made


def _disabled(otherwise: bool, ports: dict[int, bool]) -> dict[str, Any] | None:  # noqa: FBT001
    if otherwise:
        return filters.on_ports(port for port, used in ports.items() if not used)
    return filters.except_on_ports(port for port, used in ports.items() if used)


def _black_hole(settings: MeshSettings) -> dict[str, Any]:
    """Return the chain that ends a connection to the proxy's own port: it would loop for ever."""
    return {
        "name": "virtualInbound-blackhole",
        "filter_chain_match": {"destination_port": {"value": names.INBOUND_PORT}},
        "filters": [filters.tcp_proxy(names.BLACK_HOLE_CLUSTER, settings)],
    }


def _chains(
    chains: _PortChains, settings: MeshSettings, *, exposed: bool
) -> Iterable[dict[str, Any]]:
    """Yield the filter chains of one port: a column of the table in the module's header."""
    make = _Maker(chains, settings, exposed=exposed)
    if chains.protocol.is_http:
        yield from _http_chains(make, chains.mode)
    elif chains.protocol is Protocol.AUTO:
        yield from _sniffing_chains(make, chains.mode)
    else:
        yield from _tcp_chains(make, chains.mode)


def _http_chains(make: "_Maker", mode: MutualTlsMode) -> Iterable[dict[str, Any]]:
    if mode is MutualTlsMode.STRICT:
        yield make.mutual_tls(http=True)
    if mode is MutualTlsMode.PERMISSIVE:
        yield make.mutual_tls(names.ISTIO_ALL, http=True)
    if mode is not MutualTlsMode.STRICT:
        yield make.plain(http=True)


def _tcp_chains(make: "_Maker", mode: MutualTlsMode) -> Iterable[dict[str, Any]]:
    if mode is MutualTlsMode.STRICT:
        yield make.mutual_tls(http=False)
    if mode is MutualTlsMode.PERMISSIVE:
        yield make.mutual_tls(names.ISTIO_ALL, http=False)
        yield make.foreign_tls()
    if mode is not MutualTlsMode.STRICT:
        yield make.plain(http=False)


def _sniffing_chains(make: "_Maker", mode: MutualTlsMode) -> Iterable[dict[str, Any]]:
    if mode is not MutualTlsMode.DISABLE:
        yield make.mutual_tls(names.ISTIO_HTTP, http=True)
    if mode is MutualTlsMode.STRICT:
        yield make.mutual_tls(http=False)
    if mode is MutualTlsMode.PERMISSIVE:
        yield make.mutual_tls(names.ISTIO_TCP, http=False)
        yield make.foreign_tls()
    if mode is not MutualTlsMode.STRICT:
        yield make.plain(names.PLAIN_HTTP, http=True)
        yield make.plain(http=False)


class _Maker:
    """Makes the filter chains of one port."""

    def __init__(self, chains: _PortChains, settings: MeshSettings, *, exposed: bool) -> None:
        self._port = chains.port
        self._settings = settings
        if exposed and chains.port is not None:
            self._cluster = names.inbound_cluster(chains.port)
            self._http_name = self._tcp_name = f"0.0.0.0_{chains.port}"
        else:
            self._cluster = names.INBOUND_PASSTHROUGH_CLUSTER
            self._http_name = f"{names.VIRTUAL_INBOUND}-catchall-http"
            self._tcp_name = names.VIRTUAL_INBOUND

    def mutual_tls(self, alpn: Sequence[str] = (), *, http: bool) -> dict[str, Any]:
        """Terminate TLS that offers one of these tokens; any TLS when there are none."""
        made = self._chain("tls", alpn, http=http)
        made["transport_socket"] = downstream_tls(self._settings)
        made["transport_socket_connect_timeout"] = filters.duration(HANDSHAKE)
        return made

    def foreign_tls(self) -> dict[str, Any]:
        """Hand TLS that is not the mesh's to the application as it is."""
        return self._chain("tls", (), http=False, report=reports.FOREIGN_TLS)

    def plain(self, alpn: Sequence[str] = (), *, http: bool) -> dict[str, Any]:
        """Serve what is not TLS."""
        return self._chain("raw_buffer", alpn, http=http, report=reports.PLAINTEXT)

    def _chain(
        self, transport: str, alpn: Sequence[str], *, http: bool, report: str = ""
    ) -> dict[str, Any]:
        match: dict[str, Any] = {"transport_protocol": transport, "application_protocols": alpn}
        if self._port is not None:
            match["destination_port"] = {"value": self._port}
        return {
            "name": self._http_name if http else self._tcp_name,
            "filter_chain_match": match,
            "filters": [self._http(report) if http else self._tcp(report)],
        }

    def _tcp(self, report: str) -> dict[str, Any]:
        more = reports.tcp_settings(report) if report else {}
        return filters.tcp_proxy(self._cluster, self._settings, **more)

    def _http(self, report: str) -> dict[str, Any]:
        return filters.http_connection_manager(
            f"inbound_{self._http_name}",
            self._settings,
            server_name="istio-envoy",
            # Istio's X-Forwarded-Client-Cert: present exactly when the peer proved an identity.
            forward_client_cert_details="APPEND_FORWARD",
            set_current_client_cert_details={"subject": {"value": True}, "uri": True, "dns": True},
            route_config=_routes(self._cluster),
            **(reports.http_settings() if report else server_lifetime(self._settings)),
        )


def _routes(cluster: str) -> dict[str, Any]:
    return {
        "name": cluster,
        "validate_clusters": {"value": False},
        "virtual_hosts": [
            {
                "name": "inbound|http",
                "domains": ["*"],
                "routes": [
                    {
                        "name": "default",
                        "match": {"prefix": "/"},
                        "route": {
                            "cluster": cluster,
                            "timeout": filters.NEVER,
                            "retry_policy": {
                                "retry_on": "reset-before-request",
                                "num_retries": {"value": RETRIES},
                            },
                        },
                    }
                ],
            }
        ],
    }
