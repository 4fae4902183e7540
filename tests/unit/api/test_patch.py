# ruff: noqa: E501 - tables read better in one line per row
import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mutua.api.kinds import kind_of
from mutua.api.object import DEPLOYMENTS, NAMESPACES, PEER_AUTHENTICATIONS, SERVICES
from mutua.api.patch import (
    JSON,
    MERGE,
    STRATEGIC,
    BadPatch,
    UnsupportedPatchType,
    apply_patch,
    merge,
)

DEPLOYMENT = kind_of(DEPLOYMENTS)

# fmt: off
RFC_7386 = [
    # Appendix A of RFC 7386, whole
    ({"a": "b"},            {"a": "c"},              {"a": "c"}),
    ({"a": "b"},            {"b": "c"},              {"a": "b", "b": "c"}),
    ({"a": "b"},            {"a": None},             {}),
    ({"a": "b", "b": "c"},  {"a": None},             {"b": "c"}),
    ({"a": ["b"]},          {"a": "c"},              {"a": "c"}),
    ({"a": "c"},            {"a": ["b"]},            {"a": ["b"]}),
    ({"a": {"b": "c"}},     {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]},   {"a": [1]},              {"a": [1]}),
    (["a", "b"],            ["c", "d"],              ["c", "d"]),
    ({"a": "b"},            ["c"],                   ["c"]),
    ({"a": "foo"},          None,                    None),
    ({"a": "foo"},          "bar",                   "bar"),
    ({"e": None},           {"a": 1},                {"e": None, "a": 1}),
    ([1, 2],                {"a": "b", "c": None},   {"a": "b"}),
    ({},                    {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]
# fmt: on


@pytest.mark.parametrize(("target", "patch", "result"), RFC_7386)
def test_merge_patch_follows_the_rfc(target: Any, patch: Any, result: Any) -> None:
    assert merge(target, patch) == result


# fmt: off
RFC_6902 = [
    # Appendix A of RFC 6902: A.1 to A.7, A.10, A.14, A.16
    ({"foo": "bar"},            [{"op": "add", "path": "/baz", "value": "qux"}],             {"baz": "qux", "foo": "bar"}),
    ({"foo": ["bar", "baz"]},   [{"op": "add", "path": "/foo/1", "value": "qux"}],           {"foo": ["bar", "qux", "baz"]}),
    ({"baz": "qux", "foo": 1},  [{"op": "remove", "path": "/baz"}],                          {"foo": 1}),
    ({"foo": ["a", "b", "c"]},  [{"op": "remove", "path": "/foo/1"}],                        {"foo": ["a", "c"]}),
    ({"baz": "qux"},            [{"op": "replace", "path": "/baz", "value": "boo"}],         {"baz": "boo"}),
    ({"a": {"x": 1}, "b": {}},  [{"op": "move", "from": "/a/x", "path": "/b/y"}],            {"a": {}, "b": {"y": 1}}),
    ({"foo": ["a", "b", "c"]},  [{"op": "move", "from": "/foo/1", "path": "/foo/2"}],        {"foo": ["a", "c", "b"]}),
    ({"foo": "bar"},            [{"op": "add", "path": "/child", "value": {"g": {}}}],       {"foo": "bar", "child": {"g": {}}}),
    ({"/": 9, "~1": 10},        [{"op": "test", "path": "/~01", "value": 10}],               {"/": 9, "~1": 10}),
    ({"foo": ["bar"]},          [{"op": "add", "path": "/foo/-", "value": ["x"]}],           {"foo": ["bar", ["x"]]}),
    ({"a": {"x": [1]}},         [{"op": "copy", "from": "/a", "path": "/b"}],                {"a": {"x": [1]}, "b": {"x": [1]}}),
    ({"a": 1},                  [{"op": "replace", "path": "", "value": {"b": 2}}],          {"b": 2}),
    ({"a": 1},                  [{"op": "add", "path": "/a", "value": None}],                {"a": None}),
]
RFC_6902_REFUSED = [
    ({"baz": "qux"},            [{"op": "test", "path": "/baz", "value": "bar"}]),
    ({"a": 1},                  [{"op": "test", "path": "/a", "value": "1"}]),
    ({"a": True},               [{"op": "test", "path": "/a", "value": 1}]),
    ({"foo": "bar"},            [{"op": "add", "path": "/baz/bat", "value": "qux"}]),
    ({"foo": "bar"},            [{"op": "remove", "path": "/nope"}]),
    ({"foo": "bar"},            [{"op": "replace", "path": "/nope", "value": 1}]),
    ({"foo": [1]},              [{"op": "remove", "path": "/foo/-1"}]),
    ({"foo": [1]},              [{"op": "add", "path": "/foo/01", "value": 1}]),
    ({"foo": [1]},              [{"op": "add", "path": "/foo/2", "value": 1}]),
    ({"foo": [1]},              [{"op": "add", "path": "/foo/" + "9" * 5000, "value": 1}]),
    ({"foo": {}},               [{"op": "move", "from": "/foo", "path": "/foo/bar"}]),
    ({"foo": {}},               [{"op": "remove", "path": ""}]),
    ({"foo": {}},               [{"op": "replace", "path": "", "value": []}]),
    ({"foo": 1},                [{"op": "add", "path": "foo", "value": 2}]),
    ({"foo": 1},                [{"op": "add", "path": "/foo"}]),
    ({"foo": 1},                [{"op": "plant", "path": "/foo", "value": 1}]),
    ({"foo": 1},                {"op": "add"}),
    ({"foo": 1},                ["add"]),
]
# fmt: on


@pytest.mark.parametrize(("obj", "patch", "result"), RFC_6902)
def test_json_patch_follows_the_rfc(obj: Any, patch: Any, result: Any) -> None:
    assert apply_patch(JSON, obj, patch, DEPLOYMENT) == result


@pytest.mark.parametrize(("obj", "patch"), RFC_6902_REFUSED)
def test_json_patches_that_do_not_fit_are_refused(obj: Any, patch: Any) -> None:
    before = copy.deepcopy(obj)

    with pytest.raises(BadPatch):
        apply_patch(JSON, obj, patch, DEPLOYMENT)

    assert obj == before


def test_doubling_copies_are_stopped() -> None:
    bomb = [{"op": "copy", "from": "/a", "path": "/a/-"}] * 100

    with pytest.raises(BadPatch, match="copies more than"):
        apply_patch(JSON, {"a": ["x" * 100]}, bomb, DEPLOYMENT)


def test_too_many_operations_are_refused() -> None:
    with pytest.raises(BadPatch, match="at most"):
        apply_patch(JSON, {}, [{"op": "test", "path": "", "value": {}}] * 10_001, DEPLOYMENT)


def deployment(*containers: dict[str, Any]) -> dict[str, Any]:
    return {"spec": {"template": {"spec": {"containers": list(containers)}}}}


def containers(obj: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = obj["spec"]["template"]["spec"]["containers"]
    return found


WEB = {"name": "web", "image": "web:1", "env": [{"name": "A", "value": "1"}]}
PROXY = {"name": "istio-proxy", "image": "proxy"}


def patched(obj: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    return apply_patch(STRATEGIC, obj, patch, DEPLOYMENT)


def test_containers_merge_by_name() -> None:
    result = patched(deployment(WEB, PROXY), deployment({"name": "web", "image": "web:2"}))

    assert containers(result) == [{**WEB, "image": "web:2"}, PROXY]


def test_an_element_with_a_new_name_is_added() -> None:
    result = patched(deployment(WEB), deployment({"name": "job", "image": "job"}))

    assert [each["name"] for each in containers(result)] == ["web", "job"]


def test_an_element_is_deleted_by_directive() -> None:
    result = patched(deployment(WEB, PROXY), deployment({"name": "web", "$patch": "delete"}))

    assert containers(result) == [PROXY]


def test_nested_lists_merge_too() -> None:
    env = [{"name": "B", "value": "2"}, {"name": "A", "$patch": "delete"}]

    result = patched(deployment(WEB), deployment({"name": "web", "env": env}))

    assert containers(result)[0]["env"] == [{"name": "B", "value": "2"}]


def test_a_list_is_replaced_by_directive() -> None:
    result = patched(deployment(WEB, PROXY), deployment({"$patch": "replace"}, {"name": "only"}))

    assert containers(result) == [{"name": "only"}]


def test_lists_without_a_key_are_replaced() -> None:
    before = deployment({"name": "web", "command": ["a", "b"]})

    result = patched(before, deployment({"name": "web", "command": ["c"]}))

    assert containers(result)[0]["command"] == ["c"]


def test_the_author_s_order_is_kept_around_elements_of_others() -> None:
    patch = deployment({"name": "job"})
    patch["spec"]["template"]["spec"]["$setElementOrder/containers"] = [
        {"name": "job"},
        {"name": "web"},
    ]

    result = patched(deployment(PROXY, WEB), patch)

    assert [each["name"] for each in containers(result)] == ["job", "istio-proxy", "web"]


def test_retained_keys_drop_the_rest() -> None:
    before = {"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}}
    patch = {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}

    assert patched(before, patch) == {"spec": {"strategy": {"type": "Recreate"}}}


def test_finalizers_are_a_set() -> None:
    before = {"metadata": {"finalizers": ["a", "b"]}}
    patch = {
        "metadata": {
            "$deleteFromPrimitiveList/finalizers": ["a"],
            "$setElementOrder/finalizers": ["c", "b"],
            "finalizers": ["c", "b"],
        }
    }

    assert patched(before, patch) == {"metadata": {"finalizers": ["c", "b"]}}


def test_null_removes_and_maps_merge() -> None:
    before = {"metadata": {"labels": {"a": "1", "b": "2"}, "annotations": {"x": "y"}}}
    patch = {"metadata": {"labels": {"a": None, "c": "3"}, "annotations": None}}

    assert patched(before, patch) == {"metadata": {"labels": {"b": "2", "c": "3"}}}


def test_service_ports_merge_by_port_and_container_ports_by_container_port() -> None:
    service = {"spec": {"ports": [{"port": 80, "name": "a"}, {"port": 81, "name": "b"}]}}
    patch = {"spec": {"ports": [{"port": 80, "name": "http"}]}}

    result = apply_patch(STRATEGIC, service, patch, kind_of(SERVICES))

    assert [port["name"] for port in result["spec"]["ports"]] == ["http", "b"]


@pytest.mark.parametrize(
    "patch",
    [
        deployment({"image": "x"}),
        {"spec": {"$patch": "explode"}},
        {"spec": {"$retainKeys": "type"}},
        {"metadata": {"finalizers": ["a"], "$setElementOrder/finalizers": 1}},
        [],
        "x",
    ],
)
def test_malformed_strategic_patches_are_refused(patch: Any) -> None:
    before = {"metadata": {"finalizers": ["b"]}, **deployment(WEB)}

    with pytest.raises(BadPatch):
        apply_patch(STRATEGIC, before, patch, DEPLOYMENT)


def test_custom_kinds_take_no_strategic_patches_and_say_what_they_take() -> None:
    with pytest.raises(UnsupportedPatchType, match=r"application/merge-patch\+json"):
        apply_patch(STRATEGIC, {}, {}, kind_of(PEER_AUTHENTICATIONS))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner),
    max_leaves=8,
)
objects = st.dictionaries(st.sampled_from("abc"), json_values)


@given(obj=objects, patch=objects)
def test_merging_twice_is_merging_once(obj: dict[str, Any], patch: dict[str, Any]) -> None:
    once = apply_patch(MERGE, obj, patch, kind_of(NAMESPACES))

    assert apply_patch(MERGE, once, patch, kind_of(NAMESPACES)) == once


@given(obj=objects, value=json_values)
def test_what_is_added_can_be_tested_and_removed(obj: dict[str, Any], value: Any) -> None:
    patch = [
        {"op": "add", "path": "/new~1~0", "value": value},
        {"op": "test", "path": "/new~1~0", "value": value},
        {"op": "remove", "path": "/new~1~0"},
    ]

    assert apply_patch(JSON, obj, patch, DEPLOYMENT) == obj
