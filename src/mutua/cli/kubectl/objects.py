"""`mutua kubectl apply` and `get`: objects in, objects out."""

import click

from mutua.cli.apply import apply_object
from mutua.cli.kubectl.arguments import parse_targets
from mutua.cli.kubectl.display import Found, print_found
from mutua.cli.kubectl.failure import Failures
from mutua.cli.kubectl.session import (
    Session,
    each,
    everywhere_option,
    namespace_option,
    read_object,
    read_objects,
    selector_option,
)
from mutua.cli.manifests import read_manifests
from mutua.foundation.errors import Rejected


@click.command()
@click.option(
    "-f",
    "--filename",
    "sources",
    multiple=True,
    required=True,
    metavar="PATH",
    help="File, folder, or - for standard input; may be repeated.",
)
@namespace_option
@click.pass_obj
def apply(session: Session, sources: tuple[str, ...], namespace: str | None) -> None:
    """Create or change objects so that they are as the manifests say."""
    manifests = read_manifests(sources)
    failures = Failures()
    with session.connect(namespace) as client:
        for manifest in manifests:
            with failures.collected():
                _require_namespace(manifest.obj["metadata"].get("namespace"), namespace)
                click.echo(apply_object(client, manifest.obj, source=manifest.source))
    failures.report()


def _require_namespace(written: str | None, asked: str | None) -> None:
    if asked and written and asked != written:
        raise Rejected(
            f'the namespace from the provided object "{written}" does not match the namespace '
            f"\"{asked}\". You must pass '--namespace={written}' to perform this operation."
        )


@click.command()
@namespace_option
@everywhere_option
@selector_option
@click.option("-o", "--output", type=click.Choice(["wide", "yaml", "json", "name"]))
@click.option("--no-headers", is_flag=True, help="Leave out the line with the columns' names.")
@click.option("--ignore-not-found", is_flag=True, help="A missing object is no failure.")
@click.argument("resources", nargs=-1, required=True, metavar="TYPE[/NAME] [NAME]...")
@click.pass_obj
def get(
    session: Session,
    resources: tuple[str, ...],
    namespace: str | None,
    output: str | None,
    selector: str,
    *,
    all_namespaces: bool,
    no_headers: bool,
    ignore_not_found: bool,
) -> None:
    """Show objects.

    \b
    kubectl get pods,services -A
    kubectl get deploy/web -o yaml
    """  # noqa: D301 - click's mark for "do not wrap"
    found, failures = Found(namespaces=all_namespaces), Failures()
    targets = parse_targets(resources)
    with session.connect(namespace, everywhere=all_namespaces) as client:
        found.namespace = client.namespace
        for target in each(targets):
            with failures.collected():
                if target.names:
                    found.add(target.kind, [read_object(client, target.kind, target.names[0])])
                else:
                    found.add(target.kind, read_objects(client, target, selector))
    found.is_single = len(list(each(targets))) == 1 and bool(targets[0].names)
    if ignore_not_found:
        failures = failures.without("(NotFound)")
    if found.groups or not failures:
        print_found(found, output, headers=not no_headers)
    failures.report()
