"""Objects as kubectl shows them: the API's own columns, or YAML, JSON and names."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import click
import yaml
from typing_extensions import override

from mutua.api.kinds import Kind
from mutua.api.object import Object
from mutua.api.table import table
from mutua.cli.columns import print_columns
from mutua.cli.kubectl.arguments import qualified

TEXT: Final = "tag:yaml.org,2002:str"


@dataclass(slots=True)
class Found:
    """What was found, and how it was asked for.

    Attributes:
        namespaces: In every namespace: show a column NAMESPACE.
        namespace: The one that was asked about.
        is_single: One object was asked for by name.
        groups: Objects by kind, in the order asked for.
    """

    namespaces: bool = False
    namespace: str = ""
    is_single: bool = False
    groups: dict[Kind, list[Object]] = field(default_factory=dict)

    def add(self, kind: Kind, objects: Sequence[Object]) -> None:
        """Add objects to those of their kind."""
        self.groups.setdefault(kind, []).extend(objects)

    @property
    def objects(self) -> list[tuple[Kind, Object]]:
        """All of them."""
        return [(kind, obj) for kind, group in self.groups.items() for obj in group]


def print_found(found: Found, output: str | None, *, headers: bool = True) -> None:
    """Print what was found.

    Args:
        found: What to print.
        output: None or "wide" for columns, "yaml", "json" or "name".
        headers: Whether tables begin with the names of their columns.
    """
    if output == "name":
        for kind, obj in found.objects:
            click.echo(qualified(kind, obj["metadata"]["name"]))
    elif output in {"yaml", "json"}:
        click.echo(_document(found, output), nl=False)
    elif not found.objects:
        where = f" in {found.namespace} namespace." if _are_in_one_namespace(found) else ""
        click.echo(f"No resources found{where}", err=True)
    else:
        shown = [(kind, group) for kind, group in found.groups.items() if group]
        for position, (kind, group) in enumerate(shown):
            if position:
                click.echo()
            _print_table(found, kind, group, wide=output == "wide", headers=headers)


def _are_in_one_namespace(found: Found) -> bool:
    return not found.namespaces and any(kind.namespaced for kind in found.groups)


def _document(found: Found, output: str) -> str:
    objects = [obj for _, obj in found.objects]
    one: Object = {
        "apiVersion": "v1",
        "items": objects,
        "kind": "List",
        "metadata": {"resourceVersion": ""},
    }
    if found.is_single and objects:
        one = objects[0]
    if output == "json":
        return json.dumps(one, indent=4, sort_keys=True, ensure_ascii=False) + "\n"
    return str(yaml.dump(one, Dumper=_Dumper, allow_unicode=True, width=100_000))


class _Dumper(yaml.SafeDumper):
    """Texts of several lines as blocks, as kubectl writes them, and no anchors."""

    @override
    def ignore_aliases(self, data: object) -> bool:
        return data is not None

    def represent_text(self, data: str) -> yaml.Node:
        resolve: Callable[..., str] = self.resolve
        is_plain = resolve(yaml.ScalarNode, data, (True, False)) == TEXT
        style = "|" if "\n" in data else None if is_plain else '"'
        return self.represent_scalar(TEXT, data, style=style)


_Dumper.add_representer(str, _Dumper.represent_text)


def _print_table(
    found: Found, kind: Kind, objects: Sequence[Object], *, wide: bool, headers: bool
) -> None:
    shown = table(kind, objects, datetime.now(UTC))
    columns = shown["columnDefinitions"]
    keep = [i for i, column in enumerate(columns) if wide or not column["priority"]]
    header = [columns[i]["name"].upper() for i in keep]
    rows = [[row["cells"][i] for i in keep] for row in shown["rows"]]
    if len(found.groups) > 1:
        for row in rows:
            row[0] = qualified(kind, row[0])
    if found.namespaces and kind.namespaced:
        header.insert(0, "NAMESPACE")
        for row, obj in zip(rows, objects, strict=True):
            row.insert(0, obj["metadata"]["namespace"])
    print_columns(header if headers else (), rows)
