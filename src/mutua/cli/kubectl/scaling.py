"""`mutua kubectl scale`: how many pods a workload has."""

import click
from lightkube.types import PatchType

from mutua.cli.client import resource_class
from mutua.cli.kubectl.arguments import parse_targets, qualified
from mutua.cli.kubectl.failure import Failures
from mutua.cli.kubectl.session import Session, each, namespace_option
from mutua.foundation.errors import Rejected


@click.command()
@namespace_option
@click.option("--replicas", type=click.IntRange(min=0), required=True, help="How many.")
@click.argument("resources", nargs=-1, required=True, metavar="TYPE[/NAME] [NAME]...")
@click.pass_obj
def scale(
    session: Session, resources: tuple[str, ...], namespace: str | None, replicas: int
) -> None:
    """Set how many pods a deployment or statefulset has.

    \b
    kubectl scale sts/web --replicas=3
    """  # noqa: D301 - click's mark for "do not wrap"
    failures = Failures()
    targets = parse_targets(resources)
    if any(not target.names for target in targets):
        raise Rejected("resource(s) were provided, but no name was specified")
    patch = {"spec": {"replicas": replicas}}
    with session.connect(namespace) as client:
        for target in each(targets):
            [name] = target.names
            with failures.collected():
                kind = resource_class(target.kind).Scale
                client.patch(kind, name, patch, patch_type=PatchType.MERGE)
                click.echo(f"{qualified(target.kind, name)} scaled")
    failures.report()
