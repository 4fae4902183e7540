"""Reading the kernel's connection table; tests/netns/network/test_services.py deletes from it."""

import struct
from ipaddress import IPv4Address

from hypothesis import given, settings
from hypothesis import strategies as st

from mutua.runtime.network.conntrack import Conversation, _read
from mutua.runtime.network.nft import attribute, nested
from mutua.runtime.network.rules import Backend, ServiceAddress


def direction(kind: int, source: str, port: int, to: str, to_port: int, *, proto: int) -> bytes:
    addresses = nested(
        1, attribute(1, IPv4Address(source).packed), attribute(2, IPv4Address(to).packed)
    )
    ports = nested(
        2,
        attribute(1, bytes([proto])),
        attribute(2, struct.pack(">H", port)),
        attribute(3, struct.pack(">H", to_port)),
    )
    return nested(kind, addresses, ports)


def entry(proto: int) -> bytes:
    asked = direction(1, "10.244.0.2", 40000, "10.96.0.1", 53, proto=proto)
    return asked + direction(2, "10.244.0.3", 5353, "10.244.0.2", 40000, proto=proto)


def test_a_udp_conversation_is_read() -> None:
    assert _read(entry(17)) == Conversation(
        ServiceAddress("10.96.0.1", 53, "udp"),
        Backend("10.244.0.3", 5353),
        direction(1, "10.244.0.2", 40000, "10.96.0.1", 53, proto=17),
    )


def test_other_protocols_are_not() -> None:
    assert _read(entry(6)) is None


@settings(deadline=None)
@given(st.binary(max_size=64))
def test_what_describes_no_direction_is_nothing(data: bytes) -> None:
    assert _read(attribute(9, data)) is None
