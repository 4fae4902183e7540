"""Objects as kubectl shows them: the API's own columns, or YAML, JSON and names."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime

import click
import yaml

from mutua.api.kinds import Kind
from mutua.api.object import Object
from mutua.api.table import table
from mutua.cli.columns import print_columns
from mutua.cli.kubectl.arguments import qualified

Found = Sequence[tuple[Kind, Sequence[Object]]]


def print_objects(found: Found, *, output: str | None, namespaces: bool) -> None:
    """Print what was found.

    Args:
        found: Objects by kind, in the order asked for.
        output: None or "wide" for columns, "yaml", "json" or "name".
        namespaces: Show the column NAMESPACE.
    """
    objects = [(kind, obj) for kind, group in found for obj in group]
    if output == "name":
        for kind, obj in objects:
            click.echo(qualified(kind, obj["metadata"]["name"]))
    elif output in {"yaml", "json"}:
        click.echo(_document([obj for _, obj in objects], output).rstrip())
    elif not objects:
        click.echo("No resources found", err=True)
    else:
        for position, (kind, group) in enumerate(pair for pair in found if pair[1]):
            if position:
                click.echo()
            _print_table(kind, group, wide=output == "wide", namespaces=namespaces)


def _document(objects: list[Object], output: str) -> str:
    one: Object = {"apiVersion": "v1", "kind": "List", "items": objects}
    if len(objects) == 1:
        one = objects[0]
    return json.dumps(one, indent=4) if output == "json" else str(yaml.safe_dump(one))


def _print_table(kind: Kind, objects: Sequence[Object], *, wide: bool, namespaces: bool) -> None:
    shown = table(kind, objects, datetime.now(UTC))
    keep = [i for i, c in enumerate(shown["columnDefinitions"]) if wide or not c["priority"]]
    header = [shown["columnDefinitions"][i]["name"].upper() for i in keep]
    rows = [[row["cells"][i] for i in keep] for row in shown["rows"]]
    if namespaces and kind.namespaced:
        header.insert(0, "NAMESPACE")
        for row, obj in zip(rows, objects, strict=True):
            row.insert(0, obj["metadata"]["namespace"])
    print_columns(header, rows)
