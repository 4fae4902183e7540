"""Identities are parsed or refused, never repaired."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mutua.foundation.errors import Rejected
from mutua.foundation.spiffe import SpiffeId, parse_spiffe_id


def test_an_identity_reads_as_it_is_written() -> None:
    text = "spiffe://cluster.local/ns/shop/sa/web"

    assert parse_spiffe_id(text) == SpiffeId("cluster.local", "shop", "web")
    assert str(parse_spiffe_id(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "https://cluster.local/ns/a/sa/b",
        "spiffe://cluster.local/ns/a/sa/b/",
        "spiffe://cluster.local/ns/a/sa/",
        "spiffe://cluster.local/ns/a/sa/..",
        "spiffe://Cluster.Local/ns/a/sa/b",
        "spiffe://user@td/ns/a/sa/b",
        "spiffe://td:80/ns/a/sa/b",
        "spiffe://td/sa/a/ns/b",
        "spiffe://td/ns/a%2fb/sa/c",
        "spiffe://td/ns/" + "a" * 2048 + "/sa/b",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(Rejected):
        parse_spiffe_id(text)


@given(st.text())
def test_any_text_is_an_identity_or_refused(text: str) -> None:
    with contextlib.suppress(Rejected):
        assert str(parse_spiffe_id(text)) == text
