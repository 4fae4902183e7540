"""Transcripts of state-of-the-world streams."""

from typing import Any

import pytest

from mutua.agent.sds_resources import SECRET
from mutua.agent.sds_session import MAX_NAMES, SecretSession, UnexpectedRequest
from mutua.xds.proto import DiscoveryRequest
from mutua.xds.resource import Layer, ResourceSet, resource


def secrets(**bodies: bytes) -> ResourceSet:
    return ResourceSet(Layer(resource(name, body) for name, body in bodies.items()))


def ask(*names: str, nonce: str = "") -> Any:
    return DiscoveryRequest(type_url=SECRET, resource_names=names, response_nonce=nonce)


def sent(session: SecretSession) -> list[bytes] | None:
    response = session.next_response()
    return None if response is None else [one.value for one in response.resources]


@pytest.fixture
def session() -> SecretSession:
    return SecretSession()


def test_what_exists_is_sent_once(session: SecretSession) -> None:
    session.update(secrets(default=b"1", ROOTCA=b"r"))
    session.receive(ask("default"))

    assert [sent(session), sent(session)] == [[b"1"], None]


def test_what_does_not_exist_yet_is_sent_when_it_does(session: SecretSession) -> None:
    session.receive(ask("default"))
    early = sent(session)

    session.update(secrets(default=b"1"))

    assert [early, sent(session)] == [None, [b"1"]]


def test_an_answer_is_not_answered(session: SecretSession) -> None:
    session.update(secrets(default=b"1"))
    session.receive(ask("default"))
    first = session.next_response()

    session.receive(ask("default", nonce=first.nonce))

    assert sent(session) is None


def test_a_refusal_is_answered_with_the_next_secret_only(session: SecretSession) -> None:
    session.update(secrets(default=b"1"))
    session.receive(ask("default"))
    first = session.next_response()
    refusal = ask("default", nonce=first.nonce)
    refusal.error_detail.message = "no such key"

    session.receive(refusal)
    after_refusal = sent(session)
    session.update(secrets(default=b"2"))

    assert [after_refusal, sent(session)] == [None, [b"2"]]


def test_a_new_secret_is_sent_and_an_unchanged_one_is_not(session: SecretSession) -> None:
    session.update(secrets(default=b"1", ROOTCA=b"r"))
    session.receive(ask("ROOTCA"))
    first = sent(session)

    session.update(secrets(default=b"2", ROOTCA=b"r"))

    assert [first, sent(session)] == [[b"r"], None]


def test_asking_for_more_sends_everything_that_was_asked_for(session: SecretSession) -> None:
    session.update(secrets(default=b"1", ROOTCA=b"r"))
    session.receive(ask("default"))
    sent(session)

    session.receive(ask("default", "ROOTCA"))

    assert sent(session) == [b"1", b"r"]


def test_names_nobody_has_are_not_sent(session: SecretSession) -> None:
    session.update(secrets(default=b"1"))
    session.receive(ask("file-root:system"))

    assert sent(session) is None


@pytest.mark.parametrize(
    "request_",
    [
        DiscoveryRequest(type_url="type.googleapis.com/envoy.config.cluster.v3.Cluster"),
        ask(*(f"n{number}" for number in range(MAX_NAMES + 1))),
    ],
    ids=["another type", "too many names"],
)
def test_other_requests_end_the_stream(session: SecretSession, request_: Any) -> None:
    with pytest.raises(UnexpectedRequest):
        session.receive(request_)
