"""A serialized message as part of another, without parsing either.

In protobuf, the concatenation of two serialized messages is their merge, and a repeated field is
the sequence of its entries.  So what is serialized once can be put into any number of messages.
Source: https://protobuf.dev/programming-guides/encoding/
"""

from typing import Final

LENGTH_DELIMITED: Final = 2
"""Wire type of messages, strings and bytes."""


def field_bytes(number: int, content: bytes) -> bytes:
    """Return one entry of a message, string or bytes field.

    Args:
        number: The field's number.
        content: The serialized message, or the string as UTF-8.
    """
    tag = _varint(number << 3 | LENGTH_DELIMITED)
    return tag + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
