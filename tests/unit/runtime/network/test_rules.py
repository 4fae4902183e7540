"""Values that make no sense cannot be made."""

from typing import Any

import pytest

from mutua.foundation.errors import Rejected
from mutua.runtime.network.rules import Backend, CaptureRules, ServiceAddress


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_a_port_outside_the_range_is_rejected(port: int) -> None:
    with pytest.raises(Rejected, match=f"not a port: {port}"):
        ServiceAddress("10.96.0.1", port)
    with pytest.raises(Rejected, match=f"not a port: {port}"):
        Backend("10.244.0.2", port)
    with pytest.raises(Rejected, match=f"not a port: {port}"):
        CaptureRules(exclude_inbound_ports=(port,))


@pytest.mark.parametrize("address", ["", "None", "10.96.0", "10.96.0.256", "::1", "10.96.0.1/32"])
def test_what_is_no_ipv4_address_is_rejected(address: str) -> None:
    with pytest.raises(Rejected, match="not an IPv4 address"):
        ServiceAddress(address, 80)
    with pytest.raises(Rejected, match="not an IPv4 address"):
        Backend(address, 80)


@pytest.mark.parametrize("field", ["include_outbound_cidrs", "exclude_outbound_cidrs"])
@pytest.mark.parametrize("cidr", ["", "*", "10.0.0.0/33", "fe80::/10", "example.com"])
def test_what_is_no_ipv4_range_is_rejected(field: str, cidr: str) -> None:
    fields: dict[str, Any] = {field: (cidr,)}
    with pytest.raises(Rejected, match="not an IPv4 range"):
        CaptureRules(**fields)


def test_a_single_address_and_a_range_with_host_bits_are_ranges() -> None:
    CaptureRules(include_outbound_cidrs=("10.0.0.1", "10.0.0.1/8"))
