"""Groups of commands whose members also go by other names."""

from collections.abc import Mapping
from typing import Any

import click
from typing_extensions import override


class AliasedGroup(click.Group):
    """Finds a command by name or alias; an unknown one is told what there is."""

    def __init__(self, *args: Any, aliases: Mapping[str, str] | None = None, **extra: Any) -> None:
        """Take click's arguments, and other names for commands."""
        super().__init__(*args, **extra)
        self._aliases = aliases or {}

    @override
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        found = super().get_command(ctx, self._aliases.get(cmd_name, cmd_name))
        if found is None:
            there_are = ", ".join(self.list_commands(ctx))
            raise click.UsageError(
                f'no command "{cmd_name}" in "{ctx.info_name}"; there are: {there_are}'
            )
        return found
