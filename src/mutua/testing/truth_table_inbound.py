"""The behaviour matrix of a server's proxy: what both opinions on it, and Envoy, are held to.

Specification: istio-semantics section 2.4.  `expected` gives the outcome of one cell.
"""

# ruff: noqa: E501 - a table

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from mutua.api.security import MutualTlsMode
from mutua.model.service import Protocol
from mutua.policy.inbound import Arrival, Content, Outcome, Wrapping


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell.

    Attributes:
        protocol: Of the port.
        mode: What is demanded on it.
        name: What the client does.
        arrival: The same as a value.
        expected: What becomes of it.
        waits: Whether the proxy waits in vain for the client's first bytes before that.
    """

    protocol: Protocol
    mode: MutualTlsMode
    name: str
    arrival: Arrival
    expected: Outcome
    waits: bool


def _arrival(wrapping: Wrapping, content: Content, *, announced: bool = False) -> Arrival:
    return Arrival(wrapping=wrapping, content=content, announced_http=announced)


ARRIVALS: Final = {
    "plain HTTP": _arrival(Wrapping.NONE, Content.HTTP),
    "plain TCP": _arrival(Wrapping.NONE, Content.CLIENT_FIRST),
    "plain, server first": _arrival(Wrapping.NONE, Content.SERVER_FIRST),
    "mesh HTTP": _arrival(Wrapping.MESH, Content.HTTP, announced=True),
    "mesh TCP": _arrival(Wrapping.MESH, Content.CLIENT_FIRST),
    "mesh, server first": _arrival(Wrapping.MESH, Content.SERVER_FIRST),
    "mesh certificate": _arrival(Wrapping.MESH_CERTIFICATE, Content.HTTP),
    "no certificate": _arrival(Wrapping.OTHER, Content.HTTP),
    "TLS of its own": _arrival(Wrapping.NONE, Content.TLS),
}
"""The columns, and what they do."""

HTTP, TCP = Outcome.OK_HTTP, Outcome.OK_TCP
CLOSED, HANG, REFUSED = Outcome.CLOSED, Outcome.HANG, Outcome.HANDSHAKE_FAILS
BAD, TO_APP = Outcome.PROTOCOL_ERROR, Outcome.FORWARDED_TO_APP

# fmt: off
MATRIX: Final = {
    #                plain HTTP  plain TCP  server 1st  mesh HTTP  mesh TCP  mesh srv 1st  mesh cert  no cert   own TLS
    "http STRICT":     (CLOSED,  CLOSED,    CLOSED,      HTTP,      BAD,      HANG,         HTTP,      REFUSED,  REFUSED),
    "http PERMISSIVE": (HTTP,    BAD,       HANG,       HTTP,      BAD,      HANG,         CLOSED,    CLOSED,   CLOSED),
    "http DISABLE":    (HTTP,    BAD,       HANG,       BAD,       BAD,      BAD,          BAD,       BAD,      BAD),
    "tcp STRICT":      (CLOSED,  CLOSED,    CLOSED,     TCP,       TCP,      TCP,          TCP,       REFUSED,  REFUSED),
    "tcp PERMISSIVE":  (TCP,     TCP,       TCP,        TCP,       TCP,      TCP,          TO_APP,    TO_APP,   TO_APP),
    "tcp DISABLE":     (TCP,     TCP,       TCP,        TO_APP,    TO_APP,   TO_APP,       TO_APP,    TO_APP,   TO_APP),
    "auto STRICT":     (CLOSED,  CLOSED,    CLOSED,     HTTP,      TCP,      TCP,          TCP,       REFUSED,  REFUSED),
    "auto PERMISSIVE": (HTTP,    TCP,       TCP,        HTTP,      TCP,      TCP,          TO_APP,    TO_APP,   TO_APP),
    "auto DISABLE":    (HTTP,    TCP,       TCP,        TO_APP,    TO_APP,   TO_APP,       TO_APP,    TO_APP,   TO_APP),
}
# fmt: on
"""The rows.  Where the specification says that a proxy waits for ever for a client that waits for
the server, this is what becomes of it once the proxy gives up."""

WAITS: Final = frozenset(MATRIX) - {"tcp DISABLE", "http DISABLE"}
"""Rows in which a proxy looks at a client's first bytes, and so has a plaintext client that waits
for the server wait first."""

KINDS: Final = {
    "http": (Protocol.HTTP, Protocol.HTTP2, Protocol.GRPC, Protocol.GRPC_WEB),
    "tcp": (
        Protocol.TCP,
        Protocol.HTTPS,
        Protocol.TLS,
        Protocol.MONGO,
        Protocol.MYSQL,
        Protocol.REDIS,
    ),
    "auto": (Protocol.AUTO,),
}
"""The kinds of port, and the protocols that are one."""


def cells() -> Iterator[Cell]:
    """Yield every cell, once per protocol."""
    for row, outcomes in MATRIX.items():
        kind, mode = row.split()
        for protocol in KINDS[kind]:
            for name, expected in zip(ARRIVALS, outcomes, strict=True):
                waits = row in WAITS and name == "plain, server first"
                yield Cell(protocol, MutualTlsMode(mode), name, ARRIVALS[name], expected, waits)
