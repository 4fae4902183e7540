"""`mutua kubectl delete`: remove objects, and wait until they are gone."""

import time
from collections.abc import Iterator, Sequence
from typing import Final

import click
from lightkube import Client
from lightkube.types import CascadeType

from mutua.api.kinds import Kind
from mutua.api.object import Object
from mutua.cli.apply import known_kind
from mutua.cli.client import ALL_NAMESPACES, resource_class
from mutua.cli.kubectl.arguments import parse_targets, qualified
from mutua.cli.kubectl.failure import Failures
from mutua.cli.kubectl.session import (
    Session,
    everywhere_option,
    namespace_option,
    place,
    read_objects,
    seconds,
    selector_option,
    until_gone,
)
from mutua.cli.manifests import read_manifests
from mutua.foundation.errors import Rejected

FOREVER: Final = 7 * 24 * 3600.0
"""Seconds that kubectl waits when --timeout is 0."""


@click.command()
@namespace_option
@everywhere_option
@selector_option
@click.option("--all", "everything", is_flag=True, help="Every object of the kind.")
@click.option(
    "-f",
    "--filename",
    "sources",
    multiple=True,
    metavar="PATH",
    help="What these manifests name; file, folder, or -.",
)
@click.option("--wait", type=bool, default=True, show_default=True, help="Until they are gone.")
@click.option("--timeout", default="0s", help="How long to wait, such as 30s; 0s: a week.")
@click.option("--ignore-not-found", is_flag=True, help="A missing object is no failure.")
@click.argument("resources", nargs=-1, metavar="[TYPE[/NAME] [NAME]...]")
@click.pass_obj
def delete(
    session: Session,
    /,
    resources: tuple[str, ...],
    namespace: str | None,
    sources: tuple[str, ...],
    selector: str,
    timeout: str,
    **flags: bool,
) -> None:
    """Delete objects, and wait until they are gone."""
    deadline = time.monotonic() + (seconds(timeout) or FOREVER)
    failures = Failures()
    gone: list[tuple[Kind, Object]] = []
    with session.connect(namespace, everywhere=flags["all_namespaces"]) as client:
        if sources:
            doomed = _written(client, sources)
        else:
            doomed = _named(client, resources, selector, everything=flags["everything"])
        for kind, obj in doomed:
            name = obj["metadata"]["name"]
            with failures.collected():
                where = place(kind, obj)
                client.delete(resource_class(kind), name, cascade=CascadeType.BACKGROUND, **where)
                click.echo(f'{qualified(kind, "").rstrip("/")} "{name}" deleted')
                gone.append((kind, obj))
        if not (gone or failures):
            click.echo("No resources found", err=True)
        for kind, obj in gone if flags["wait"] else ():
            with failures.collected():
                until_gone(client, kind, obj, deadline)
    if flags["ignore_not_found"]:
        failures = failures.without("(NotFound)")
    failures.report()


def _written(client: Client, sources: Sequence[str]) -> Iterator[tuple[Kind, Object]]:
    for manifest in read_manifests(sources):
        namespace = manifest.obj["metadata"].get("namespace") or client.namespace
        metadata = {"name": manifest.obj["metadata"]["name"], "namespace": namespace}
        yield known_kind(manifest.obj, manifest.source), {"metadata": metadata}


def _named(
    client: Client, resources: Sequence[str], selector: str, *, everything: bool
) -> Iterator[tuple[Kind, Object]]:
    targets = parse_targets(resources)
    if not everything and not selector and any(not target.names for target in targets):
        raise Rejected("resource(s) were provided, but no name was specified", hint="add --all")
    for target in targets:
        if not target.names:
            yield from ((target.kind, obj) for obj in read_objects(client, target, selector))
        elif client.namespace == ALL_NAMESPACES and target.kind.namespaced:
            raise Rejected("a resource cannot be retrieved by name across all namespaces")
        for name in target.names:
            yield target.kind, {"metadata": {"name": name, "namespace": client.namespace}}
