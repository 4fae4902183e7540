"""Manifests in files, folders and on standard input, and where in them each field is written.

A reader that keeps YAML's nodes next to the values they mean, so that a complaint can name a line.
"""

import json
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

import yaml

from mutua.api.object import Object
from mutua.api.validation.mesh_config import parse_mesh_config
from mutua.api.verdict import Invalid
from mutua.foundation.errors import Rejected
from mutua.model.settings import MeshSettings

SUFFIXES: Final = frozenset({".yaml", ".yml", ".json"})
"""Of the files of a folder that are manifests."""

STDIN: Final = "STDIN"
"""What standard input is called."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """One object as written, and where.

    Attributes:
        source: Path of its file, or STDIN.
        obj: The object.
        node: The object in the file's syntax tree.
    """

    source: str
    obj: Object
    node: yaml.Node

    def line(self, path: str = "") -> int:
        """Return the line of a field such as `spec.ports[0].name`, or of what is nearest to it."""
        node, line = self.node, self.node.start_mark.line
        for part in re.findall(r"\[([^\]]*)\]|([^.\[\]]+)", path):
            found = _child(node, part[0] or part[1])
            if found is None:
                break
            line, node = found
        return int(line) + 1


def read_manifests(sources: Sequence[str]) -> list[Manifest]:
    """Read the objects of files, of the YAML and JSON files of folders, or of "-".

    Raises:
        Rejected: A file is missing or is not YAML with apiVersion, kind and metadata.name; or
            there is no object at all.
    """
    manifests = [
        manifest
        for source in sources
        for label, text in read_texts(source)
        for manifest in parse_manifests(label, text)
    ]
    if not manifests:
        raise Rejected("no objects passed to apply")
    return manifests


def read_mesh_config_file(path: str) -> MeshSettings:
    """Read a file with a MeshConfig.

    Raises:
        Rejected: There is no such file, or it is none.
    """
    text = "".join(text for _, text in read_texts(path))
    try:
        return parse_mesh_config(text, MeshSettings())
    except Invalid as error:
        raise Rejected(f"{path}: {error}") from error


def read_texts(source: str, *, recursive: bool = False) -> Iterator[tuple[str, str]]:
    """Yield the name and the text of each file that a source means.

    Args:
        source: A path, or "-" for standard input.
        recursive: Read the folders inside a folder too.

    Raises:
        Rejected: There is no such file, or it is not text.
    """
    if source == "-":
        yield STDIN, sys.stdin.read()
        return
    path = Path(source)
    if not path.exists():
        raise Rejected(f'the path "{source}" does not exist')
    files = [path]
    if path.is_dir():
        found = path.rglob("*") if recursive else path.iterdir()
        files = sorted(one for one in found if one.suffix in SUFFIXES)
    for file in files:
        try:
            yield str(file), file.read_text()
        except UnicodeDecodeError as error:
            raise Rejected(f"error parsing {file}: it is not UTF-8 text") from error


def parse_manifests(label: str, text: str) -> Iterator[Manifest]:
    """Yield the objects of a text, those of Lists one by one.

    Raises:
        Rejected: It is not YAML with apiVersion, kind and metadata.name.
    """
    for document, node in parse_documents(label, text):
        yield from _flatten(document, node, label)


def parse_documents(label: str, text: str) -> Iterator[tuple[Any, yaml.Node]]:
    """Yield the documents of a text, whatever they are, and their syntax trees.

    Raises:
        Rejected: It is not YAML.
    """
    try:
        loader = _Loader(text)
        try:
            while loader.check_node():
                node = loader.get_node()
                yield _as_json(loader.construct_document(node)), node
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark else ""
        parts = (getattr(error, "context", None), getattr(error, "problem", None))
        what = ": ".join(part for part in parts if part) or str(error).splitlines()[0]
        raise Rejected(f"error parsing {label}: yaml: {where}{what}") from error


_Safe: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Safe):  # type: ignore[misc]
    """YAML as JSON has it: no dates."""

    yaml_implicit_resolvers: ClassVar[Any] = {
        first: [(tag, pattern) for tag, pattern in known if not tag.endswith(":timestamp")]
        for first, known in _Safe.yaml_implicit_resolvers.items()
    }


def _as_json(value: Any) -> Any:
    """Return a value with keys that are text, as JSON has them: `8000:` is "8000"."""
    if isinstance(value, list):
        return [_as_json(one) for one in value]
    if isinstance(value, dict):
        return {
            key if isinstance(key, str) else json.dumps(key, default=str): _as_json(one)
            for key, one in value.items()
        }
    return value


def _flatten(document: Any, node: yaml.Node, label: str) -> Iterator[Manifest]:
    if document is None:
        return
    if not isinstance(document, dict) or not document.get("kind"):
        raise Rejected(f"error validating {label}: Object 'Kind' is missing")
    if str(document["kind"]).endswith("List") and isinstance(document.get("items"), list):
        found = _child(node, "items")
        for item, inner in zip(document["items"], found[1].value if found else (), strict=False):
            yield from _flatten(item, inner, label)
        return
    if not document.get("apiVersion"):
        raise Rejected(f"error validating {label}: Object 'apiVersion' is missing")
    if not isinstance(document.get("metadata"), dict) or not document["metadata"].get("name"):
        raise Rejected(f"error validating {label}: {document['kind']} without metadata.name")
    yield Manifest(label, document, node)


def _child(node: yaml.Node, key: str) -> tuple[int, yaml.Node] | None:
    """Return the line of a member's key, or of a list's element, and the member."""
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            if name.value == key:
                return name.start_mark.line, value
    if isinstance(node, yaml.SequenceNode) and key.isdigit() and int(key) < len(node.value):
        found = node.value[int(key)]
        return found.start_mark.line, found
    return None
