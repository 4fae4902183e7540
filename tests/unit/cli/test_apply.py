"""What is sent when a manifest is applied again."""

import pytest

from mutua.cli.apply import with_removals


@pytest.mark.parametrize(
    ("last", "desired", "patch"),
    [
        pytest.param({}, {"a": 1}, {"a": 1}, id="what is new is sent"),
        pytest.param({"a": 1}, {}, {"a": None}, id="what was applied and is gone is removed"),
        pytest.param(
            {"a": {"b": 1}}, {"a": {"c": 2}}, {"a": {"c": 2, "b": None}}, id="at any depth"
        ),
        pytest.param({"a": [1]}, {"a": [2]}, {"a": [2]}, id="lists are the server's business"),
        pytest.param({"a": 1}, {"a": {"b": 1}}, {"a": {"b": 1}}, id="a type may change"),
    ],
)
def test_a_patch_removes_what_only_the_last_manifest_had(last, desired, patch) -> None:
    assert with_removals(last, desired) == patch
