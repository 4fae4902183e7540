"""The policy that counts is the one that changes, and every change can be undone exactly."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mutua.api.object import Object
from mutua.api.security import MutualTlsMode, parse_peer_authentication
from mutua.controlplane.strict.change import (
    GUARD,
    Scope,
    is_as_written,
    on_probation,
    passed,
    policy_to_change,
    probation_of,
    reverted,
    strict_policy,
)
from mutua.policy.peer_authentication import Subject, effective_mode
from mutua.testing.mesh import peer_authentication

LABELS = {"app": "web", "tier": "front"}
NAMESPACE = Scope(namespace="shop")
WORKLOAD = Scope(namespace="shop", workload="web", selector={"app": "web"}, labels=LABELS)

MODES = st.sampled_from(["UNSET", "DISABLE", "PERMISSIVE", "STRICT", None])
SELECTORS = st.sampled_from([None, {}, {"app": "web"}, {"tier": "front"}, {"app": "other"}])


@st.composite
def policies(draw: st.DrawFn) -> list[Object]:
    found = []
    for index in range(draw(st.integers(0, 5))):
        selector, spec = draw(SELECTORS), {}
        if selector is not None:
            spec["selector"] = {"matchLabels": selector}
        found.append(
            peer_authentication(
                draw(st.sampled_from(["shop", "istio-system", "other"])),
                draw(MODES),
                name=draw(st.sampled_from(["default", "web", "a", "b", "c"]))
                + str(index) * (index > 1),
                created=f"2026-01-0{draw(st.integers(1, 3))}T00:00:00Z",
                **spec,
            )
        )
    unique = {(one["metadata"]["namespace"], one["metadata"]["name"]): one for one in found}
    return list(unique.values())


@given(policies(), st.sampled_from([NAMESPACE, WORKLOAD]))
def test_the_scope_is_strict_afterwards(before: list[Object], scope: Scope) -> None:
    changed = strict_policy(before, scope)
    # The API server gives a new policy its age: it is younger than all others.
    changed["metadata"].setdefault("creationTimestamp", "2027-01-01T00:00:00Z")
    key = (changed["metadata"]["namespace"], changed["metadata"]["name"])
    others = [
        one for one in before if (one["metadata"]["namespace"], one["metadata"]["name"]) != key
    ]
    parsed = [parse_peer_authentication(one) for one in (*others, changed)]
    labels = LABELS if scope.workload else {"app": "nobody else's"}

    decision = effective_mode(
        parsed,
        Subject(namespace="shop", labels=labels, port=8080),
        root_namespace="istio-system",
    )

    assert decision.mode is MutualTlsMode.STRICT
    assert decision.policy == "/".join(key)


@given(policies(), st.sampled_from([NAMESPACE, WORKLOAD]))
def test_what_is_undone_is_as_it_was(before: list[Object], scope: Scope) -> None:
    found = policy_to_change(before, scope)
    changed = on_probation(strict_policy(before, scope), found, watch=5, known_only=True)
    probation = probation_of(changed)
    assert probation is not None
    assert (probation.watch, probation.known_only) == (5, True)
    assert is_as_written(changed, probation)

    restored = reverted(changed, probation, "why")

    if found is None:
        assert restored is None
    else:
        assert restored is not None
        assert restored["spec"] == found["spec"]
        assert restored["metadata"]["name"] == found["metadata"]["name"]
        assert probation_of(restored) is None


def test_exceptions_of_ports_and_other_annotations_are_kept() -> None:
    ports = {"8081": {"mode": "PERMISSIVE"}}
    mine = peer_authentication(
        "shop", "UNSET", name="mine", selector={"matchLabels": {"app": "web"}}, portLevelMtls=ports
    )
    mine["metadata"]["annotations"] = {"team": "blue"}

    changed = on_probation(strict_policy([mine], WORKLOAD), mine, watch=1, known_only=False)

    assert changed["spec"] == {
        "selector": {"matchLabels": {"app": "web"}},
        "mtls": {"mode": "STRICT"},
        "portLevelMtls": ports,
    }
    assert changed["metadata"]["annotations"].keys() == {"team", GUARD}
    assert passed(changed, "ok")["metadata"]["annotations"].keys() == {
        "team",
        "strict.mutua.io/applied",
    }


def test_a_new_policy_takes_no_name_that_is_taken() -> None:
    taken = peer_authentication("shop", "STRICT", selector={"matchLabels": {"app": "other"}})

    assert strict_policy([taken], NAMESPACE)["metadata"]["name"] == "default-strict"
    assert strict_policy([], WORKLOAD) == {
        "apiVersion": "security.istio.io/v1",
        "kind": "PeerAuthentication",
        "metadata": {"namespace": "shop", "name": "web"},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, "mtls": {"mode": "STRICT"}},
    }


def test_nonsense_in_the_annotation_guards_nothing() -> None:
    texts: list[Any] = ["", "{}", "[]", "nonsense", json.dumps({"watch": "x"}), "null"]
    for text in texts:
        policy = peer_authentication("shop", "STRICT")
        policy["metadata"]["annotations"] = {GUARD: text}
        assert probation_of(policy) is None
