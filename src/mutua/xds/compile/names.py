"""Names, ports and tokens that both ends of the mesh, Istio's tools and the node agree on.

Specification: istio-semantics sections 2.1, 2.3, 3.1 to 3.6 and 8.1.
"""

from typing import Final

OUTBOUND_PORT: Final = 15001
"""Where captured outbound connections arrive."""

INBOUND_PORT: Final = 15006
"""Where captured inbound connections arrive."""

RESERVED_PORTS: Final = frozenset({15000, OUTBOUND_PORT, INBOUND_PORT, 15021, 15090})
"""Ports on which the proxy itself listens (the bootstrap has three of them): a listener
0.0.0.0_P for a Service there would collide."""

MARK: Final = 1337
"""fwmark (0x539) of Envoy's own outbound connections; capture lets it pass.  Istio excludes the
uid 1337 instead, which a user namespace with one uid does not have."""

VIRTUAL_OUTBOUND: Final = "virtualOutbound"
VIRTUAL_INBOUND: Final = "virtualInbound"

PASSTHROUGH_CLUSTER: Final = "PassthroughCluster"
INBOUND_PASSTHROUGH_CLUSTER: Final = "InboundPassthroughCluster"
BLACK_HOLE_CLUSTER: Final = "BlackHoleCluster"

SDS_CLUSTER: Final = "sds-grpc"
XDS_CLUSTER: Final = "xds-grpc"
"""Static cluster of the bootstrap: the agent's secret discovery service."""

CERTIFICATE_SECRET: Final = "default"  # noqa: S105 - a name
TRUST_SECRET: Final = "ROOTCA"  # noqa: S105 - a name

ISTIO_HTTP: Final = ("istio-http/1.0", "istio-http/1.1", "istio-h2")
"""ALPN tokens with which a mesh client says "HTTP inside mutual TLS"."""

ISTIO_TCP: Final = ("istio-peer-exchange", "istio")
"""ALPN tokens with which a mesh client says "mutual TLS of the mesh"."""

ISTIO_ALL: Final = (*ISTIO_TCP, *ISTIO_HTTP)
"""Every ALPN token that marks mutual TLS of the mesh, as opposed to an application's own TLS."""

PLAIN_HTTP: Final = ("http/1.1", "h2c")
"""What the HTTP inspector reports for HTTP without TLS (1.0 is not accepted, as in Istio)."""

CLIENT_ALPN_HTTP1: Final = ("istio-http/1.1", "istio", "http/1.1")
CLIENT_ALPN_HTTP2: Final = ("istio-h2", "istio", "h2")
CLIENT_ALPN_TCP: Final = ("istio",)
"""What mutua's clients offer.  `istio-peer-exchange` is missing on purpose: whoever negotiates it
expects Istio's metadata exchange, a filter that upstream Envoy does not have."""

SERVER_ALPN: Final = ("h2", "http/1.1")
"""What servers negotiate; never an `istio` token, or Envoy would take the codec for HTTP/1."""


def outbound_cluster(port: int, hostname: str, subset: str = "") -> str:
    """Return the name of the cluster for a Service port."""
    return f"outbound|{port}|{subset}|{hostname}"


def inbound_cluster(port: int) -> str:
    """Return the name of the cluster for a port of the application."""
    return f"inbound|{port}||"


def server_name(port: int, hostname: str, subset: str = "") -> str:
    """Return the SNI with which a mesh client dials a Service port."""
    return f"outbound_.{port}_.{subset}_.{hostname}"
