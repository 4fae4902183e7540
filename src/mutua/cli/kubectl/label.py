"""`mutua kubectl label`: set and remove labels."""

import json
from collections.abc import Mapping, Sequence

import click
from lightkube import Client
from lightkube.types import PatchType

from mutua.api.kinds import Kind
from mutua.api.object import Object
from mutua.cli.client import resource_class
from mutua.cli.kubectl.arguments import parse_targets, qualified
from mutua.cli.kubectl.failure import Failures
from mutua.cli.kubectl.session import (
    Session,
    each,
    namespace_option,
    place,
    read_object,
    read_objects,
    selector_option,
)
from mutua.foundation.errors import Rejected


@click.command()
@namespace_option
@selector_option
@click.option("--all", "everything", is_flag=True, help="Every object of the kind.")
@click.option("--overwrite", is_flag=True, help="Change labels that are there already.")
@click.argument("words", nargs=-1, required=True, metavar="TYPE[/NAME] [NAME]... KEY=VALUE|KEY-...")
@click.pass_obj
def label(
    session: Session,
    words: tuple[str, ...],
    namespace: str | None,
    selector: str,
    *,
    everything: bool,
    overwrite: bool,
) -> None:
    """Set or remove labels.

    \b
    kubectl label namespace shop istio-injection=enabled
    kubectl label namespace shop istio-injection-
    """  # noqa: D301 - click's mark for "do not wrap"
    first = next((i for i, word in enumerate(words) if _is_change(word)), len(words))
    changes = read_changes(words[first:])
    targets = parse_targets(words[:first])
    if not (everything or selector) and any(not target.names for target in targets):
        raise Rejected("resource(s) were provided, but no name was specified", hint="add --all")
    failures = Failures()
    with session.connect(namespace) as client:
        for target in each(targets):
            with failures.collected():
                for obj in (
                    [read_object(client, target.kind, target.names[0])]
                    if target.names
                    else read_objects(client, target, selector)
                ):
                    with failures.collected():
                        _change(client, target.kind, obj, changes, overwrite=overwrite)
    failures.report()


def _is_change(word: str) -> bool:
    return "=" in word or word.endswith("-")


def read_changes(words: Sequence[str]) -> dict[str, str | None]:
    """Read KEY=VALUE and KEY-; None removes.

    Raises:
        Rejected: There are none, or one is something else.
    """
    changes: dict[str, str | None] = {}
    for word in words:
        if not _is_change(word):
            raise Rejected(f"{word!r} is neither KEY=VALUE nor KEY-")
        key, equals, text = word.partition("=")
        changes[key if equals else word[:-1]] = text if equals else None
    if not changes:
        raise Rejected("at least one label update is required", hint="such as app=web, or app-")
    return changes


def _change(
    client: Client,
    kind: Kind,
    obj: Object,
    changes: Mapping[str, str | None],
    *,
    overwrite: bool,
) -> None:
    current = obj["metadata"].get("labels") or {}
    title = qualified(kind, obj["metadata"]["name"])
    for key, value in changes.items():
        if value is None and key not in current:
            click.echo(f'label "{key}" not found.')
        if not overwrite and value is not None and current.get(key, value) != value:
            raise Rejected(
                f"'{key}' already has a value ({current[key]}), and --overwrite is false"
            )
    after = {key: value for key, value in {**current, **changes}.items() if value is not None}
    if after == current:
        click.echo(f"{title} not labeled")
        return
    patch = {"metadata": {"labels": dict(changes)}}
    where = place(kind, obj)
    name = obj["metadata"]["name"]
    client.patch(resource_class(kind), name, patch, patch_type=PatchType.MERGE, **where)
    shrank = len(json.dumps(after)) < len(json.dumps(current))  # kubectl's own criterion
    click.echo(f"{title} unlabeled" if shrank and not overwrite else f"{title} labeled")
