"""What the network must do with traffic, as values: Services, their backends, a pod's capture.

No I/O: `mutua.runtime.network.node` puts these values into force, whoever decides them (the node
loop, the sidecar) only makes them.
"""

from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv4Network
from typing import Final, Literal

from mutua.foundation.errors import Rejected

Protocol = Literal["tcp", "udp"]

MAX_PORT: Final = 65535
"""Highest port number (RFC 9293 section 3.1)."""


@dataclass(frozen=True, slots=True, order=True)
class ServiceAddress:
    """Where clients knock: one port of one Service.

    Attributes:
        ip: The cluster IP, dotted quad.
        port: The Service's port.
        protocol: "tcp" or "udp".
    """

    ip: str
    port: int
    protocol: Protocol = "tcp"

    def __post_init__(self) -> None:
        check_address(self.ip)
        _check_port(self.port)


@dataclass(frozen=True, slots=True, order=True)
class Backend:
    """Who opens: one pod's address and the container port.

    Attributes:
        ip: The pod's address, dotted quad.
        port: The target port.
    """

    ip: str
    port: int

    def __post_init__(self) -> None:
        check_address(self.ip)
        _check_port(self.port)


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureRules:
    """Which of a pod's TCP connections go through its sidecar (Istio's `istio-iptables` options).

    Attributes:
        include_inbound_ports: Ports captured inbound; None captures all, () none.
        exclude_inbound_ports: Ports never captured inbound, besides Istio's own.
        include_outbound_cidrs: Destinations captured outbound; None captures all, () none.
        exclude_outbound_cidrs: Destinations never captured outbound.
        include_outbound_ports: Ports captured outbound whatever the destination, unless excluded.
        exclude_outbound_ports: Ports never captured outbound.
    """

    include_inbound_ports: tuple[int, ...] | None = None
    exclude_inbound_ports: tuple[int, ...] = ()
    include_outbound_cidrs: tuple[str, ...] | None = None
    exclude_outbound_cidrs: tuple[str, ...] = ()
    include_outbound_ports: tuple[int, ...] = ()
    exclude_outbound_ports: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for port in (
            *(self.include_inbound_ports or ()),
            *self.exclude_inbound_ports,
            *self.include_outbound_ports,
            *self.exclude_outbound_ports,
        ):
            _check_port(port)
        for cidr in (*(self.include_outbound_cidrs or ()), *self.exclude_outbound_cidrs):
            _check_cidr(cidr)


def _check_port(port: int) -> None:
    if not 0 < port <= MAX_PORT:
        raise Rejected(f"not a port: {port}")


def check_address(text: str) -> None:
    """Raise Rejected unless `text` is an IPv4 address."""
    try:
        IPv4Address(text)
    except AddressValueError as error:
        raise Rejected(f"not an IPv4 address: {text!r}") from error


def _check_cidr(text: str) -> None:
    try:
        IPv4Network(text, strict=False)
    except ValueError as error:
        raise Rejected(f"not an IPv4 range: {text!r}") from error
