"""Fleets that hear and answer in any order: does everybody always accept everybody?"""

from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mutua.foundation.errors import Conflict
from mutua.identity.rotation import CaState, Evidence, Stage, abort, advance, begin, waiting_for

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
START = CaState(issuing=1, trusted=(1,))


@dataclass
class Fleet:
    """Proxies as what they trust and present; each takes up its orders when it likes."""

    trusts: list[tuple[int, ...]] = field(default_factory=lambda: [(1,)] * 3)
    presents: list[int] = field(default_factory=lambda: [1] * 3)

    def evidence(self, state: CaState) -> Evidence:
        return Evidence(
            [str(i) for i, one in enumerate(self.trusts) if one != state.trusted],
            [str(i) for i, one in enumerate(self.presents) if one != state.issuing],
        )

    def require_harmony(self) -> None:
        for presented in self.presents:
            assert all(presented in trusted for trusted in self.trusts)


moves = st.lists(
    st.one_of(
        st.tuples(st.just("trust"), st.integers(0, 2)),
        st.tuples(st.just("present"), st.integers(0, 2)),
        st.tuples(st.just("step"), st.just(0)),
        st.tuples(st.just("abort"), st.just(0)),
    ),
    max_size=60,
)


@given(moves)
def test_whatever_happens_in_whatever_order_everybody_accepts_everybody(
    happened: list[tuple[str, int]],
) -> None:
    fleet, state = Fleet(), begin(START, request="r", target=2, now=NOW)
    for what, proxy in happened:
        if what == "trust":
            fleet.trusts[proxy] = state.trusted
        elif what == "present":
            fleet.presents[proxy] = state.issuing
        elif what == "step":
            state = advance(state, fleet.evidence(state), NOW)
        elif state.rotation is not None:
            state = abort(state, NOW)
        fleet.require_harmony()


@given(moves)
def test_a_fleet_that_follows_arrives(happened: list[tuple[str, int]]) -> None:
    fleet, state = Fleet(), begin(START, request="r", target=2, now=NOW)
    for what, proxy in happened:
        if what == "abort" and state.rotation is not None:
            state = abort(state, NOW)
        elif what == "trust":
            fleet.trusts[proxy] = state.trusted
    is_aborted = state.rotation is not None and state.rotation.aborted
    for _ in range(4):
        fleet.trusts = [state.trusted] * 3
        fleet.presents = [state.issuing] * 3
        fleet.require_harmony()
        state = advance(state, fleet.evidence(state), NOW)

    assert state.rotation is None
    assert state.issuing == (1 if is_aborted else 2)
    assert state.trusted == (state.issuing,)


def test_each_stage_waits_for_its_own_proof() -> None:
    state = begin(START, request="r", target=2, now=NOW)
    lagging = Evidence(without_bundle=["web.shop"])
    presenting = Evidence(with_others=["web.shop"])

    assert waiting_for(state, lagging) == ["web.shop"]
    assert advance(state, lagging, NOW) is state
    state = advance(state, presenting, NOW)  # of no interest while the origin signs
    assert (state.issuing, state.trusted) == (2, (1, 2))
    assert advance(state, presenting, NOW) is state
    state = advance(state, lagging, NOW)
    assert (state.trusted, state.rotation and state.rotation.stage) == ((2,), Stage.WITHDRAW)


def test_only_one_rotation_at_a_time_and_none_to_abort_without_one() -> None:
    with pytest.raises(Conflict, match="under way"):
        begin(begin(START, request="r", target=2, now=NOW), request="s", target=3, now=NOW)
    with pytest.raises(Conflict, match="no rotation"):
        abort(START, NOW)


def test_a_ca_that_nobody_trusts_is_not_a_state() -> None:
    with pytest.raises(ValueError, match="nobody trusts"):
        CaState(issuing=2, trusted=(1,))
