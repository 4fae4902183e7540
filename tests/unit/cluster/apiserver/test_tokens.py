from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typing_extensions import override

from mutua.cluster.apiserver.tokens import Account, BadToken, TokenIssuer
from mutua.foundation.clock import Clock

ROBOT = Account(namespace="shop", name="robot", uid="u1", pod="web-1", pod_uid="u2")


class SetClock(Clock):
    def __init__(self) -> None:
        self.instant = datetime(2030, 1, 1, tzinfo=UTC)

    @override
    def now(self) -> datetime:
        return self.instant


def test_a_token_says_who_it_speaks_for() -> None:
    issuer = TokenIssuer(b"k" * 32, SetClock())

    assert issuer.verify(issuer.issue(ROBOT).text) == ROBOT
    assert str(ROBOT) == "system:serviceaccount:shop:robot"


@pytest.mark.parametrize(
    ("wish", "granted"),
    [
        (timedelta(seconds=1), timedelta(minutes=10)),
        (timedelta(hours=2), timedelta(hours=2)),
        (timedelta(days=99), timedelta(days=1)),
    ],
)
def test_a_token_works_for_its_lifetime(wish: timedelta, granted: timedelta) -> None:
    clock = SetClock()
    issuer = TokenIssuer(b"k" * 32, clock)
    token = issuer.issue(ROBOT, lifetime=wish)

    clock.instant += granted - timedelta(seconds=1)
    assert issuer.verify(token.text) == ROBOT
    clock.instant = token.expires
    with pytest.raises(BadToken, match="expired"):
        issuer.verify(token.text)


def test_a_token_for_another_audience_is_refused() -> None:
    issuer = TokenIssuer(b"k" * 32, SetClock())

    with pytest.raises(BadToken, match="audience"):
        issuer.verify(issuer.issue(ROBOT, audiences=("vault",)).text)


def test_a_token_of_another_server_is_refused() -> None:
    token = TokenIssuer(b"x" * 32, SetClock()).issue(ROBOT)

    with pytest.raises(BadToken):
        TokenIssuer(b"k" * 32, SetClock()).verify(token.text)


@given(text=st.text(), position=st.integers(0, 300), character=st.characters())
def test_anything_else_is_refused(text: str, position: int, character: str) -> None:
    issuer = TokenIssuer(b"k" * 32, SetClock())
    token = issuer.issue(ROBOT).text
    position %= len(token)
    changed = token[:position] + character + token[position + 1 :]

    for candidate in (text, changed):
        if candidate != token:
            with pytest.raises(BadToken):
                issuer.verify(candidate)
