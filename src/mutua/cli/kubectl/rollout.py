"""`mutua kubectl rollout`: replace the pods of a workload, and see how far that is."""

import time
from datetime import UTC, datetime
from typing import Final

import click
from lightkube import Client
from lightkube.types import PatchType

from mutua.api.kinds import Kind
from mutua.api.object import DEPLOYMENTS, STATEFUL_SETS, Object
from mutua.cli.client import resource_class
from mutua.cli.kubectl.arguments import parse_targets, qualified
from mutua.cli.kubectl.delete import FOREVER
from mutua.cli.kubectl.failure import KubectlGroup
from mutua.cli.kubectl.session import Session, namespace_option, read_object, seconds, until
from mutua.foundation.clock import rfc3339
from mutua.foundation.errors import Rejected, Unavailable

RESTARTED_AT: Final = "kubectl.kubernetes.io/restartedAt"
"""A change of this annotation is a change of the pod template."""


@click.group(cls=KubectlGroup)
def rollout() -> None:
    """Manage the rollout of a deployment or statefulset."""


def _rolled(client: Client, words: tuple[str, ...], doing: str) -> tuple[Kind, str]:
    target = parse_targets(words)[0]
    if not target.names:
        raise Rejected("required resource not specified", hint="such as deployment/web")
    name = target.names[0]
    if target.kind.resource not in {DEPLOYMENTS, STATEFUL_SETS}:
        read_object(client, target.kind, name)  # first of all it has to exist
        raise Rejected(f'{target.kind.resource.plural} "{name}" {doing} is not supported')
    return target.kind, name


@rollout.command()
@namespace_option
@click.argument("words", nargs=-1, required=True, metavar="TYPE/NAME")
@click.pass_obj
def restart(session: Session, words: tuple[str, ...], namespace: str | None) -> None:
    """Replace the pods of a deployment or statefulset, a few at a time."""
    now = rfc3339(datetime.now(UTC))
    template = {"metadata": {"annotations": {RESTARTED_AT: now}}}
    patch = {"spec": {"template": template}}
    with session.connect(namespace) as client:
        kind, name = _rolled(client, words, "restarting")
        client.patch(resource_class(kind), name, patch, patch_type=PatchType.STRATEGIC)
    click.echo(f"{qualified(kind, name)} restarted")


@rollout.command()
@namespace_option
@click.option("--timeout", default="0s", help="How long to wait, such as 30s; 0s: a week.")
@click.argument("words", nargs=-1, required=True, metavar="TYPE/NAME")
@click.pass_obj
def status(session: Session, words: tuple[str, ...], namespace: str | None, timeout: str) -> None:
    """Wait until the pods of a deployment or statefulset are the new ones."""
    deadline = time.monotonic() + (seconds(timeout) or FOREVER)
    said = ""
    with session.connect(namespace) as client:
        kind, name = _rolled(client, words, "status")

        def done() -> bool:
            nonlocal said
            line, finished = progress(kind, read_object(client, kind, name))
            if line != said:
                click.echo(line)
                said = line
            return finished

        until(done, deadline, "timed out waiting for the condition")


def progress(kind: Kind, obj: Object) -> tuple[str, bool]:
    """Return kubectl's line about a rollout, and whether it is finished.

    Raises:
        Rejected: Updates wait for somebody to delete pods.
        Unavailable: It makes no progress.
    """
    strategy = (obj["spec"].get("updateStrategy") or {}).get("type", "RollingUpdate")
    if strategy != "RollingUpdate":
        raise Rejected("rollout status is only available for RollingUpdate strategy type")
    seen = (obj.get("status") or {}).get("observedGeneration", 0)
    if obj["metadata"].get("generation", 0) > seen:
        return f"Waiting for {kind.singular} spec update to be observed...", False
    if kind.resource == STATEFUL_SETS:
        return _stateful_progress(obj)
    return _deployment_progress(obj)


def _deployment_progress(deployment: Object) -> tuple[str, bool]:
    name, spec = deployment["metadata"]["name"], deployment["spec"]
    seen = deployment.get("status") or {}
    for condition in seen.get("conditions") or []:
        if condition["type"] == "Progressing" and (
            condition.get("reason") == "ProgressDeadlineExceeded"
        ):
            raise Unavailable(f'deployment "{name}" exceeded its progress deadline')
    counts = ("replicas", "updatedReplicas", "availableReplicas")
    total, updated, available = (seen.get(count) or 0 for count in counts)
    wanted = spec.get("replicas", 1)
    waiting = f'Waiting for deployment "{name}" rollout to finish: '
    if updated < wanted:
        return f"{waiting}{updated} out of {wanted} new replicas have been updated...", False
    if total > updated:
        return f"{waiting}{total - updated} old replicas are pending termination...", False
    if available < updated:
        return f"{waiting}{available} of {updated} updated replicas are available...", False
    return f'deployment "{name}" successfully rolled out', True


def _stateful_progress(stateful_set: Object) -> tuple[str, bool]:
    spec, seen = stateful_set["spec"], stateful_set.get("status") or {}
    wanted, ready = spec.get("replicas", 1), seen.get("readyReplicas", 0)
    if ready < wanted:
        return f"Waiting for {wanted - ready} pods to be ready...", False
    strategy, updated = spec["updateStrategy"], seen.get("updatedReplicas", 0)
    due = wanted - (strategy.get("rollingUpdate") or {}).get("partition", 0)
    if updated < due:
        waiting = "Waiting for partitioned roll out to finish: "
        return f"{waiting}{updated} out of {due} new pods have been updated...", False
    return f"partitioned roll out complete: {updated} new pods have been updated...", True
