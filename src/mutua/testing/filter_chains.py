"""What a compiled listener does with a connection, read from Envoy's own messages.

A third party to evaluator and compiler: it knows nothing of policies, only how Envoy inspects the
first bytes of a connection and chooses a filter chain: by port, then by transport, then by
application protocol, each time the exact match before the one that leaves it open.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from mutua.policy.inbound import Arrival, Content, Outcome, Wrapping
from mutua.xds.proto import Listener
from mutua.xds.resource import LISTENER, ProxyResources

TLS_INSPECTOR: Final = "envoy.filters.listener.tls_inspector"
HTTP_INSPECTOR: Final = "envoy.filters.listener.http_inspector"
HTTP_PROXY: Final = "envoy.filters.network.http_connection_manager"

OFFERED_HTTP: Final = ("istio-http/1.1", "istio", "http/1.1")
OFFERED_TCP: Final = ("istio",)
SEEN_HTTP: Final = ("http/1.1",)


@dataclass(frozen=True, slots=True)
class _Chain:
    """One filter chain: what it matches, and what it does.

    Attributes:
        port: None for any.
        transport: "" for any.
        protocols: None of them for any.
        terminates: Whether it decrypts TLS, and demands a certificate.
        as_http: Whether it reads HTTP.
    """

    port: int | None
    transport: str
    protocols: tuple[str, ...]
    terminates: bool
    as_http: bool


class InboundListener:
    """What a proxy does with connections to its pod."""

    def __init__(self, compiled: ProxyResources) -> None:
        listener = Listener.FromString(compiled[LISTENER]["virtualInbound"].body)
        self._chains = [_chain(one) for one in listener.filter_chains]
        self._inspectors = {one.name: one.filter_disabled for one in listener.listener_filters}
        self._goes_on = listener.continue_on_listener_filters_timeout
        self._patience = listener.listener_filters_timeout.ToTimedelta().total_seconds()

    def wait(self, port: int, arrival: Arrival) -> float:
        """Return the seconds that inspectors wait in vain for a connection's first bytes."""
        is_tls = arrival.wrapping is not Wrapping.NONE or arrival.content is Content.TLS
        silent = not is_tls and arrival.content is Content.SERVER_FIRST
        return self._patience if silent and self._inspected(port) else 0.0

    def outcome(self, port: int, arrival: Arrival) -> Outcome:
        """Return what becomes of a connection to a port."""
        is_tls = arrival.wrapping is not Wrapping.NONE or arrival.content is Content.TLS
        inspected = self._inspected(port)
        if inspected and not is_tls and arrival.content is Content.SERVER_FIRST:
            if not self._patience:
                return Outcome.HANG
            if not self._goes_on:
                return Outcome.CLOSED
        transport = "raw_buffer"
        protocols: tuple[str, ...] = ()
        if is_tls and TLS_INSPECTOR in inspected:
            transport, protocols = "tls", _offered(arrival)
        elif not is_tls and arrival.content is Content.HTTP and HTTP_INSPECTOR in inspected:
            protocols = SEEN_HTTP
        chain = self._match(port, transport, protocols)
        return Outcome.CLOSED if chain is None else _through(chain, arrival, is_tls=is_tls)

    def _inspected(self, port: int) -> list[str]:
        return [kind for kind in (TLS_INSPECTOR, HTTP_INSPECTOR) if self._looks(kind, port)]

    def _looks(self, inspector: str, port: int) -> bool:
        return inspector in self._inspectors and not _means(self._inspectors[inspector], port)

    def _match(self, port: int, transport: str, protocols: Iterable[str]) -> _Chain | None:
        found = [one for one in self._chains if one.port == port]
        found = found or [one for one in self._chains if one.port is None]
        exact = [one for one in found if one.transport == transport]
        found = exact or [one for one in found if not one.transport]
        for protocol in protocols:
            for one in found:
                if protocol in one.protocols:
                    return one
        return next((one for one in found if not one.protocols), None)


def _chain(chain: Any) -> _Chain:
    match = chain.filter_chain_match
    return _Chain(
        port=match.destination_port.value if match.HasField("destination_port") else None,
        transport=match.transport_protocol,
        protocols=tuple(match.application_protocols),
        terminates=chain.HasField("transport_socket"),
        as_http=chain.filters[-1].name == HTTP_PROXY,
    )


def _means(predicate: Any, port: int) -> bool:
    """Tell whether a predicate of a listener filter is true for a port."""
    match predicate.WhichOneof("rule"):
        case "or_match":
            return any(_means(one, port) for one in predicate.or_match.rules)
        case "and_match":
            return all(_means(one, port) for one in predicate.and_match.rules)
        case "not_match":
            return not _means(predicate.not_match, port)
        case "any_match":
            return bool(predicate.any_match)
        case "destination_port_range":
            ports = predicate.destination_port_range
            return bool(ports.start <= port < ports.end)
        case _:
            return False


def _offered(arrival: Arrival) -> tuple[str, ...]:
    if arrival.wrapping is not Wrapping.MESH:
        return ()
    return OFFERED_HTTP if arrival.announced_http else OFFERED_TCP


def _through(chain: _Chain, arrival: Arrival, *, is_tls: bool) -> Outcome:
    """Return what becomes of a connection in its chain."""
    as_http, content = chain.as_http, arrival.content
    if chain.terminates:
        if arrival.wrapping not in {Wrapping.MESH, Wrapping.MESH_CERTIFICATE}:
            return Outcome.HANDSHAKE_FAILS
    elif is_tls:
        return Outcome.PROTOCOL_ERROR if as_http else Outcome.FORWARDED_TO_APP
    if not as_http:
        return Outcome.OK_TCP
    if content is Content.SERVER_FIRST:
        return Outcome.HANG
    return Outcome.OK_HTTP if content is Content.HTTP else Outcome.PROTOCOL_ERROR
