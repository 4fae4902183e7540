"""DNS messages: written by a hand-rolled client here, by the C library in tests/netns."""

import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mutua.cluster.dns_wire import (
    MAX_UDP,
    MAX_UDP_EDNS,
    Answer,
    Code,
    Question,
    Target,
    parse_question,
    write_answer,
    write_name,
)

NAME = "httpbin.foo.svc.cluster.local"
A, SOA, AAAA, SRV = 1, 6, 28, 33
EDNS = b"\0" + struct.pack(">HHIH", 41, 4096, 0, 0)


def query(name: str = NAME, kind: int = A, group: int = 1, tail: bytes = b"") -> bytes:
    header = struct.pack(">6H", 4711, 0x0100, 1, 0, 0, 1 if tail else 0)
    return header + write_name(name) + struct.pack(">HH", kind, group) + tail


def parsed(data: bytes) -> Question:
    question = parse_question(data)
    assert question is not None
    return question


def summary(message: bytes) -> dict[str, Any]:
    ident, flags, *counts = struct.unpack_from(">6H", message)
    return {"id": ident, "code": flags & 15, "truncated": bool(flags & 0x200), "counts": counts}


def test_a_question_is_read() -> None:
    data = query("HttpBin.FOO.svc.cluster.local")

    assert parse_question(data) == Question(ident=4711, flags=0x0100, raw=data[12:], name=NAME)


def test_an_address_is_answered_with_the_question_as_it_was_asked() -> None:
    data = query("HttpBin.FOO.svc.cluster.local")

    message = write_answer(parsed(data), Answer(("10.96.0.7",)), ttl=5)

    header = struct.pack(">6H", 4711, 0x8580, 1, 1, 0, 0)
    record = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 5, 4) + bytes([10, 96, 0, 7])
    assert message == header + data[12:] + record


def test_a_named_port_is_answered_with_host_and_port() -> None:
    message = write_answer(parsed(query(kind=SRV)), Answer(targets=(Target("web.foo", 80),)), ttl=5)

    assert message.endswith(struct.pack(">3H", 0, 100, 80) + b"\3web\3foo\0")


def test_an_alias_is_answered_whatever_was_asked() -> None:
    message = write_answer(parsed(query(kind=AAAA)), Answer(alias="example.com"), ttl=5)

    assert message.endswith(b"\7example\3com\0")
    assert summary(message)["counts"] == [1, 1, 0, 0]


OUTCOMES = [
    pytest.param(query(), Answer(("1.2.3.4",)), Code.OK, [1, 1, 0, 0], id="found"),
    pytest.param(
        query(), None, Code.NO_SUCH_NAME, [1, 0, 1, 0], id="no such name in the zone: SOA"
    ),
    pytest.param(
        query("example.com"), None, Code.NO_SUCH_NAME, [1, 0, 0, 0], id="no such name elsewhere"
    ),
    pytest.param(
        query(kind=AAAA),
        Answer(("1.2.3.4",)),
        Code.OK,
        [1, 0, 1, 0],
        id="no IPv6: exists, empty, SOA",
    ),
    pytest.param(
        query(kind=SRV), Answer(("1.2.3.4",)), Code.OK, [1, 0, 1, 0], id="no such record: empty"
    ),
    pytest.param(query(), Answer(), Code.OK, [1, 0, 1, 0], id="an empty name exists"),
    pytest.param(
        query(group=3),
        Answer(("1.2.3.4",)),
        Code.REFUSED,
        [1, 0, 0, 0],
        id="another class is refused",
    ),
    pytest.param(
        query(tail=EDNS),
        Answer(("1.2.3.4",)),
        Code.OK,
        [1, 1, 0, 1],
        id="EDNS is answered with EDNS",
    ),
    pytest.param(query()[:-1], None, Code.MALFORMED, [0, 0, 0, 0], id="cut short"),
    pytest.param(
        query()[:12] + b"\xc0\x0c", None, Code.MALFORMED, [0, 0, 0, 0], id="a pointer in a question"
    ),
    pytest.param(
        query()[:12] + b"\x40" * 80, None, Code.MALFORMED, [0, 0, 0, 0], id="a label too long"
    ),
    pytest.param(
        query(".".join(["a" * 60] * 5)), None, Code.MALFORMED, [0, 0, 0, 0], id="a name too long"
    ),
    pytest.param(
        struct.pack(">6H", 4711, 0x2800, 1, 0, 0, 0),
        None,
        Code.NOT_IMPLEMENTED,
        [0, 0, 0, 0],
        id="another operation",
    ),
    pytest.param(
        struct.pack(">6H", 4711, 0, 2, 0, 0, 0),
        None,
        Code.MALFORMED,
        [0, 0, 0, 0],
        id="two questions",
    ),
]


@pytest.mark.parametrize(("data", "answer", "code", "counts"), OUTCOMES)
def test_outcome(data: bytes, answer: Answer | None, code: Code, counts: list[int]) -> None:
    message = write_answer(parsed(data), answer, ttl=5)

    assert summary(message) == {"id": 4711, "code": code, "truncated": False, "counts": counts}


def test_an_unknown_edns_version_is_refused_in_two_halves() -> None:
    data = query(tail=b"\0" + struct.pack(">HHIH", 41, 4096, 1 << 16, 0))

    message = write_answer(parsed(data), None, ttl=5)

    assert summary(message)["code"] == Code.BAD_VERSION & 15
    assert message[-6] == Code.BAD_VERSION >> 4


@pytest.mark.parametrize(("tail", "limit"), [(b"", MAX_UDP), (EDNS, MAX_UDP_EDNS)])
def test_too_long_for_udp_becomes_an_invitation_to_tcp(tail: bytes, limit: int) -> None:
    question = parsed(query(tail=tail))
    many = Answer(tuple(f"10.0.0.{n}" for n in range(200)))

    message = write_answer(question, many, ttl=5, limit=question.limit)

    assert question.limit == limit
    assert summary(message)["truncated"]
    assert len(message) < 100


@pytest.mark.parametrize("data", [b"", bytes(11), struct.pack(">6H", 1, 0x8000, 1, 0, 0, 0)])
def test_what_is_no_question_gets_no_answer(data: bytes) -> None:
    assert parse_question(data) is None


answers = st.none() | st.builds(
    Answer,
    st.lists(st.sampled_from(["10.0.0.1", "10.0.0.2"]), max_size=300).map(tuple),
    st.sampled_from(["", "example.com"]),
    st.lists(st.builds(Target, st.text(max_size=80), st.integers(0, 65535)), max_size=3).map(tuple),
)
garbage = (
    st.binary(max_size=600)
    | st.builds(lambda tail: struct.pack(">6H", 1, 0, 1, 0, 0, 1) + tail, st.binary(max_size=300))
    | st.builds(lambda cut: query(tail=EDNS)[:cut], st.integers(0, 80))
)


@settings(deadline=None)
@given(data=garbage, answer=answers)
def test_any_bytes_are_answered_or_dropped(data: bytes, answer: Answer | None) -> None:
    question = parse_question(data)

    if question is not None:
        message = write_answer(question, answer, ttl=5, limit=question.limit)
        assert 12 <= len(message) <= question.limit
        assert message[:2] == data[:2]
