"""`mutua shell`: a shell in which kubectl speaks to the mesh."""

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


@click.command(context_settings={"ignore_unknown_options": True})
@mesh_options
@click.argument("argv", nargs=-1, type=click.UNPROCESSED)
def command(name: str | None, state_dir: str | None, argv: tuple[str, ...]) -> None:
    """Open a shell (or run ARGV) in which kubectl speaks to the mesh.

    Where the machine has no kubectl, the shell gets one: mutua's own.
    """
    layout = layout_of(name, state_dir)
    environ = {**os.environ, **variables(layout)}
    folders = [str(Path(sys.executable).parent)]
    if shutil.which("kubectl") is None:
        folders.append(str(_own_kubectl(layout.state)))
    environ["PATH"] = os.pathsep.join([environ.get("PATH", os.defpath), *folders])
    program = list(argv) or [environ.get("SHELL") or "/bin/sh"]
    if not argv:
        click.echo(f"kubectl speaks to the mesh {layout.name!r} here; leave with `exit`", err=True)
    found = shutil.which(program[0], path=environ["PATH"])
    if found is None:
        click.echo(f"mutua: error: no such program: {program[0]}", err=True)
        sys.exit(NOT_FOUND)
    os.execve(found, program, environ)  # noqa: S606 - the user's own command


def _own_kubectl(state: Path) -> Path:
    """Write a `kubectl` that is `mutua kubectl` and return its folder."""
    folder = state / "bin"
    folder.mkdir(mode=0o700, exist_ok=True)
    script = folder / "kubectl"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m mutua kubectl "$@"\n')
    script.chmod(0o700)
    return folder
