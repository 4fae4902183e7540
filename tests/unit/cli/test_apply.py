"""What is sent when a manifest is applied again."""

from pathlib import Path

import pytest

from mutua.cli.apply import read_manifests, with_removals
from mutua.foundation.errors import Rejected


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


def test_folders_lists_and_several_documents_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n---\n")
    (tmp_path / "b.json").write_text(
        '{"apiVersion": "v1", "kind": "List", "items":'
        ' [{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "b"}}]}'
    )
    (tmp_path / "ignored.txt").write_text("not a manifest")

    names = [one.obj["metadata"]["name"] for one in read_manifests([str(tmp_path)])]

    assert names == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a: [", "while parsing"),
        ("apiVersion: v1", "'Kind' is missing"),
        ("kind: Pod\nmetadata: {name: a}", "'apiVersion' is missing"),
        ("apiVersion: v1\nkind: Pod", "without metadata.name"),
        ("", "no objects passed"),
    ],
)
def test_a_bad_manifest_is_refused_with_its_file(text: str, complaint: str, tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(text)

    with pytest.raises(Rejected, match=complaint):
        read_manifests([str(file)])


def test_a_missing_file_is_named() -> None:
    with pytest.raises(Rejected, match=r'the path "nowhere\.yaml" does not exist'):
        read_manifests(["nowhere.yaml"])
