# ruff: noqa: E501 - tables read better in one line per row
"""In which order the pods of a StatefulSet come, go and are updated."""

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mutua.cluster.controllers.stateful_plan import (
    BURST,
    Health,
    Member,
    Steps,
    Wish,
    next_steps,
)

NOTHING = Steps()
STATES = {
    "s": Health.STARTING,
    "r": Health.READY,
    "a": Health.AVAILABLE,
    "e": Health.ENDING,
    "f": Health.FINISHED,
}


def wish(replicas: int, *, start: int = 0, partition: int | None = 0) -> Wish:
    return Wish(ordinals=range(start, start + replicas), revision="new", partition=partition)


def pods(text: str) -> list[Member]:
    """Read `0a 1s 2a*`: ordinal, state, and * for the template before."""
    return [
        Member(int(word[0]), "old" if word.endswith("*") else "new", STATES[word[1]])
        for word in text.split()
    ]


# fmt: off
IN_ORDER = [
    # what                                  asked for                there           next
    ("the first comes first",               wish(3),                 "",             Steps(create=(0,))),
    ("the second waits for the first",      wish(3),                 "0s",           NOTHING),
    ("ready is not enough",                 wish(3),                 "0r",           NOTHING),
    ("and then comes",                      wish(3),                 "0a",           Steps(create=(1,))),
    ("a gap is filled from below",          wish(3),                 "0a 2a",        Steps(create=(1,))),
    ("ordinals may start anywhere",         wish(2, start=5),        "5a",           Steps(create=(6,))),
    ("those before the start are too many", wish(2, start=5),        "0a 5a 6a",     Steps(delete=(0,))),
    ("an ending one is waited for",         wish(2),                 "0e",           NOTHING),
    ("a finished one is made anew",         wish(2),                 "0f",           Steps(delete=(0,))),
    ("enough is enough",                    wish(2),                 "0a 1a",        NOTHING),
    ("the last goes first",                 wish(1),                 "0a 1a 2a",     Steps(delete=(2,))),
    ("the next waits until it is gone",     wish(1),                 "0a 1a 2e",     NOTHING),
    ("not before the rest is well",         wish(1),                 "0s 1a 2a",     NOTHING),
    ("one that is too many may be unwell",  wish(1),                 "0a 1s 2s",     Steps(delete=(2,))),
    ("none is wanted: nobody is waited for", wish(0),                "0s 1s",        Steps(delete=(1,))),
    ("scaling comes before updating",       wish(1),                 "0a* 1a*",      Steps(delete=(1,))),
    ("an update begins at the end",         wish(3),                 "0a* 1a* 2a*",  Steps(delete=(2,))),
    ("and makes that one anew",             wish(3),                 "0a* 1a*",      Steps(create=(2,))),
    ("and waits for it",                    wish(3),                 "0a* 1a* 2s",   NOTHING),
    ("for as long as it takes",             wish(3),                 "0a* 1a* 2r",   NOTHING),
    ("and goes on",                         wish(3),                 "0a* 1a* 2a",   Steps(delete=(1,))),
    ("below the partition nothing changes", wish(3, partition=2),    "0a* 1a* 2a",   NOTHING),
    ("a partition counts from the start",   wish(2, start=5, partition=1), "5a* 6a", NOTHING),
    ("a partition beyond the end",          wish(2, partition=9),    "0a* 1a*",      NOTHING),
    ("OnDelete waits for somebody",         wish(2, partition=None), "0a* 1a*",      NOTHING),
    ("what is not ready is not waited for", wish(3),                 "0s*",          Steps(delete=(0,))),
    ("not even after a step back",          wish(3),                 "0a 1a 2s*",    Steps(delete=(2,))),
    ("except while another one leaves",     wish(3),                 "0s* 1a* 2e*",  NOTHING),
    ("except if the new one is no better",  wish(3),                 "0s* 1a* 2s",   NOTHING),
    ("except below the partition",          wish(3, partition=1),    "0s* 1a* 2a*",  NOTHING),
    ("except with OnDelete",                wish(3, partition=None), "0s*",          NOTHING),
]
AT_ONCE = [
    ("all come at once",                    wish(3),                 "",             Steps(create=(0, 1, 2))),
    ("all go at once",                      wish(1),                 "0s 1a 2e",     Steps(delete=(1,))),
    ("at the same time",                    wish(2, start=1),        "0a 1f",        Steps(create=(2,), delete=(0, 1))),
    ("updates go one by one",               wish(3),                 "0a* 1a* 2a*",  Steps(delete=(2,))),
    ("and wait for each other",             wish(3),                 "0a* 1a* 2s",   NOTHING),
    ("also for one that is leaving",        wish(3),                 "0a* 1a* 2e*",  NOTHING),
    ("what is unwell is no obstacle",       wish(3),                 "0s* 1s* 2s*",  Steps(delete=(2,))),
    ("below the partition nothing changes", wish(2, partition=1),    "0a* 1a",       NOTHING),
]
# fmt: on


@pytest.mark.parametrize(("asked", "there", "steps"), [row[1:] for row in IN_ORDER],
                         ids=[row[0] for row in IN_ORDER])  # fmt: skip
def test_in_order(asked: Wish, there: str, steps: Steps) -> None:
    assert next_steps(asked, pods(there)) == steps


@pytest.mark.parametrize(("asked", "there", "steps"), [row[1:] for row in AT_ONCE],
                         ids=[row[0] for row in AT_ONCE])  # fmt: skip
def test_all_at_once(asked: Wish, there: str, steps: Steps) -> None:
    assert next_steps(replace(asked, parallel=True), pods(there)) == steps


def test_a_million_pods_are_not_asked_for_in_one_go() -> None:
    asked = replace(wish(1_000_000), parallel=True)

    assert len(next_steps(asked, []).create) == BURST


wishes = st.builds(
    Wish,
    ordinals=st.builds(lambda start, size: range(start, start + size),
                       st.integers(0, 2), st.integers(0, 4)),
    revision=st.just("new"),
    partition=st.none() | st.integers(0, 5),
    parallel=st.booleans(),
)  # fmt: skip
beginnings = st.lists(
    st.builds(Member, st.integers(0, 6), st.sampled_from(["old", "new"]), st.sampled_from(Health)),
    unique_by=lambda member: member.ordinal,
)


@given(asked=wishes, beginning=beginnings, seed=st.integers())
def test_whatever_there_was_it_ends_with_the_pods_that_are_wanted(
    asked: Wish, beginning: list[Member], seed: int
) -> None:
    random = Random(seed)
    held = {member.ordinal: member for member in beginning}
    for _ in range(60):
        steps = next_steps(asked, held.values())
        assert not held.keys() & {*steps.create}
        assert not asked.parallel or len(steps.create) + len(steps.delete) <= 11
        assert asked.parallel or len(steps.create) + len(steps.delete) <= 1
        for ordinal in steps.create:
            revision = "old" if asked.keeps(ordinal) else "new"
            held[ordinal] = Member(ordinal, revision, Health.STARTING)
        for ordinal in steps.delete:
            held[ordinal] = replace(held[ordinal], health=Health.ENDING)
        for member in random.sample(list(held.values()), k=len(held)):
            if member.health is Health.ENDING:
                del held[member.ordinal]
                break
            if member.health in {Health.STARTING, Health.READY}:
                held[member.ordinal] = replace(member, health=Health.AVAILABLE)
                break
    assert held.keys() == {*asked.ordinals}
    assert {member.health for member in held.values()} <= {Health.AVAILABLE}
    stale = {member.ordinal for member in held.values() if member.revision == "old"}
    assert not any(asked.updates(ordinal) for ordinal in stale)


@given(asked=wishes, seed=st.integers())
def test_an_update_takes_one_pod_at_a_time_from_the_top_and_none_below_the_partition(
    asked: Wish, seed: int
) -> None:
    random = Random(seed)
    held = {each: Member(each, "old", Health.AVAILABLE) for each in asked.ordinals}
    taken: list[int] = []
    for _ in range(100):
        steps = next_steps(asked, held.values())
        for ordinal in steps.delete:
            assert all(one.health is Health.AVAILABLE for one in held.values())
            taken.append(ordinal)
            held[ordinal] = replace(held[ordinal], health=Health.ENDING)
        for ordinal in steps.create:
            held[ordinal] = Member(ordinal, "new", Health.STARTING)
        ordinal, member = next(
            ((o, m) for o, m in held.items() if m.health is not Health.AVAILABLE), (-1, None)
        )
        if member is not None and random.random() < 0.7:
            if member.health is Health.ENDING:
                del held[ordinal]
            else:
                held[ordinal] = replace(member, health=Health.AVAILABLE)

    assert taken == [each for each in reversed(asked.ordinals) if asked.updates(each)]
