"""The truth table of istio-semantics section 1.6, row by row."""

# ruff: noqa: E501 - tables
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mutua.api.security import MutualTlsMode, PeerAuthentication
from mutua.policy.peer_authentication import Decision, Reason, Subject, effective_mode

ROOT = "istio-system"
UNSET, DISABLE = MutualTlsMode.UNSET, MutualTlsMode.DISABLE
PERMISSIVE, STRICT = MutualTlsMode.PERMISSIVE, MutualTlsMode.STRICT
FOO = {"app": "foo"}


def policy(
    namespace: str,
    mode: MutualTlsMode,
    ports: dict[int, MutualTlsMode] | None = None,
    *,
    at: int = 0,
    name: str = "p",
    selector: dict[str, str] | None = None,
) -> PeerAuthentication:
    return PeerAuthentication(
        namespace=namespace,
        name=name,
        created=f"2026-01-01T00:00:{at:02}Z",
        selector=selector,
        mode=mode,
        port_modes=ports or {},
    )


def mesh(mode: MutualTlsMode, **options: object) -> PeerAuthentication:
    return policy(ROOT, mode, **options)


def ns(mode: MutualTlsMode, **options: object) -> PeerAuthentication:
    return policy("x", mode, **options)


def work(
    mode: MutualTlsMode, ports: dict[int, MutualTlsMode] | None = None, **options: object
) -> PeerAuthentication:
    return policy("x", mode, ports, **{"selector": FOO, **options})


# fmt: off
ROWS = [
    pytest.param([],                                                    1, PERMISSIVE, id="1 nothing"),
    pytest.param([mesh(STRICT)],                                        1, STRICT,     id="2 mesh STRICT"),
    pytest.param([mesh(DISABLE)],                                       1, DISABLE,    id="3 mesh DISABLE"),
    pytest.param([mesh(UNSET)],                                         1, PERMISSIVE, id="4 5 mesh UNSET"),
    pytest.param([mesh(STRICT), ns(PERMISSIVE)],                        1, PERMISSIVE, id="6 namespace beats mesh"),
    pytest.param([mesh(STRICT), ns(UNSET)],                             1, STRICT,     id="7 namespace UNSET inherits mesh"),
    pytest.param([ns(UNSET)],                                           1, PERMISSIVE, id="8 namespace UNSET alone"),
    pytest.param([mesh(DISABLE), ns(STRICT)],                           1, STRICT,     id="9 namespace beats mesh"),
    pytest.param([mesh(STRICT), ns(DISABLE), work(STRICT)],             1, STRICT,     id="10 workload beats namespace"),
    pytest.param([mesh(STRICT), work(PERMISSIVE)],                      1, PERMISSIVE, id="11 workload beats mesh"),
    pytest.param([mesh(STRICT), ns(PERMISSIVE), work(UNSET)],           1, PERMISSIVE, id="12 workload UNSET inherits namespace"),
    pytest.param([mesh(STRICT), work(UNSET, {8080: DISABLE})],       8080, DISABLE,    id="13 port beats mesh"),
    pytest.param([mesh(STRICT), work(UNSET, {8080: DISABLE})],       9090, STRICT,     id="14 another port inherits mesh"),
    pytest.param([work(STRICT, {8080: UNSET})],                      8080, STRICT,     id="15 port UNSET inherits workload"),
    pytest.param([ns(DISABLE), work(STRICT, {8080: UNSET})],         8080, STRICT,     id="16 port UNSET inherits workload, not namespace"),
    pytest.param([work(UNSET, {8080: STRICT})],                      8080, STRICT,     id="17 port STRICT"),
    pytest.param([work(UNSET, {8080: STRICT})],                      9090, PERMISSIVE, id="18 another port is default"),
    pytest.param([work(DISABLE, {9000: PERMISSIVE})],                9000, PERMISSIVE, id="19 port PERMISSIVE"),
    pytest.param([work(STRICT, {80: DISABLE})],                      8080, STRICT,     id="20 a Service's port is no container port"),
    pytest.param([work(STRICT, {8080: DISABLE})],                    8080, DISABLE,    id="21 a target port is one"),
    pytest.param([work(STRICT), work(DISABLE, at=1)],                   1, STRICT,     id="22 the oldest workload policy wins"),
    pytest.param([work(UNSET), work(STRICT, at=1)],                     1, PERMISSIVE, id="23 the younger does not fill gaps"),
    pytest.param([work(STRICT), work(UNSET, {8080: DISABLE}, at=1)], 8080, STRICT,     id="24 the younger's ports are ignored"),
    pytest.param([ns(PERMISSIVE), ns(STRICT, at=1)],                    1, PERMISSIVE, id="25 the oldest namespace policy wins"),
    pytest.param([ns(UNSET), ns(STRICT, at=1)],                         1, PERMISSIVE, id="26 the younger is dropped"),
    pytest.param([mesh(STRICT), mesh(DISABLE, at=1)],                   1, STRICT,     id="27 the oldest mesh policy wins"),
    pytest.param([work(STRICT, selector={"app": "bar"})],               1, PERMISSIVE, id="28 not selected"),
    pytest.param([mesh(STRICT, selector=FOO)],                          1, PERMISSIVE, id="29 root selector is dead"),
    pytest.param([ns(DISABLE), ns(STRICT, at=1)],                       1, DISABLE,    id="33 an empty selector is none"),
    pytest.param([mesh(STRICT), work(DISABLE, name="a"), work(STRICT, name="b")], 1, DISABLE, id="34 ties go by name"),
]
# fmt: on


@pytest.mark.parametrize(("policies", "port", "expected"), ROWS)
def test_truth_table(
    policies: list[PeerAuthentication], port: int, expected: MutualTlsMode
) -> None:
    subject = Subject(namespace="x", labels={"app": "foo", "tier": "a"}, port=port)

    assert effective_mode(policies, subject, root_namespace=ROOT).mode is expected


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
