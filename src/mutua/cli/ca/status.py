"""`mutua ca status`: what signs, what is trusted, and how far a rotation is."""

import json
from typing import Any

import click

from mutua.cli.columns import print_columns
from mutua.cli.main import layout_of, mesh_options

HEADER = ("ROLE", "SUBJECT", "SOURCE", "KEY", "SERIAL", "EXPIRES IN")


@click.command()
@mesh_options
@click.option("-o", "--output", type=click.Choice(["table", "json", "yaml"]), default="table")
def command(name: str | None, state_dir: str | None, output: str) -> None:
    """Show which CA signs, which roots are trusted, and how far a rotation is."""
    from mutua.cli.ca.authority import read, remaining
    from mutua.cli.client import connect
    from mutua.foundation.clock import SystemClock

    with connect(layout_of(name, state_dir)) as client:
        found = read(client)
    if output != "table":
        _print_document(found, output)
        return
    status, now = found["status"], SystemClock().now()
    shown = [("signs", status["issuing"]), *(("root", one) for one in status["roots"])]
    print_columns(
        HEADER,
        [
            (
                role,
                one["subject"] or "<none>",
                one.get("source", ""),
                one["keyAlgorithm"],
                one["serialNumber"],
                remaining(one, now),
            )
            for role, one in shown
        ],
    )
    for line in _lines(status):
        click.echo(line)


def _lines(status: dict[str, Any]) -> list[str]:
    lines = []
    moving = status.get("rotation")
    if moving:
        verb = "is taken back" if moving["aborted"] else "is under way"
        lines.append(f"A rotation {verb} ({moving['replaces']}), stage {moving['stage']}:")
        lines.append(f"  {moving['message']}")
    if status.get("message"):
        lines.append(f"Not begun: {status['message']}")
    lines += [
        f"{one['type']}: {one['message']}"
        for one in status.get("conditions") or ()
        if one["status"] == "False" and one["reason"] != "NoSecret"
    ]
    return lines


def _print_document(found: Any, output: str) -> None:
    if output == "json":
        click.echo(json.dumps(found, indent=2))
        return
    import yaml

    click.echo(yaml.safe_dump(found, sort_keys=False), nl=False)
