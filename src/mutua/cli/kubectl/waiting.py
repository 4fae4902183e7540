"""`mutua kubectl wait`: until objects are as asked for."""

import time

import click
from lightkube import Client

from mutua.api.kinds import Kind
from mutua.api.object import Object
from mutua.cli.client import resource_class
from mutua.cli.kubectl.arguments import parse_targets, qualified
from mutua.cli.kubectl.failure import Failures
from mutua.cli.kubectl.session import (
    Session,
    each,
    everywhere_option,
    namespace_option,
    place,
    read_object,
    read_objects,
    seconds,
    selector_option,
    until,
    until_gone,
)
from mutua.foundation.errors import Rejected


@click.command()
@namespace_option
@everywhere_option
@selector_option
@click.option(
    "--for", "goal", required=True, metavar="GOAL", help="condition=NAME[=VALUE], or delete."
)
@click.option("--timeout", default="30s", show_default=True, help="Such as 30s, 2m or 1h.")
@click.option("--all", "everything", is_flag=True, help="Every object of the kind.")
@click.argument("resources", nargs=-1, required=True, metavar="TYPE[/NAME] [NAME]...")
@click.pass_obj
def wait(
    session: Session,
    resources: tuple[str, ...],
    namespace: str | None,
    goal: str,
    timeout: str,
    selector: str,
    *,
    everything: bool,
    all_namespaces: bool,
) -> None:
    """Wait until objects are as asked for.

    \b
    kubectl wait --for=condition=Available deploy/web --timeout=60s
    """  # noqa: D301 - click's mark for "do not wrap"
    condition = read_goal(goal)
    deadline = time.monotonic() + seconds(timeout)
    targets = parse_targets(resources)
    if not (everything or selector) and any(not target.names for target in targets):
        raise Rejected("resource(s) were provided, but no name was specified", hint="add --all")
    failures = Failures()
    with session.connect(namespace, everywhere=all_namespaces) as client:
        found: list[tuple[Kind, Object]] = []
        for target in each(targets):
            with failures.collected():
                objects = (
                    [read_object(client, target.kind, target.names[0])]
                    if target.names
                    else read_objects(client, target, selector)
                )
                found += [(target.kind, obj) for obj in objects]
        if not (found or failures) and condition is not None:
            raise Rejected("no matching resources found")
        for kind, obj in found:
            with failures.collected():
                if condition is None:
                    until_gone(client, kind, obj, deadline)
                else:
                    _until_condition(client, kind, obj, condition, deadline)
                title = qualified(kind, obj["metadata"]["name"])
                click.echo(f"{title} condition met")
    failures.report()


def read_goal(goal: str) -> tuple[str, str] | None:
    """Return the name and the value of a condition, None for deletion.

    Raises:
        Rejected: It is something else.
    """
    verb, _, rest = goal.partition("=")
    name, _, value = rest.partition("=")
    if goal == "delete":
        return None
    if verb != "condition" or not name:
        raise Rejected(f"--for: {goal!r} is neither condition=NAME[=VALUE] nor delete")
    return name, value or "True"


def _until_condition(
    client: Client, kind: Kind, obj: Object, condition: tuple[str, str], deadline: float
) -> None:
    name, value = (text.lower() for text in condition)

    def holds() -> bool:
        now = client.get(resource_class(kind), obj["metadata"]["name"], **place(kind, obj))
        status = now.get("status") or {}
        seen = status.get("observedGeneration", now["metadata"].get("generation"))
        if seen != now["metadata"].get("generation"):
            return False  # the conditions are about an older version of the object
        conditions = status.get("conditions") or []
        return any(c["type"].lower() == name and c["status"].lower() == value for c in conditions)

    title = f"{kind.resource.plural}/{obj['metadata']['name']}"
    until(holds, deadline, f"timed out waiting for the condition on {title}")
