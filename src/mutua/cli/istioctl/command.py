"""`mutua istioctl`: istioctl's commands, as far as the mesh has what they show.

A command's module is imported when the command is called.  Whatever goes wrong is one line and
exit status 1, as istioctl does it.
"""

import importlib
from typing import Any, Final

import click
from typing_extensions import override

from mutua.cli.istioctl.names import ALIASES, COMMANDS, PLANNED
from mutua.cli.istioctl.scope import place_options, remember
from mutua.foundation.errors import MutuaError

PACKAGE: Final = "mutua.cli.istioctl"


class IstioctlGroup(click.Group):
    """Looks commands up by name or alias, and reports errors as istioctl does."""

    @override
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    @override
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        name = ALIASES.get(cmd_name, cmd_name)
        if name in COMMANDS:
            module = importlib.import_module(f"{PACKAGE}.{COMMANDS[name][0]}")
            assert isinstance(module.command, click.Command)  # noqa: S101 - a bug in COMMANDS
            return module.command
        there_are = ", ".join(COMMANDS)
        if cmd_name in PLANNED:
            raise click.UsageError(f"{cmd_name!r} is not built yet; there are: {there_are}")
        raise click.UsageError(
            f'unknown command "{cmd_name}" for "istioctl"; there are: {there_are}'
        )

    @override
    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    @override
    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        try:
            return super().make_context(*args, **extra)
        except click.exceptions.NoArgsIsHelpError as error:
            raise _Help(error) from error
        except click.UsageError as error:
            raise _Failed(error.format_message()) from error

    @override
    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.exceptions.NoArgsIsHelpError as error:
            raise _Help(error) from error
        except MutuaError as error:
            raise _Failed(f"{error}; {error.hint}" if error.hint else str(error)) from error
        except click.UsageError as error:
            raise _Failed(error.format_message()) from error


class _Help(click.exceptions.Exit):
    """A group without a command shows its help, which is no failure."""

    def __init__(self, error: click.exceptions.NoArgsIsHelpError) -> None:
        click.echo(error.format_message())
        super().__init__(0)


class _Failed(click.ClickException):
    """One line and exit status 1."""

    @override
    def show(self, file: Any = None) -> None:
        line = " ".join(self.format_message().split())
        click.echo(f"Error: {line}", err=True, file=file)


@click.group(cls=IstioctlGroup)
@place_options
@click.option("--name", "--mesh", default=None, metavar="NAME", help="Which mesh.")
@click.option("--state-dir", default=None, metavar="DIR", help="Where the mesh keeps its state.")
@click.pass_context
def command(context: click.Context, /, **given: str | None) -> None:
    """Look at the mesh as with istioctl."""
    remember(context, **given)
