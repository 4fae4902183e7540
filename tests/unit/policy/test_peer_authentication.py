"""The truth table of istio-semantics section 1.6, row by row."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mutua.api.security import MutualTlsMode, PeerAuthentication
from mutua.policy.peer_authentication import Decision, Reason, Subject, effective_mode
from mutua.testing.truth_table import (
    DISABLE,
    FOO,
    LABELS,
    PERMISSIVE,
    ROOT,
    STRICT,
    TABLE,
    UNSET,
    Row,
    mesh,
    ns,
    policy,
    work,
)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_truth_table(row: Row) -> None:
    subject = Subject(namespace="x", labels=LABELS, port=row.port)

    assert effective_mode(row.policies, subject, root_namespace=ROOT).mode is row.expected


@pytest.mark.parametrize("selector", [FOO, None])
def test_row_30_31_the_root_namespace_is_governed_by_the_mesh_policy_alone(
    selector: dict[str, str] | None,
) -> None:
    subject = Subject(namespace=ROOT, labels=FOO, port=1)
    policies = [mesh(STRICT, selector=selector)]

    decision = effective_mode(policies, subject, root_namespace=ROOT)

    assert decision.mode is (PERMISSIVE if selector else STRICT)


def test_row_35_another_root_namespace_makes_istio_system_an_ordinary_one() -> None:
    subject = Subject(namespace="x", labels=FOO, port=1)

    decision = effective_mode([mesh(STRICT)], subject, root_namespace="mesh-cfg")

    assert decision == Decision(mode=PERMISSIVE, reason=Reason.DEFAULT)


def test_a_decision_names_the_policy_to_edit_and_those_that_are_too_young() -> None:
    policies = [work(UNSET, {8080: STRICT}, name="a"), work(DISABLE, name="b"), ns(DISABLE)]

    decision = effective_mode(
        policies, Subject(namespace="x", labels=FOO, port=8080), root_namespace=ROOT
    )

    assert decision == Decision(mode=STRICT, reason=Reason.PORT, policy="x/a", unused=("x/b",))


modes = st.sampled_from(MutualTlsMode)
policies = st.lists(
    st.builds(
        policy,
        st.sampled_from([ROOT, "x", "y"]),
        modes,
        at=st.integers(0, 2),
        name=st.sampled_from("abc"),
        selector=st.sampled_from([None, FOO]),
    ),
    unique_by=lambda p: (p.namespace, p.name),
)


@given(policies, st.randoms())
def test_the_decision_does_not_depend_on_order(
    found: list[PeerAuthentication], random: Random
) -> None:
    subject = Subject(namespace="x", labels=FOO, port=1)
    shuffled = random.sample(found, k=len(found))

    decisions = [effective_mode(ps, subject, root_namespace=ROOT) for ps in (found, shuffled)]

    assert decisions[0] == decisions[1]
    assert decisions[0].mode is not UNSET
