"""The bytes the kernel's headers ask for; tests/netns proves that a kernel agrees."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mutua.runtime.network import nft


def test_an_attribute_is_padded_and_its_length_is_not() -> None:
    assert nft.attribute(3, b"abcde") == struct.pack("=HH", 9, 3) + b"abcde\0\0\0"


def test_a_number_is_big_endian() -> None:
    assert nft.number(5, 1) == struct.pack("=HH", 8, 5) + b"\0\0\0\1"


def test_a_nested_attribute_says_so() -> None:
    assert nft.nested(1, b"1234") == struct.pack("=HH", 8, 1 | 0x8000) + b"1234"


@pytest.mark.parametrize(
    ("cidr", "has_mask"), [("10.0.0.0/8", True), ("10.0.0.1/32", False), ("0.0.0.0/0", True)]
)
def test_only_a_range_needs_a_mask(cidr: str, has_mask: bool) -> None:
    assert (b"bitwise" in nft.is_to(cidr)) is has_mask


@settings(deadline=None)
@given(st.lists(st.binary(max_size=40), max_size=8))
def test_attributes_can_be_told_apart_again(values: list[bytes]) -> None:
    data = b"".join(nft.attribute(index, value) for index, value in enumerate(values))

    read = []
    while data:
        length, _ = struct.unpack_from("=HH", data)
        read.append(data[4:length])
        data = data[(length + 3) & ~3 :]

    assert read == values
