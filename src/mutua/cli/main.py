"""`mutua`: one grammar for every command, and one way for a command to fail.

Commands live in sibling modules and are imported when they are called, so that `mutua env` does
not pay for the libraries of `mutua up`.  What a program could read goes to stdout, what is meant
for a person to stderr; a refusal is one line, an optional hint, and a non-zero exit status.
"""

import importlib
import logging
import os
import sys
from typing import Any, Final

import click
from typing_extensions import override

from mutua import __version__
from mutua.cli.settings import resolve_layout
from mutua.foundation.errors import MutuaError
from mutua.foundation.layout import Layout

COMMANDS: Final = {
    # name: (module, what the list of commands says)
    "up": ("mutua.cli.up", "Start the mesh of this machine."),
    "down": ("mutua.cli.down", "Stop it; nothing is left running."),
    "status": ("mutua.cli.status", "Show what runs and which mTLS mode is in force where."),
    "run": ("mutua.cli.run", "Make a program a workload of the mesh."),
    "env": ("mutua.cli.env", "Print the shell commands that point kubectl at the mesh."),
    "shell": ("mutua.cli.shell", "Open a shell in which kubectl speaks to the mesh."),
    "kubectl": (
        "mutua.cli.kubectl.command",
        "The everyday part of kubectl, where there is no kubectl.",
    ),
    "istioctl": ("mutua.cli.istioctl.command", "Look at proxies and policies as with istioctl."),
    "certs": ("mutua.cli.certs.command", "Show every identity, and when its certificate ends."),
    "strict": ("mutua.cli.strict.command", "Move to STRICT without fear."),
    "ca": ("mutua.cli.ca.command", "Rotate the CA, protect its keys, read what it issued."),
    "kick": ("mutua.cli.kick", "Cut somebody off: refuse, and close what is open."),
    "bench": ("mutua.cli.bench.command", "Measure this machine."),
    "version": ("mutua.cli.version", "Print the versions of mutua, its parts, and what runs."),
    "daemon": ("mutua.cli.daemon", ""),
}

HIDDEN: Final = frozenset({"daemon"})
"""Commands that only mutua itself starts."""


class _LazyGroup(click.Group):
    """Import a command's module when the command is asked for."""

    @override
    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name in COMMANDS if name not in HIDDEN]

    @override
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(COMMANDS[cmd_name][0])
        command = module.command
        assert isinstance(command, click.Command)  # noqa: S101 - a bug in COMMANDS
        return command

    @override
    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Let `mutua analyze` mean `mutua istioctl analyze`; mutua's own names come first."""
        if args and args[0] not in COMMANDS and args[0] in _istioctl_names():
            args = ["istioctl", *args]
        return super().resolve_command(ctx, args)

    @override
    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [(name, COMMANDS[name][1]) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)
        others = [name for name in _istioctl_names() if name not in COMMANDS]
        with formatter.section("Short for `mutua istioctl …`"):
            formatter.write_text(", ".join(others))


def _istioctl_names() -> list[str]:
    from mutua.cli.istioctl.names import ALIASES
    from mutua.cli.istioctl.names import COMMANDS as NAMES

    return [*NAMES, *ALIASES]


@click.group(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with `mutua up`, then `mutua shell`.",
)
@click.version_option(__version__, "--version", prog_name="mutua")
def cli() -> None:
    """Mutual TLS for every service of this machine, with Istio's API."""


def mesh_options(function: Any) -> Any:
    """Give a command `--name` and `--state-dir`."""
    for option in (
        click.option("--state-dir", metavar="DIR", help="Where the mesh keeps its state."),
        click.option(
            "--name",
            "--mesh",
            "name",
            metavar="NAME",
            help="Which mesh; several can run on one machine.",
        ),
    ):
        function = option(function)
    return function


def layout_of(name: str | None, state_dir: str | None) -> Layout:
    """Resolve `--name` and `--state-dir` against this process's environment."""
    return resolve_layout(name, state_dir, environ=os.environ, uid=os.getuid())


def main() -> None:
    """Run the command line; the console script's entry point."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        status = cli.main(standalone_mode=False, prog_name="mutua")
        sys.exit(status if isinstance(status, int) else 0)
    except MutuaError as error:
        click.echo(f"mutua: error: {error}", err=True)
        if error.hint:
            click.echo(f"mutua: hint: {error.hint}", err=True)
        sys.exit(error.exit_status)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(141)
    except OSError as error:  # a full disk, a read-only or foreign file: not a bug
        place = f"{error.filename}: " if error.filename else ""
        click.echo(f"mutua: error: {place}{error.strerror or error}", err=True)
        sys.exit(1)
