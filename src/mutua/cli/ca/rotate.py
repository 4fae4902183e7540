"""`mutua ca rotate`: move the mesh to another root or intermediate while traffic flows."""

import time
from typing import Any, Final

import click

from mutua.cli.ca import status
from mutua.cli.main import layout_of, mesh_options

TIMEOUT: Final = 600.0


@click.group()
def command() -> None:
    r"""Move the mesh to another CA, in steps that each proxy proves; no request is lost.

    \b
    Distribute  every proxy learns to trust the new CA
    Issue       every workload gets a certificate of the new CA
    Withdraw    every proxy forgets the old CA

    A rotation goes on by itself, also after a restart; it can be turned around at any stage.
    """


def _waiting(function: Any) -> Any:
    for option in (
        click.option("--no-wait", is_flag=True, help="Only begin; it goes on by itself."),
        click.option(
            "--timeout",
            type=click.FloatRange(min=0.1),
            default=TIMEOUT,
            show_default=True,
            metavar="SECONDS",
            help="How long to watch it.",
        ),
    ):
        function = option(function)
    return mesh_options(function)


_elsewhere = click.option(
    "--ignore-elsewhere",
    is_flag=True,
    help="Do not wait for certificates issued over the network to end or be renewed: their holders "
    "are refused once the old CA is withdrawn.",
)


@command.command()
@_elsewhere
@_waiting
def root(name: str | None, state_dir: str | None, **wanted: Any) -> None:
    """Replace the self-signed root by a new one with a new key."""
    _rotate(name, state_dir, "Root", **wanted)


@command.command()
@_elsewhere
@_waiting
def intermediate(name: str | None, state_dir: str | None, **wanted: Any) -> None:
    """Sign with a new intermediate below the present self-signed root."""
    _rotate(name, state_dir, "Intermediate", **wanted)


@command.command()
@_waiting
def abort(name: str | None, state_dir: str | None, **wanted: Any) -> None:
    """Turn the rotation under way around; the former CA signs again."""
    from mutua.cli.ca import authority
    from mutua.cli.client import connect

    with connect(layout_of(name, state_dir)) as client:
        rotation = authority.abort(client)
        _watch(client, rotation, "the former CA signs again", **wanted)


command.add_command(status.command, "status")


def _rotate(
    name: str | None,
    state_dir: str | None,
    replace: str,
    *,
    ignore_elsewhere: bool,
    **wanted: Any,
) -> None:
    from mutua.cli.ca import authority
    from mutua.cli.client import connect

    with connect(layout_of(name, state_dir)) as client:
        rotation = authority.request(client, replace, ignore_elsewhere=ignore_elsewhere)
        _watch(client, rotation, "", **wanted)


def _watch(client: Any, rotation: str, result: str, *, no_wait: bool, timeout: float) -> None:
    from mutua.cli.ca import authority

    if no_wait:
        click.echo("begun; watch it with: mutua ca rotate status")
        return
    began, stage = time.monotonic(), ""
    try:
        for moving in authority.follow(client, rotation, timeout):
            if moving["aborted"] and not result:
                result = "the rotation was aborted; the former CA signs again"
            if moving["stage"] != stage or moving["waitingFor"]:
                click.echo(f"{moving['stage']:<10}  {moving['message']}", err=True)
            stage = moving["stage"]
    except KeyboardInterrupt:
        click.echo("it goes on: mutua ca rotate status", err=True)
        raise
    took = time.monotonic() - began
    issuing = authority.read(client)["status"]["issuing"]
    result = result or "the new CA signs, and only it is trusted"
    click.echo(f"{result}: {issuing['subject']}, serial {issuing['serialNumber']} ({took:.1f} s)")
