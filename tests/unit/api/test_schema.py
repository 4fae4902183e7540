from typing import Any

import pytest

from mutua.api.kinds import kind_of
from mutua.api.object import DEPLOYMENTS, PEER_AUTHENTICATIONS, SECRETS, SERVICES
from mutua.api.schema import (
    drop_unknown,
    shape_errors,
    strict_decoding_message,
    unknown_fields,
)
from mutua.api.shape import (
    BYTES,
    INT32,
    INT_OR_STRING,
    PORT,
    QUANTITY,
    STRING,
    TIME,
    ListOf,
    MapOf,
    Schema,
    enum,
    known,
    misshapen,
    struct,
)

POINT = struct("Point", "x", x=INT32, y=INT32, tags=ListOf(STRING, max_items=2))


def test_unknown_fields_are_named_by_their_path() -> None:
    deployment = {
        "kind": "Deployment",
        "bogus": 1,
        "spec": {"template": {"spec": {"containers": [{"name": "a", "imag": "x"}]}}},
    }

    assert unknown_fields(kind_of(DEPLOYMENTS), deployment) == [
        "bogus",
        "spec.template.spec.containers[0].imag",
    ]


def test_unknown_fields_are_refused_in_the_words_of_an_api_server() -> None:
    message = strict_decoding_message(kind_of(PEER_AUTHENTICATIONS), "v1", ["spec.a", "spec.b"])

    assert message == (
        'PeerAuthentication in version "v1" cannot be handled as a PeerAuthentication: '
        'strict decoding error: unknown field "spec.a", unknown field "spec.b"'
    )


def test_dropping_keeps_everything_that_is_known() -> None:
    obj = {"spec": {"mtls": {"mode": "STRICT", "x": 1}, "y": 2}, "metadata": {"labels": {"z": "3"}}}

    assert drop_unknown(kind_of(PEER_AUTHENTICATIONS), obj) == {
        "spec": {"mtls": {"mode": "STRICT"}},
        "metadata": {"labels": {"z": "3"}},
    }


def test_dropping_copies() -> None:
    obj = {"x": 1, "tags": ["a"]}

    known(POINT, obj)["tags"].append("b")

    assert obj == {"x": 1, "tags": ["a"]}


# fmt: off
SHAPES = [
    (STRING,                "a",              None),
    (STRING,                1,                "must be of type string"),
    (STRING,                None,             "must be of type string"),
    (INT32,                 1,                None),
    (INT32,                 True,             "must be of type integer"),
    (INT32,                 1.0,              "must be of type integer"),
    (INT32,                 2**31,            "must be less than or equal to 2147483647"),
    (PORT,                  0,                "must be greater than or equal to 1"),
    (PORT,                  65536,            "must be less than or equal to 65535"),
    (INT_OR_STRING,         "http",           None),
    (INT_OR_STRING,         80,               None),
    (INT_OR_STRING,         True,             "must be of type integer or string"),
    (QUANTITY,              "128Mi",          None),
    (QUANTITY,              0.5,              None),
    (QUANTITY,              "1e3",            None),
    (QUANTITY,              "12 apples",      "must be a quantity"),
    (BYTES,                 "YQ==",           None),
    (BYTES,                 "YQ==\n",         None),
    (BYTES,                 "a",              "must be base64"),
    (TIME,                  "2026-01-01T00:00:00Z", None),
    (enum("A", "B"),        "A",              None),
    (enum("A", "B"),        "C",              'supported values: "A", "B"'),
    (ListOf(STRING),        {},               "must be of type array"),
    (ListOf(STRING),        [None],           "must be of type string"),
    (MapOf(STRING),         [],               "must be of type object"),
    (MapOf(INT32, 1),       {"a": 1, "b": 2}, "must have at most 1 items"),
    (POINT,                 {"x": 1},         None),
    (POINT,                 {"x": 1, "y": None}, None),
    (POINT,                 {"y": 1},         "Required value"),
    (POINT,                 {"x": None},      "Required value"),
    (POINT,                 {"x": 1, "tags": ["a", "b", "c"]}, "Too many: 3"),
    (POINT,                 [],               "must be of type object"),
]
# fmt: on


@pytest.mark.parametrize(("schema", "value", "complaint"), SHAPES)
def test_shapes(schema: Schema, value: Any, complaint: str | None) -> None:
    errors = [str(error) for error in misshapen(schema, value, "f")]

    if complaint is None:
        assert errors == []
    else:
        assert len(errors) == 1
        assert complaint in errors[0]


def test_a_secret_value_is_not_repeated_in_the_error() -> None:
    (error,) = shape_errors(kind_of(SECRETS), {"data": {"password": "s3cret!"}})

    assert str(error) == 'data[password]: Invalid value: "***": must be base64'


def test_every_error_is_reported_at_once() -> None:
    service = {"spec": {"ports": [{"port": 0}, {"name": "x"}], "type": "Nope"}}

    paths = {error.path for error in shape_errors(kind_of(SERVICES), service)}

    assert paths == {"spec.ports[0].port", "spec.ports[1].port", "spec.type"}
