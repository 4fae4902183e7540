"""The delta protocol, without a network: every sentence of `session` that a proxy depends on."""

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mutua.xds import session as module
from mutua.xds.resource import (
    CLUSTER,
    ENDPOINT,
    LISTENER,
    ROUTE,
    Layer,
    Resource,
    ResourceSet,
    reading,
    resource,
)
from mutua.xds.session import (
    EXTENSION,
    MAX_TYPES,
    DeltaSession,
)
from mutua.xds.subscription import ProtocolViolation, Request, Response, SyncState


def target(**types: Iterable[Resource]) -> dict[str, ResourceSet]:
    urls = {
        "cds": CLUSTER,
        "eds": ENDPOINT,
        "lds": LISTENER,
        "rds": ROUTE,
        "ecds": EXTENSION,
    }
    return {urls[key]: ResourceSet(Layer(resources)) for key, resources in types.items()}


def r(name: str, body: str = "1") -> Resource:
    return resource(name, body.encode())


def drain(session: DeltaSession) -> list[Response]:
    responses = []
    while True:
        is_due, response = session.is_due, session.next_response()
        if response is None:
            return responses
        assert is_due, "a stream asks only when it is due"
        responses.append(response)


def summary(responses: Iterable[Response]) -> list[tuple[str, list[str], list[str]]]:
    return [
        (one.type_url, [resource.name for resource in one.resources], list(one.removed))
        for one in responses
    ]


def ack(session: DeltaSession, responses: Iterable[Response]) -> None:
    for one in responses:
        session.receive(Request(type_url=one.type_url, nonce=one.nonce))


def nack(session: DeltaSession, response: Response, error: str) -> None:
    session.receive(Request(type_url=response.type_url, nonce=response.nonce, error=error))


def connected(**types: Iterable[Resource]) -> DeltaSession:
    """A proxy that has everything of generation 1."""
    session = DeltaSession()
    session.update(target(**types), 1)
    wanted = target(**types)
    for type_url in (CLUSTER, LISTENER):
        session.receive(Request(type_url=type_url))
    for type_url in (ENDPOINT, ROUTE, EXTENSION):
        if wanted.get(type_url):
            session.receive(Request(type_url=type_url, subscribe=tuple(wanted[type_url])))
    while responses := drain(session):
        ack(session, responses)
    assert session.acknowledged == 1
    return session


def test_nothing_leaves_before_there_is_a_target() -> None:
    session = DeltaSession()
    session.receive(Request(type_url=CLUSTER))

    assert session.next_response() is None
    session.update(target(cds=[r("a")]), 1)
    assert summary(drain(session)) == [(CLUSTER, ["a"], [])]


def test_an_empty_mesh_is_an_answer_too() -> None:
    session = DeltaSession()
    session.update({}, 1)
    session.receive(Request(type_url=LISTENER))

    assert summary(drain(session)) == [(LISTENER, [], [])]


def test_only_the_difference_leaves() -> None:
    session = connected(cds=[r("a"), r("b")], lds=[r("l")])

    session.update(target(cds=[r("a"), r("b", "2")], lds=[r("l")]), 2)

    assert summary(drain(session)) == [(CLUSTER, ["b"], [])]


def test_what_is_equal_is_acknowledged_without_a_word() -> None:
    session = connected(cds=[r("a")], lds=[r("l")])

    session.update(target(cds=[r("a")], lds=[r("l")]), 7)

    assert drain(session) == []
    assert session.acknowledged == 7


def test_new_things_leave_before_what_uses_them_and_old_clusters_leave_last() -> None:
    session = connected(cds=[r("old")], eds=[r("e")], lds=[r("l")], rds=[r("route")])

    session.update(
        target(cds=[r("new")], eds=[r("e", "2")], lds=[r("l", "2")], rds=[r("route", "2")]),
        2,
    )

    first = drain(session)
    assert [one[0] for one in summary(first)] == [CLUSTER, ENDPOINT, LISTENER, ROUTE]
    assert summary(first)[0] == (CLUSTER, ["new"], [])
    ack(session, first)
    assert summary(drain(session)) == [(CLUSTER, [], ["old"])]


def test_a_changed_cluster_gets_its_endpoints_again() -> None:
    session = connected(cds=[r("a"), r("b")], eds=[r("a"), r("b")], lds=[])

    session.update(target(cds=[r("a", "2"), r("b")], eds=[r("a"), r("b")], lds=[]), 2)

    assert summary(drain(session)) == [(CLUSTER, ["a"], []), (ENDPOINT, ["a"], [])]


def test_a_slow_proxy_skips_the_states_it_was_too_slow_for() -> None:
    session = connected(cds=[], lds=[r("l")])
    session.update(target(lds=[r("l", "2")]), 2)
    in_flight = drain(session)

    for generation in range(3, 100):
        session.update(target(lds=[r("l", str(generation))]), generation)
        assert drain(session) == []
    ack(session, in_flight)

    (response,) = drain(session)
    assert response.resources == (r("l", "99"),)
    assert session.acknowledged < 99
    ack(session, [response])
    assert session.acknowledged == 99


def test_an_acknowledgement_counts_for_the_generation_that_was_sent() -> None:
    session = connected(cds=[], lds=[r("l")])
    session.update(target(lds=[r("l", "2")]), 2)
    in_flight = drain(session)
    session.update(target(lds=[r("l", "2")]), 3)

    assert session.acknowledged == 1
    ack(session, in_flight)
    assert session.acknowledged == 3


def test_a_stale_nonce_acknowledges_nothing() -> None:
    session = connected(cds=[], lds=[r("l")])
    session.update(target(lds=[r("l", "2")]), 2)
    drain(session)

    session.receive(Request(type_url=LISTENER, nonce="no such nonce"))

    assert session.acknowledged == 1


def test_a_withheld_acknowledgement_of_one_type_does_not_hold_up_another() -> None:
    session = connected(cds=[r("a")], lds=[r("l")])
    session.update(target(cds=[r("a", "2")], lds=[r("l")]), 2)
    drain(session)

    session.update(target(cds=[r("a", "3")], lds=[r("l", "2")]), 3)

    assert summary(drain(session)) == [(LISTENER, ["l"], [])]


def test_reconnecting_with_everything_gets_nothing() -> None:
    session = DeltaSession()
    session.update(target(cds=[r("a")], lds=[r("l")], eds=[r("a")]), 4)

    session.receive(Request(type_url=CLUSTER, versions={"a": r("a").version}))
    session.receive(Request(type_url=ENDPOINT, subscribe=("a",), versions={"a": r("a").version}))
    session.receive(Request(type_url=LISTENER, versions={"l": r("l").version}))

    assert drain(session) == []
    assert session.acknowledged == 4


@pytest.mark.parametrize("early", [True, False], ids=["before the target", "after the target"])
def test_reconnecting_gets_what_changed_meanwhile(early: bool) -> None:
    session = DeltaSession()
    hello = Request(type_url=CLUSTER, versions={"a": r("a").version, "b": "old", "gone": "1"})
    if early:
        session.receive(hello)
    session.update(target(cds=[r("a"), r("b"), r("c")]), 1)
    if not early:
        session.receive(hello)

    assert summary(drain(session)) == [(CLUSTER, ["b", "c"], ["gone"])]


def test_reconnecting_in_the_middle_of_a_warm_up_gets_the_endpoints_again() -> None:
    session = DeltaSession()
    session.update(target(cds=[r("a")], lds=[r("l")], eds=[r("a")]), 4)

    session.receive(Request(type_url=ENDPOINT, subscribe=("a",), versions={"a": r("a").version}))

    assert summary(drain(session)) == [(ENDPOINT, ["a"], [])]


def test_who_reconnects_has_confirmed_nothing_before_it_asks_for_all_that_it_uses() -> None:
    session = DeltaSession()
    session.update(target(cds=[r("c")], eds=[r("e", "2")], lds=[r("l")], rds=[r("route", "2")]), 4)
    same = {name: r(name).version for name in ("c", "e", "l", "route")}

    for type_url, name in ((CLUSTER, "c"), (LISTENER, "l"), (ENDPOINT, "e"), (ROUTE, "route")):
        session.receive(Request(type_url=type_url, subscribe=(name,), versions={name: same[name]}))
        assert session.acknowledged == 0

    responses = drain(session)
    assert summary(responses) == [(ENDPOINT, ["e"], []), (ROUTE, ["route"], [])]
    ack(session, responses)
    assert session.acknowledged == 4


@pytest.mark.parametrize("refused", [CLUSTER, LISTENER])
def test_who_refuses_what_uses_it_need_not_ask_for_it(refused: str) -> None:
    session = DeltaSession()
    session.update(target(cds=[r("c")], eds=[r("e")], lds=[r("l")], rds=[r("route")]), 4)
    used = {CLUSTER: ROUTE, LISTENER: ENDPOINT}[refused]

    for type_url in (CLUSTER, LISTENER, used):
        session.receive(Request(type_url=type_url))
    for response in drain(session):
        error = "no" if response.type_url == refused else ""
        session.receive(Request(type_url=response.type_url, nonce=response.nonce, error=error))

    assert session.acknowledged == 4


def test_a_name_that_does_not_exist_is_answered() -> None:
    session = connected(cds=[], lds=[])
    session.receive(Request(type_url=ENDPOINT, subscribe=("nobody",)))

    assert summary(drain(session)) == [(ENDPOINT, [], ["nobody"])]


def test_only_subscribed_names_leave() -> None:
    session = connected(cds=[], lds=[], eds=[r("a")])

    session.update(target(eds=[r("a"), r("b")]), 2)
    assert drain(session) == []
    session.receive(Request(type_url=ENDPOINT, subscribe=("b",)))
    assert summary(drain(session)) == [(ENDPOINT, ["b"], [])]


def test_an_unsubscribed_name_is_forgotten() -> None:
    session = connected(cds=[], lds=[], eds=[r("a")])
    session.receive(Request(type_url=ENDPOINT, unsubscribe=("a",)))

    session.update(target(eds=[r("a", "2")]), 2)

    assert drain(session) == []
    assert session.acknowledged == 2


def test_a_refused_resource_is_held_back_and_the_others_are_not() -> None:
    session = connected(cds=[], lds=[])
    session.update(target(lds=[r("good"), r("bad")]), 2)
    (response,) = drain(session)

    nack(session, response, "Error adding/updating listener(s) bad: no such thing")

    retry = drain(session)
    assert summary(retry) == [(LISTENER, ["good"], [])]
    ack(session, retry)
    assert drain(session) == []
    (rejection,) = session.rejections
    assert (rejection.name, rejection.version) == ("bad", r("bad").version)
    assert session.acknowledged == 2


def test_a_refused_resource_is_tried_again_once_it_changed() -> None:
    session = connected(cds=[], lds=[])
    session.update(target(lds=[r("l", "bad")]), 2)
    (response,) = drain(session)
    nack(session, response, "l: bad")
    assert drain(session) == []

    session.update(target(lds=[r("l", "good")]), 3)

    assert summary(drain(session)) == [(LISTENER, ["l"], [])]
    assert session.rejections == ()


def test_a_refused_resource_that_went_away_is_no_longer_refused() -> None:
    session = connected(cds=[], lds=[])
    session.update(target(lds=[r("l", "bad")]), 2)
    (response,) = drain(session)
    nack(session, response, "l: bad")

    session.update(target(lds=[]), 3)

    ack(session, drain(session))
    assert session.rejections == ()


def test_a_name_inside_another_name_is_not_blamed() -> None:
    session = connected(cds=[], lds=[])
    session.update(target(cds=[r("a"), r("a|b")]), 2)
    (response,) = drain(session)

    nack(session, response, "cluster a|b: bad")

    assert [one.name for one in session.rejections] == ["a|b"]


@given(st.integers(1, 40), st.data())
@settings(deadline=None)
def test_a_culprit_that_is_not_named_is_found_by_halving(count: int, data: st.DataObject) -> None:
    culprit = f"r{data.draw(st.integers(0, count - 1))}"
    session = connected(cds=[], lds=[])
    session.update(target(lds=[r(f"r{index}") for index in range(count)]), 2)

    rounds = 0
    while responses := drain(session):
        rounds += 1
        for one in responses:
            if culprit in [each.name for each in one.resources]:
                nack(session, one, "something is wrong")
            else:
                ack(session, [one])

    assert [one.name for one in session.rejections] == [culprit]
    assert session.acknowledged == 2
    assert rounds <= 2 * count + 2


def test_a_large_update_leaves_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_RESPONSE_BYTES", 10)
    session = connected(cds=[], lds=[])
    session.update(target(cds=[r("a", "x" * 10), r("b", "x" * 10)]), 2)

    first = drain(session)
    assert summary(first) == [(CLUSTER, ["a"], [])]
    ack(session, first)
    assert session.acknowledged == 1
    second = drain(session)
    assert summary(second) == [(CLUSTER, ["b"], [])]
    ack(session, second)
    assert session.acknowledged == 2


def test_a_peer_that_asks_for_too_much_is_refused() -> None:
    session = DeltaSession()
    for number in range(MAX_TYPES):
        session.receive(Request(type_url=f"type {number}"))

    with pytest.raises(ProtocolViolation):
        session.receive(Request(type_url="one more"))


names = st.sampled_from(["a", "b", "c", "d"])
bodies = st.sampled_from(["1", "2", "3"])
states = st.dictionaries(names, bodies)
steps = st.lists(
    st.one_of(st.tuples(st.just("update"), states), st.tuples(st.just("exchange"), states)),
    max_size=12,
)


@given(start=states, steps=steps, wildcard=st.booleans(), refused=bodies)
def test_whatever_happens_the_proxy_ends_with_what_it_should_have(
    start: dict[str, str], steps: list[tuple[str, dict[str, str]]], wildcard: bool, refused: str
) -> None:
    """A model of Envoy: applies what it gets, refuses one body, never loses what it has."""
    session = DeltaSession()
    peer = {name: r(name, body).version for name, body in start.items()}
    subscribe = () if wildcard else ("a", "b")
    type_url = LISTENER if wildcard else ENDPOINT
    if not wildcard:
        peer = {name: version for name, version in peer.items() if name in subscribe}
    session.receive(Request(type_url=type_url, subscribe=subscribe, versions=dict(peer)))
    wanted: dict[str, str] = {}
    generation = 0

    def exchange() -> None:
        for one in drain(session):
            bad = [each for each in one.resources if each.body == refused.encode()]
            if bad:
                nack(session, one, "refused: " + ", ".join(each.name for each in bad))
                continue
            peer.update({each.name: each.version for each in one.resources})
            for name in one.removed:
                peer.pop(name, None)
            ack(session, [one])

    for kind, state in [*steps, ("update", {"a": "1", "b": "2"})]:
        if kind == "update":
            generation += 1
            wanted = state
            resources = ResourceSet(Layer(r(name, body) for name, body in state.items()))
            session.update({type_url: resources}, generation)
        else:
            exchange()
    for _ in range(10):
        exchange()

    visible = {n: b for n, b in wanted.items() if wildcard or n in subscribe}
    held_back = {one.name for one in session.rejections}
    assert {name: v for name, v in peer.items() if name not in held_back} == {
        name: r(name, body).version for name, body in visible.items() if name not in held_back
    }
    # A body that the peer already had is not sent, and so not refused.
    assert held_back <= {name for name, body in visible.items() if body == refused}


def test_how_far_the_peer_is_in_each_type_it_asked_for() -> None:
    session = DeltaSession()
    session.receive(Request(type_url=CLUSTER))
    assert session.states == {CLUSTER: SyncState.NOT_SENT}

    session.update(target(cds=[r("a")]), 1)
    assert session.states == {CLUSTER: SyncState.STALE}
    ack(session, drain(session))
    assert session.states == {CLUSTER: SyncState.SYNCED}

    session.update(target(cds=[r("a", "2")]), 2)
    (sent,) = drain(session)
    assert session.states == {CLUSTER: SyncState.STALE}
    session.receive(Request(type_url=CLUSTER, nonce=sent.nonce, error="no"))
    assert session.states == {CLUSTER: SyncState.ERROR}

    session.update(target(cds=[r("a")]), 3)
    ack(session, drain(session))
    assert session.states == {CLUSTER: SyncState.SYNCED}


def of_files(files: str, body: str = "1") -> Resource:
    return reading(r("c", body), f"{body} {files}".encode(), files)


@pytest.mark.parametrize(
    ("before", "for_files"),
    [
        pytest.param(of_files("secrets/bank 1"), True, id="the same from other files"),
        pytest.param(of_files("secrets/bank 1", "2"), False, id="another state"),
        pytest.param(r("c"), False, id="what reads no files"),
    ],
)
@pytest.mark.parametrize("reconnects", [False, True])
def test_a_refusal_tells_whether_only_the_files_have_changed(
    before: Resource, *, for_files: bool, reconnects: bool
) -> None:
    if reconnects:
        session = DeltaSession()
        session.receive(Request(type_url=CLUSTER, versions={"c": before.version}))
    else:
        session = connected(cds=[before], lds=[])
    session.update(target(cds=[of_files("secrets/bank 2")]), 2)
    (response,) = drain(session)

    nack(session, response, "c: no certificate")

    (rejection,) = session.rejections
    assert rejection.for_files is for_files


def test_what_was_taken_away_was_not_taken_up() -> None:
    session = connected(cds=[of_files("secrets/bank 1")], lds=[])
    session.update(target(cds=[], lds=[]), 2)
    ack(session, drain(session))
    session.update(target(cds=[of_files("secrets/bank 2")], lds=[]), 3)
    (response,) = drain(session)

    nack(session, response, "c: no certificate")

    (rejection,) = session.rejections
    assert not rejection.for_files
