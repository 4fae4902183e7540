"""`mutua shell`: a shell in which kubectl and istioctl speak to the mesh."""

import os
import shutil
import sys
from pathlib import Path
from typing import Final

import click

from mutua.cli.env import variables
from mutua.cli.main import layout_of, mesh_options

NOT_FOUND: Final = 127
"""A shell's exit status for a program that is not there."""

STAND_INS: Final = ("kubectl", "istioctl")
"""Tools that mutua can stand in for."""


@click.command(context_settings={"ignore_unknown_options": True})
@mesh_options
@click.argument("argv", nargs=-1, type=click.UNPROCESSED)
def command(name: str | None, state_dir: str | None, argv: tuple[str, ...]) -> None:
    """Open a shell (or run ARGV) in which kubectl and istioctl speak to the mesh.

    Where the machine has none of them, the shell gets one: mutua's own.
    """
    layout = layout_of(name, state_dir)
    environ = {**os.environ, **variables(layout)}
    folders = [str(Path(sys.executable).parent), str(_stand_ins(layout.state))]
    environ["PATH"] = os.pathsep.join([environ.get("PATH", os.defpath), *folders])
    program = list(argv) or [environ.get("SHELL") or "/bin/sh"]
    if not argv:
        click.echo(
            f"kubectl and istioctl speak to the mesh {layout.name!r} here; leave with `exit`",
            err=True,
        )
    found = shutil.which(program[0], path=environ["PATH"])
    if found is None:
        click.echo(f"mutua: error: no such program: {program[0]}", err=True)
        sys.exit(NOT_FOUND)
    os.execve(found, program, environ)  # noqa: S606 - the user's own command


def _stand_ins(state: Path) -> Path:
    """Make mutua's own tools callable by the names of those the machine may lack.

    Returns:
        Their folder; it is last in the search path, so that the machine's own tools win.
    """
    folder = state / "bin"
    folder.mkdir(mode=0o700, exist_ok=True)
    for tool in STAND_INS:
        script = folder / tool
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m mutua {tool} "$@"\n')
        script.chmod(0o700)
    return folder
