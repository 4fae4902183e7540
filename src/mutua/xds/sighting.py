"""What a proxy saw of somebody who proved no identity: one request, or one connection."""

from dataclasses import dataclass
from enum import Enum


class Speaks(Enum):
    """What the peer spoke."""

    HTTP = "HTTP"
    TCP = "TCP"
    TLS = "TLS"


@dataclass(frozen=True, slots=True)
class Sighting:
    """One request or connection without mutual TLS.

    Attributes:
        source: The peer's address.
        source_port: The peer's port.
        port: The port of the pod that it dialled.
        speaks: What it spoke; of a refused connection only TLS or TCP is known.
        host: Whom it asked for (the Host header), "" outside HTTP.
        refused: It was closed instead of served.
        ongoing: It was reported before and is still there.
    """

    source: str
    source_port: int
    port: int
    speaks: Speaks
    host: str = ""
    refused: bool = False
    ongoing: bool = False
