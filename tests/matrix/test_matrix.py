"""Who reaches whom, and how: every client, server and protocol in every state of the policies.

The states follow each other in one mesh.  In each, every call is made with real packets and must
end as the evaluator says; after each, the mesh must be as it was before.  A selection of the states
that has every policy of either side runs always, all combinations with `make matrix`.
"""

import os

import pytest

from mutua.model.snapshot import MeshSnapshot
from mutua.testing.reachability.expectation import expected, wrongly_protected
from mutua.testing.reachability.landscape import Call
from mutua.testing.reachability.probe import Answer, Outcome, Says
from mutua.testing.reachability.states import AUTHENTICATIONS, PRODUCT, SELECTION, State
from mutua.testing.running_mesh import eventually

STATES = PRODUCT if "MUTUA_DEEP" in os.environ else SELECTION

PATIENCE = 1.0
"""Seconds without an answer after which a call that must not be answered counts as silent."""

LONG_PATIENCE = 5.0
"""Seconds for one that must be answered: on a busy machine it may just be late."""

REPETITIONS = 4
"""How often a call may be made again; a proxy keeps fewer idle connections than that."""


def differences(landscape, mesh: MeshSnapshot | None = None) -> list[str]:
    """Make every call, and return where the evaluator and the packets disagree.

    Args:
        landscape: Where.
        mesh: What the evaluator judges; None for what is there.
    """
    mesh = mesh or landscape.snapshot()
    expectations = {call: expected(mesh, call) for call in landscape.calls}
    seen = landscape.observe(landscape.calls, patience=PATIENCE)
    for _ in range(REPETITIONS):
        again = [
            call
            for call, answer in seen.answers.items()
            if not expectations[call].met_by(answer, call, PATIENCE)
            and _deserves_another(call, answer)
        ]
        if not again:
            break
        seen = seen.then(landscape.observe(again, patience=LONG_PATIENCE))
    found = [
        f"{call}\n  must be {expectations[call]}\n  but is  {answer}"
        for call, answer in seen.answers.items()
        if not expectations[call].met_by(answer, call, PATIENCE)
    ]
    for client, clusters in seen.clusters.items():
        own = [expectations[call] for call in landscape.calls if call.client == client]
        found += [f"{client}: {wrong}" for wrong in wrongly_protected(own, clusters)]
    return found


def _deserves_another(call: Call, answer: Answer) -> bool:
    """Tell whether a call that did not end as expected may be made again.

    Silence may have been slowness.  An HTTP request may have been answered over a connection
    between the proxies from before the policy: such a connection is not judged again, it is
    closed after its next request (istio-semantics 11.2).
    """
    kept = call.says in {Says.HTTP, Says.HTTP2} and answer.outcome is Outcome.OK
    return kept or answer.outcome is Outcome.SILENCE


def late_differences(landscape) -> list[str]:
    """Make every call that proxies keep waiting, patiently, and return the disagreements."""
    mesh = landscape.snapshot()
    expectations = {call: expected(mesh, call) for call in landscape.calls}
    late = [call for call, one in expectations.items() if one.wait]
    assert late
    patience = max(expectations[call].wait for call in late) + LONG_PATIENCE
    seen = landscape.observe(late, patience=patience)
    return [
        f"{call}\n  must be {expectations[call]}\n  but is  {answer}"
        for call, answer in seen.answers.items()
        if not expectations[call].met_by(answer, call)
    ]


@pytest.fixture(scope="module")
def settled(landscape):
    """The landscape once every proxy knows every pod, which is announced by nobody."""
    eventually(lambda: not differences(landscape), "everybody knows everybody")
    return landscape


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.name)
def test_every_call_ends_as_the_evaluator_says_and_leaves_nothing(settled, state: State) -> None:
    landscape = settled
    landscape.apply(state.objects)
    try:
        found = differences(landscape)
    finally:
        landscape.withdraw(state.objects)
    assert not found, "\n".join(found)
    eventually(lambda: not differences(landscape), "it is as it was before")


@pytest.mark.parametrize("mode", ["PERMISSIVE", "STRICT", "DISABLE"])
@pytest.mark.parametrize("config", ["", "protocolDetectionTimeout: 1500ms"])
def test_who_waits_for_the_server_is_told_once_proxies_give_up(
    landscape, mode: str, config: str
) -> None:
    policies = AUTHENTICATIONS[f"mesh {mode}"]
    with landscape.settings(config):
        landscape.apply(policies)
        try:
            eventually(lambda: not late_differences(landscape), "as the evaluator says")
        finally:
            landscape.withdraw(policies)


def test_a_policy_that_the_evaluator_does_not_know_of_is_noticed(settled) -> None:
    landscape = settled
    before = landscape.snapshot()
    (strict,) = AUTHENTICATIONS["mesh STRICT"]

    landscape.apply([strict])
    try:
        found = differences(landscape, before)
    finally:
        landscape.withdraw([strict])

    assert any(line.startswith("outside -> web:8001 (web-1): HTTP/1.1") for line in found)
    assert not any("legacy-1" in line for line in found)
