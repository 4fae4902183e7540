"""The group `mutua ca`; each of its commands is imported when it is called."""

import importlib
from typing import Final

import click
from typing_extensions import override

COMMANDS: Final = {
    # name: module
    "status": "mutua.cli.ca.status",
    "rotate": "mutua.cli.ca.rotate",
    "audit": "mutua.cli.ca.audit",
    "protect": "mutua.cli.ca.protect",
}


class _LazyGroup(click.Group):
    @override
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    @override
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(COMMANDS[cmd_name]).command
        assert isinstance(command, click.Command)  # noqa: S101 - a bug in COMMANDS
        return command


@click.group(cls=_LazyGroup)
def command() -> None:
    """Look after the certificate authority: its keys, its rotation, and what it issued."""
