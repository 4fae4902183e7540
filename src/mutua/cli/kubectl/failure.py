"""How does kubectl say that something went wrong?  In its own words, with exit status 1.

One command may fail for some objects and succeed for others: what failed is said at the end.
"""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Self

import click
from lightkube import ApiError
from typing_extensions import override

from mutua.foundation.errors import MutuaError


def sentence(error: Exception) -> str:
    """Return kubectl's line for an error."""
    cause = error if isinstance(error, ApiError) else error.__cause__
    if isinstance(cause, ApiError):
        return _refusal(cause)
    hint = error.hint if isinstance(error, MutuaError) else ""
    return f"error: {error}" + (f"; {hint}" if hint else "")


def _refusal(error: ApiError) -> str:
    status = error.status
    details = status.details
    if status.reason != "Invalid" or details is None:
        return f"Error from server ({status.reason}): {status.message}"
    causes = dict.fromkeys(f"{one.field}: {one.message}" for one in details.causes or ())
    title = f'The {details.kind} "{details.name}" is invalid'
    if len(causes) == 1:
        return f"{title}: {next(iter(causes))}"
    return f"{title}: " + "".join(f"\n* {cause}" for cause in causes)


class Failures:
    """What failed for some of the objects of one command."""

    def __init__(self, lines: Iterable[str] = ()) -> None:
        self._lines = list(lines)

    @contextmanager
    def collected(self) -> Iterator[None]:
        """Keep an error for later."""
        try:
            yield
        except (ApiError, MutuaError) as error:
            self._lines.append(sentence(error))

    def __bool__(self) -> bool:
        """Whether anything failed."""
        return bool(self._lines)

    def without(self, text: str) -> Self:
        """Return the failures whose line does not contain `text`."""
        return type(self)(line for line in self._lines if text not in line)

    def report(self) -> None:
        """Say what failed, and end the command if anything did."""
        for line in self._lines:
            click.echo(line, err=True)
        if self._lines:
            sys.exit(1)


class KubectlGroup(click.Group):
    """A group whose commands fail as kubectl's do."""

    @override
    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except MutuaError as error:
            click.echo(sentence(error), err=True)
        except click.UsageError as error:
            name = error.ctx.command_path if error.ctx else "mutua kubectl"
            click.echo(f"error: {error.format_message()}\nSee '{name} --help' for usage.", err=True)
        sys.exit(1)
