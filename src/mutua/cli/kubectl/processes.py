"""`mutua kubectl exec` and `logs`: what runs in a pod, and what it wrote."""

import sys
from typing import BinaryIO

import click

from mutua.cli.kubectl.pods import choose_container, find_pod
from mutua.cli.kubectl.session import Session, namespace_option, seconds
from mutua.foundation.errors import Rejected

container_option = click.option(
    "-c", "--container", metavar="NAME", help="Default: the one that the pod names, or its first."
)


@click.command("exec", context_settings={"ignore_unknown_options": True})
@namespace_option
@container_option
@click.option("-i", "--stdin", is_flag=True, help="Pass standard input on.")
@click.option("-t", "--tty", is_flag=True, hidden=True)
@click.argument("pod", metavar="POD|TYPE/NAME")
@click.argument("argv", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- PROGRAM...")
@click.pass_obj
def execute(
    session: Session,
    pod: str,
    argv: tuple[str, ...],
    namespace: str | None,
    container: str | None,
    *,
    stdin: bool,
    tty: bool,
) -> None:
    """Run a program in a container.

    \b
    kubectl exec deploy/web -c istio-proxy -- curl -s localhost:15000/stats
    """  # noqa: D301 - click's mark for "do not wrap"
    if tty:
        raise Rejected("no terminals yet (-t)", hint="leave -t out")
    with session.connect(namespace) as client:
        target = find_pod(client, pod)
        done = client.exec(
            target["metadata"]["name"],
            container=choose_container(target, container),
            command=list(argv),
            stdin=sys.stdin.buffer if stdin else b"",  # b"": ends at once; None never would
            stdout=_unbuffered(1),
            stderr=_unbuffered(2),
        )
    if done.exit_code:
        click.echo(f"command terminated with exit code {done.exit_code}", err=True)
        sys.exit(done.exit_code)


def _unbuffered(number: int) -> BinaryIO:
    """Return one of our streams, so that output appears when it is written."""
    raw: BinaryIO = open(number, "wb", buffering=0, closefd=False)  # noqa: SIM115
    return raw


@click.command()
@namespace_option
@container_option
@click.option("-f", "--follow", is_flag=True, help="Go on until the container ends.")
@click.option("--tail", type=int, default=None, metavar="LINES", help="Only the last ones.")
@click.option("--since", default=None, metavar="DURATION", help="Only newer ones, such as 30s.")
@click.option("--timestamps", is_flag=True, help="Begin each line with its time.")
@click.argument("pod", metavar="POD|TYPE/NAME")
@click.argument("container_name", required=False, default=None, metavar="[CONTAINER]")
@click.pass_obj
def logs(
    session: Session,
    pod: str,
    container_name: str | None,
    namespace: str | None,
    container: str | None,
    tail: int | None,
    since: str | None,
    *,
    follow: bool,
    timestamps: bool,
) -> None:
    """Show what a container wrote.

    \b
    kubectl logs -f deploy/web
    """  # noqa: D301 - click's mark for "do not wrap"
    with session.connect(namespace) as client:
        target = find_pod(client, pod)
        lines = client.log(
            target["metadata"]["name"],
            container=choose_container(target, container or container_name),
            tail_lines=tail,
            since=max(1, round(seconds(since))) if since else None,
            follow=follow,
            timestamps=timestamps,
        )
        for line in lines:
            click.echo(line, nl=False)
