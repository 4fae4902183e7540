"""Manifests in files, and where in them a field is written."""

from pathlib import Path

import pytest

from mutua.cli.manifests import (
    parse_manifests,
    read_manifests,
    read_mesh_config_file,
    read_texts,
)
from mutua.foundation.errors import Rejected


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


POLICY = """\
# a comment
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata:
  name: a
spec:
  selector: {matchLabels: {app.kubernetes.io/name: web}}
  portLevelMtls:
    8000:
      mode: DISABLE
---
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Service
  metadata: {name: b}
  spec:
    ports:
    - port: 1
    - port: 2
      name: x
"""


@pytest.mark.parametrize(
    ("number", "path", "line"),
    [
        (0, "", 2),
        (0, "spec", 6),
        (0, "spec.portLevelMtls[8000]", 9),
        (0, "spec.portLevelMtls[8000].mode", 10),
        (0, "spec.selector.matchLabels[app.kubernetes.io/name]", 7),
        (0, "spec.mtls.mode", 6),
        (0, "status.conditions[0]", 2),
        (1, "", 15),
        (1, "spec.ports[1].name", 22),
        (1, "spec.ports[7].name", 19),
    ],
)
def test_the_line_of_a_field_or_of_what_is_nearest_to_it(number, path, line) -> None:
    manifests = list(parse_manifests("a.yaml", POLICY))

    assert manifests[number].line(path) == line


def test_folders_are_read_to_the_bottom_on_request(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "deep.yaml").write_text("")

    assert list(read_texts(str(tmp_path))) == []
    assert [name for name, _ in read_texts(str(tmp_path), recursive=True)] == [
        str(tmp_path / "inner" / "deep.yaml")
    ]


def test_yaml_is_read_as_json_has_it() -> None:
    text = (
        "apiVersion: v1\nkind: X\nmetadata: {name: a}\nspec: {8000: 1, true: 2, when: 2026-01-01}"
    )

    (one,) = parse_manifests("a.yaml", text)

    assert one.obj["spec"] == {"8000": 1, "true": 2, "when": "2026-01-01"}


def test_a_file_with_a_mesh_config_is_read_or_refused_by_name(tmp_path: Path) -> None:
    file = tmp_path / "mesh.yaml"
    file.write_text("trustDomain: td")

    assert read_mesh_config_file(str(file)).trust_domain == "td"
    file.write_text("nonsense: 1")
    with pytest.raises(Rejected, match=r"mesh\.yaml: nonsense"):
        read_mesh_config_file(str(file))
