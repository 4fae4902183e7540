"""Frames of the control socket: what is sent is what is received, however it is cut up."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mutua.runtime.shim.protocol import MAX_FRAME, Decoder, Message, ProtocolViolation, encode

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
messages = st.lists(st.dictionaries(st.text(), values, max_size=4), max_size=5)


@given(sent=messages, cuts=st.lists(st.integers(1, 50), min_size=1))
def test_messages_survive_any_segmentation(sent: list[Message], cuts: list[int]) -> None:
    data = b"".join(encode(message) for message in sent)
    decoder = Decoder()
    received: list[Message] = []
    position, turn = 0, 0
    while position < len(data):
        size = cuts[turn % len(cuts)]
        received += decoder.feed(data[position : position + size])
        position, turn = position + size, turn + 1

    assert received == sent


@given(data=st.binary(max_size=200))
def test_garbage_is_refused_or_waited_for_and_never_crashes(data: bytes) -> None:
    try:
        messages = Decoder().feed(data)
    except ProtocolViolation:
        return
    assert all(isinstance(message, dict) for message in messages)


def test_a_frame_that_is_too_large_is_refused_at_its_length() -> None:
    with pytest.raises(ProtocolViolation, match="at most"):
        Decoder().feed((MAX_FRAME + 1).to_bytes(4, "big"))
    with pytest.raises(ProtocolViolation, match="at most"):
        encode({"x": "x" * MAX_FRAME})


@pytest.mark.parametrize("body", [b"", b"[]", b"7", b"null", b"{", b"\xff"])
def test_only_objects_are_messages(body: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        Decoder().feed(len(body).to_bytes(4, "big") + body)


def test_the_frame_is_what_the_header_says() -> None:
    frame = encode({"op": "containers", "id": 1})

    assert int.from_bytes(frame[:4], "big") == len(frame) - 4
    assert json.loads(frame[4:]) == {"op": "containers", "id": 1}
