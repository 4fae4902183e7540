"""The ledger counts, is bounded, and knows what has to be written."""

from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from mutua.controlplane.ledger.cause import Finding, Reason
from mutua.controlplane.ledger.ledger import Entry, Key, Ledger
from mutua.controlplane.ledger.party import AddressBook, Party, owner_of
from mutua.controlplane.ledger.record import from_object, object_name, to_object
from mutua.testing.clock import START
from mutua.testing.mesh import pod
from mutua.xds.sighting import Sighting, Speaks

SERVER = Party("Deployment", "shop", "web")
CALL = Sighting("10.244.0.7", 40000, 8080, Speaks.HTTP, "web")
LATER = START + timedelta(minutes=1)


def key(name: str = "client", port: int = 8080) -> Key:
    return Key(SERVER, port, Party("Deployment", "shop", name))


def test_it_counts_what_was_served_and_what_was_refused() -> None:
    ledger = Ledger()
    ledger.note(key(), CALL, START)
    ledger.note(key(), replace(CALL, ongoing=True), LATER)
    entry = ledger.note(key(), replace(CALL, refused=True, host=""), LATER)

    assert (entry.count, entry.first_seen, entry.last_seen) == (1, START, LATER)
    assert (entry.refused, entry.last_refused, entry.host) == (1, LATER, "web")


def test_a_connection_from_before_a_restart_counts_once() -> None:
    ledger = Ledger()
    for _ in range(3):
        entry = ledger.note(key(), replace(CALL, ongoing=True), START)

    assert entry.count == 1


def test_the_longest_silent_makes_place_and_is_counted() -> None:
    ledger = Ledger(most=2)
    for name in ("a", "b", "a", "c"):
        ledger.note(key(name), CALL, START)

    assert {entry.key.caller.name for entry in ledger} == {"a", "c"}
    assert (ledger.displaced, ledger.take_displaced()) == (1, [key("b")])
    assert ledger.take_displaced() == []


def test_one_server_cannot_displace_what_others_said() -> None:
    ledger = Ledger(most=10, most_of_one=3)
    ledger.note(Key(Party("Pod", "bank", "vault"), 1, key().caller), CALL, START)
    for index in range(20):
        ledger.note(key(f"made-up-{index}"), CALL, START)

    assert sorted(entry.key.caller.name for entry in ledger) == [
        "client", "made-up-17", "made-up-18", "made-up-19",
    ]  # fmt: skip
    assert ledger.displaced == 17


def test_news_is_urgent_and_numbers_are_not() -> None:
    ledger = Ledger()
    ledger.note(key(), CALL, START)
    assert [one.key for one in ledger.take_urgent(10)] == [key()]

    ledger.note(key(), CALL, START)
    assert ledger.take_urgent(10) == []
    assert [one.count for one in ledger.take_changed(10)] == [2]
    assert ledger.take_changed(10) == []

    ledger.note(key(), replace(CALL, refused=True), START)
    assert [one.refused for one in ledger.take_urgent(10)] == [1]


NAMES = st.from_regex(r"[a-z][a-z0-9.-]{0,60}[a-z0-9]", fullmatch=True)
PARTIES = st.builds(Party, st.sampled_from(["Deployment", "Pod", "Address"]), NAMES, NAMES)
INSTANTS = st.integers(0, 10**6).map(lambda seconds: START + timedelta(seconds=seconds))
TEXTS = st.text(max_size=20)
ENTRIES = st.builds(
    Entry,
    key=st.builds(Key, PARTIES, st.integers(1, 65535), PARTIES),
    first_seen=INSTANTS,
    last_seen=st.none() | INSTANTS,
    count=st.integers(0, 10**9),
    last_refused=st.none() | INSTANTS,
    refused=st.integers(0, 10**9),
    speaks=st.sampled_from(Speaks),
    host=TEXTS,
    account=TEXTS,
    address=TEXTS,
    process=TEXTS,
    pods=st.lists(TEXTS, max_size=3).map(tuple),
    finding=st.none()
    | st.builds(Finding, reason=st.sampled_from(Reason), message=TEXTS, object=TEXTS, detail=TEXTS),
)


@given(ENTRIES)
def test_an_entry_survives_as_an_object(entry: Entry) -> None:
    assert from_object(to_object(entry)) == entry


@given(ENTRIES, ENTRIES)
def test_every_key_has_an_object_of_its_own(left: Entry, right: Entry) -> None:
    names = {(one.key.server.namespace, object_name(one.key)) for one in (left, right)}

    assert len(names) == len({left.key, right.key})


def test_pods_are_known_by_their_owner() -> None:
    one = pod("shop", "web-5d4c-x")
    one["metadata"]["ownerReferences"] = [
        {"kind": "ReplicaSet", "name": "web-5d4c", "controller": True}
    ]
    assert owner_of(one) == Party("ReplicaSet", "shop", "web-5d4c")
    one["metadata"]["labels"]["pod-template-hash"] = "5d4c"
    assert owner_of(one).short == "deploy/web.shop"
    one["metadata"]["ownerReferences"][0] |= {"kind": "Job", "name": "nightly"}
    assert owner_of(one).short == "job/nightly.shop"
    assert owner_of(pod("shop", "loner")).short == "pod/loner.shop"


def test_an_address_is_its_last_pods_until_somebody_else_has_it() -> None:
    book = AddressBook(most_gone=1)
    first, second = pod("shop", "first", "10.244.0.2"), pod("shop", "second", "10.244.0.3")
    for one in (first, second):
        book.put(one)
    book.leave(first)
    assert book.find("10.244.0.2") is first

    book.leave(second)  # there is room for one
    assert book.find("10.244.0.2") is None
    assert book.find("10.244.0.3") is second

    hosted = pod("istio-system", "istiod", "10.244.0.1")
    hosted["status"]["hostIP"] = "10.244.0.1"  # the node's: probes come from there, too
    book.put(hosted)
    assert book.find("10.244.0.1") is None

    third = pod("shop", "third", "10.244.0.3")
    book.put(third)
    book.leave(second)  # late news
    assert book.find("10.244.0.3") is third
