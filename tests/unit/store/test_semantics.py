from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mutua.api.object import DEPLOYMENTS, Object
from mutua.store import semantics

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def stored(**extra: Any) -> Object:
    obj = {"kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"}, **extra}
    return semantics.stamped(semantics.created(obj, uid="u1", now=NOW), 1)


json = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=5)
parts = st.dictionaries(st.sampled_from(["spec", "data", "status"]), json)
writable = st.fixed_dictionaries(
    {},
    optional={
        "labels": st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2),
        "finalizers": st.lists(st.text(max_size=3), max_size=2),
        "uid": st.just("u1"),
        "generation": st.integers(),
        "creationTimestamp": st.text(),
        "deletionTimestamp": st.text(),
    },
)


@given(old=parts, new=parts, metadata=writable)
def test_an_update_never_touches_status_nor_what_the_server_owns(
    old: dict[str, Any], new: dict[str, Any], metadata: dict[str, Any]
) -> None:
    before = stored(**old)
    snapshot = deepcopy(before)
    request = {"kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"} | metadata}

    after = semantics.replaced(DEPLOYMENTS, before, request | new) or before

    assert before == snapshot
    assert after.get("status") == before.get("status")
    for name in ("uid", "creationTimestamp", "deletionTimestamp", "resourceVersion"):
        assert after["metadata"].get(name) == before["metadata"].get(name)


@given(old=parts, new=parts)
def test_an_update_applied_twice_changes_nothing_the_second_time(
    old: dict[str, Any], new: dict[str, Any]
) -> None:
    request = {"kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"}} | new

    once = semantics.replaced(DEPLOYMENTS, stored(**old), request)

    assert once is None or semantics.replaced(DEPLOYMENTS, once, request) is None


@given(old=parts, new=parts)
def test_a_status_write_takes_only_the_status(old: dict[str, Any], new: dict[str, Any]) -> None:
    before = stored(**old)

    after = semantics.with_status(DEPLOYMENTS, before, stored(**new)) or before

    rest = {k: v for k, v in after.items() if k != "status"}
    assert rest == {k: v for k, v in before.items() if k != "status"}
    assert after.get("status") == new.get("status", None if "status" not in after else ...)


def test_a_finished_object_waits_for_nothing() -> None:
    ending = stored()["metadata"] | {"deletionTimestamp": "2030-01-01T00:00:00Z"}

    assert not semantics.is_finished(stored())
    assert semantics.is_finished({"metadata": ending})
    assert not semantics.is_finished({"metadata": ending | {"finalizers": ["x"]}})
    assert not semantics.is_finished({"metadata": ending | {"deletionGracePeriodSeconds": 3}})
