"""`mutua kubectl`: apply, get, delete, exec, logs, label, wait and rollout restart.

For a machine without kubectl; same arguments, same lines of output.  It is a client of the same
API as any other (lightkube), not a second way into the mesh.
"""

import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import click
from lightkube import ApiError, Client
from lightkube.types import CascadeType, PatchType

from mutua.api.kinds import Kind
from mutua.api.object import Object
from mutua.cli.apply import apply_objects, read_manifests
from mutua.cli.client import ALL_NAMESPACES, connect, list_objects, resource_class
from mutua.cli.kubectl.arguments import Target, parse_targets, qualified
from mutua.cli.kubectl.display import print_objects
from mutua.cli.kubectl.pods import default_container, find_pod
from mutua.cli.main import layout_of
from mutua.foundation.clock import rfc3339
from mutua.foundation.errors import Rejected, Unavailable

POLL: Final = 0.1
"""Seconds between two looks while waiting."""


@click.group()
@click.option("-n", "--namespace", default=None, help="Default: default.")
@click.pass_context
def command(context: click.Context, namespace: str | None) -> None:
    """Offer the everyday part of kubectl, where there is no kubectl."""
    context.obj = namespace


def _namespace_options(function: Any) -> Any:
    every = click.option("-A", "--all-namespaces", is_flag=True, help="In every namespace.")
    return click.option("-n", "--namespace", default=None, help="Default: default.")(
        every(function)
    )


def _connect(context: click.Context, namespace: str | None, *, everywhere: bool = False) -> Any:
    chosen = ALL_NAMESPACES if everywhere else namespace or context.obj or "default"
    return connect(layout_of(None, None), chosen)


@command.command()
@click.option(
    "-f", "--filename", "sources", multiple=True, required=True, help="File, folder or -."
)
@click.option("-n", "--namespace", default=None)
@click.pass_context
def apply(context: click.Context, sources: tuple[str, ...], namespace: str | None) -> None:
    """Create or change objects so that they are as the manifests say."""
    objects = read_manifests(sources)
    with _connect(context, namespace) as client:
        for line in apply_objects(client, objects):
            click.echo(line)


@command.command()
@_namespace_options
@click.option("-o", "--output", type=click.Choice(["wide", "yaml", "json", "name"]))
@click.option("-l", "--selector", default="", help="Labels, such as app=web.")
@click.argument("resources", nargs=-1, required=True)
@click.pass_context
def get(
    context: click.Context,
    /,
    resources: tuple[str, ...],
    namespace: str | None,
    output: str | None,
    selector: str,
    *,
    all_namespaces: bool,
) -> None:
    """Show objects."""
    with _connect(context, namespace, everywhere=all_namespaces) as client:
        found = [
            (target.kind, _select(client, target, selector)) for target in parse_targets(resources)
        ]
        print_objects(found, output=output, namespaces=all_namespaces)


def _select(client: Client, target: Target, selector: str = "") -> list[Object]:
    """Return the objects of a target: the named ones, or those a label selector picks."""
    if not target.names:
        from mutua.api.selectors import parse_label_selector

        wanted = parse_label_selector(selector)
        found = list_objects(client, target.kind.resource, client.namespace)
        return [obj for obj in found if wanted.matches(obj["metadata"].get("labels"))]
    resource = resource_class(target.kind)
    api = {"apiVersion": target.kind.api_version(), "kind": target.kind.kind}
    return [{**api, **client.get(resource, name)} for name in target.names]


def _where(kind: Kind, obj: Object) -> dict[str, str]:
    return {"namespace": obj["metadata"]["namespace"]} if kind.namespaced else {}


@command.command()
@_namespace_options
@click.option("--all", "everything", is_flag=True, help="Every object of the kind.")
@click.option("-f", "--filename", "sources", multiple=True, help="What the manifests name.")
@click.option("--wait/--no-wait", default=True, show_default=True, help="Until they are gone.")
@click.option("--ignore-not-found", is_flag=True)
@click.argument("resources", nargs=-1)
@click.pass_context
def delete(
    context: click.Context,
    /,
    resources: tuple[str, ...],
    namespace: str | None,
    sources: tuple[str, ...],
    **flags: bool,
) -> None:
    """Delete objects, and wait until they are gone."""
    with _connect(context, namespace, everywhere=flags["all_namespaces"]) as client:
        doomed = _doomed(client, resources, sources, everything=flags["everything"])
        gone: list[tuple[Kind, Object]] = []
        for kind, obj in doomed:
            name = obj["metadata"]["name"]
            try:
                client.delete(
                    resource_class(kind), name, cascade=CascadeType.BACKGROUND, **_where(kind, obj)
                )
            except ApiError as error:
                if error.status.code != 404 or not flags["ignore_not_found"]:
                    raise
                continue
            click.echo(f'{qualified(kind, "").rstrip("/")} "{name}" deleted')
            gone.append((kind, obj))
        for kind, obj in gone if flags["wait"] else ():
            _wait_until_gone(client, kind, obj)


def _doomed(
    client: Client, resources: Sequence[str], sources: Sequence[str], *, everything: bool
) -> list[tuple[Kind, Object]]:
    if sources:
        from mutua.api.kinds import find_by_kind

        objects = read_manifests(sources)
        pairs = [(find_by_kind(obj["apiVersion"], obj["kind"]), obj) for obj in objects]
        for _, obj in pairs:
            obj["metadata"].setdefault("namespace", client.namespace)
        return [(kind, obj) for kind, obj in reversed(pairs) if kind is not None]
    targets = parse_targets(resources)
    if not everything and any(not target.names for target in targets):
        raise Rejected("resource(s) were provided, but no name was specified", hint="add --all")
    found: list[tuple[Kind, Object]] = []
    for target in targets:
        if everything:
            found += [(target.kind, obj) for obj in _select(client, Target(target.kind))]
        else:
            stub = {"namespace": client.namespace}
            found += [(target.kind, {"metadata": {"name": n, **stub}}) for n in target.names]
    return found


def _wait_until_gone(client: Client, kind: Kind, obj: Object, patience: float = 120.0) -> None:
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        try:
            now = client.get(resource_class(kind), obj["metadata"]["name"], **_where(kind, obj))
        except ApiError as error:
            if error.status.code == 404:
                return
            raise
        if obj["metadata"].get("uid") not in {None, now["metadata"]["uid"]}:
            return
        time.sleep(POLL)
    raise Unavailable(f"{qualified(kind, obj['metadata']['name'])} is still there")


@command.command("exec", context_settings={"ignore_unknown_options": True})
@click.option("-n", "--namespace", default=None)
@click.option("-c", "--container", default=None)
@click.option("-i", "--stdin", is_flag=True, help="Pass standard input on.")
@click.argument("pod")
@click.argument("argv", nargs=-1, required=True, type=click.UNPROCESSED)
@click.pass_context
def execute(
    context: click.Context,
    /,
    pod: str,
    argv: tuple[str, ...],
    namespace: str | None,
    container: str | None,
    *,
    stdin: bool,
) -> None:
    """Run a program in a container: exec POD -- PROGRAM ARGUMENTS."""
    with _connect(context, namespace) as client:
        target = find_pod(client, pod)
        done = client.exec(
            target["metadata"]["name"],
            container=container or default_container(target),
            command=list(argv),
            stdin=sys.stdin.buffer if stdin else b"",  # b"": ends at once; None never would
            stdout=sys.stdout.buffer,
            stderr=sys.stderr.buffer,
        )
    sys.stdout.buffer.flush()
    sys.stderr.buffer.flush()
    if done.exit_code:
        click.echo(f"command terminated with exit code {done.exit_code}", err=True)
        sys.exit(done.exit_code)


@command.command()
@click.option("-n", "--namespace", default=None)
@click.option("-c", "--container", default=None)
@click.option("-f", "--follow", is_flag=True)
@click.option("--tail", type=int, default=None)
@click.option("--timestamps", is_flag=True)
@click.argument("pod")
@click.pass_context
def logs(
    context: click.Context,
    /,
    pod: str,
    namespace: str | None,
    container: str | None,
    tail: int | None,
    **flags: bool,
) -> None:
    """Show what a container wrote."""
    with _connect(context, namespace) as client:
        target = find_pod(client, pod)
        lines = client.log(
            target["metadata"]["name"],
            container=container or default_container(target),
            tail_lines=tail,
            follow=flags["follow"],
            timestamps=flags["timestamps"],
        )
        for line in lines:
            sys.stdout.write(line)
            sys.stdout.flush()


@command.command()
@click.option("-n", "--namespace", default=None)
@click.option("--overwrite", is_flag=True, help="Change labels that are there already.")
@click.argument("resource")
@click.argument("words", nargs=-1, required=True)
@click.pass_context
def label(
    context: click.Context,
    /,
    resource: str,
    words: tuple[str, ...],
    namespace: str | None,
    *,
    overwrite: bool,
) -> None:
    """Set or remove labels: label TYPE/NAME KEY=VALUE KEY-."""
    if "/" not in resource:
        resource, words = f"{resource}/{words[0]}", words[1:]
    target = parse_targets([resource])[0]
    changes: dict[str, str | None] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals and not word.endswith("-"):
            raise Rejected(f"{word!r} is neither KEY=VALUE nor KEY-")
        changes[key if equals else word[:-1]] = text if equals else None
    with _connect(context, namespace) as client:
        current = _select(client, target)[0]["metadata"].get("labels") or {}
        for key, value in changes.items():
            if not overwrite and value and current.get(key, value) != value:
                raise Rejected(
                    f"'{key}' already has a value ({current[key]})", hint="add --overwrite"
                )
        patch = {"metadata": {"labels": changes}}
        client.patch(
            resource_class(target.kind), target.names[0], patch, patch_type=PatchType.MERGE
        )
    click.echo(f"{qualified(target.kind, target.names[0])} labeled")


@command.command()
@_namespace_options
@click.option("--for", "goal", required=True, help="condition=NAME[=VALUE] or delete.")
@click.option("--timeout", default="30s", show_default=True)
@click.option("--all", "everything", is_flag=True)
@click.argument("resources", nargs=-1, required=True)
@click.pass_context
def wait(
    context: click.Context,
    /,
    resources: tuple[str, ...],
    namespace: str | None,
    goal: str,
    timeout: str,
    **_flags: bool,
) -> None:
    """Wait until objects reach a condition."""
    verb, _, rest = goal.partition("=")
    name, _, value = rest.partition("=")
    deadline = time.monotonic() + _seconds(timeout)
    with _connect(context, namespace, everywhere=_flags["all_namespaces"]) as client:
        for target in parse_targets(resources):
            for obj in _select(client, target):
                if verb == "delete":
                    _wait_until_gone(client, target.kind, obj, deadline - time.monotonic())
                else:
                    _wait_for(client, target.kind, obj, (name, value or "True"), deadline)
                title = qualified(target.kind, obj["metadata"]["name"])
                click.echo(f"{title} condition met")


def _wait_for(
    client: Client, kind: Kind, obj: Object, condition: tuple[str, str], deadline: float
) -> None:
    name, value = condition
    while True:
        now = client.get(resource_class(kind), obj["metadata"]["name"], **_where(kind, obj))
        held = (now.get("status") or {}).get("conditions") or []
        if any(c["type"].lower() == name.lower() and c["status"] == value for c in held):
            return
        if time.monotonic() > deadline:
            raise Unavailable(
                f"timed out waiting for the condition on {qualified(kind, obj['metadata']['name'])}"
            )
        time.sleep(POLL)


def _seconds(text: str) -> float:
    units = {"s": 1, "m": 60, "h": 3600}
    number, unit = (text[:-1], text[-1]) if text[-1:] in units else (text, "s")
    try:
        return float(number) * units[unit]
    except ValueError as error:
        raise Rejected(f"--timeout: {text!r} is not a duration such as 30s or 2m") from error


@command.group()
def rollout() -> None:
    """Manage the rollout of a deployment."""


@rollout.command()
@click.option("-n", "--namespace", default=None)
@click.argument("resource")
@click.pass_context
def restart(context: click.Context, resource: str, namespace: str | None) -> None:
    """Replace a deployment's pods, a few at a time."""
    target = parse_targets([resource])[0]
    now = rfc3339(datetime.now(UTC))
    template = {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": now}}}
    with _connect(context, namespace) as client:
        client.patch(
            resource_class(target.kind),
            target.names[0],
            {"spec": {"template": template}},
            patch_type=PatchType.STRATEGIC,
        )
    click.echo(f"{qualified(target.kind, target.names[0])} restarted")
