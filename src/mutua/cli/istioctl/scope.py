"""What every istioctl command accepts, and how each prints."""

import functools
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import click

from mutua.cli.main import layout_of
from mutua.foundation.errors import Rejected
from mutua.foundation.layout import Layout

ROOT_NAMESPACE: Final = "istio-system"
"""Where Istio keeps what belongs to the whole mesh; mutua keeps it there too."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Which mesh, and which namespace when an argument names none.

    Attributes:
        layout: The mesh's directories.
        named: What `-n` said, "" without it.
    """

    layout: Layout
    named: str

    @property
    def namespace(self) -> str:
        """Where a name without a namespace is looked up."""
        return self.named or "default"

    @contextmanager
    def connect(self) -> Iterator[Any]:
        """Yield a client of the mesh; see `mutua.cli.client.connect`."""
        from mutua.cli.client import connect

        with connect(self.layout, self.namespace) as client:
            yield client


def scoped(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command `-n` and `-i`, and a `Scope` as its first argument."""

    @click.option("-n", "--namespace", default=None, help="Default: default.")
    @click.option("-i", "--istioNamespace", "istio_namespace", default=None, hidden=True)
    @click.pass_context
    @functools.wraps(function)
    def command(
        context: click.Context,
        /,
        *args: Any,
        namespace: str | None,
        istio_namespace: str | None,
        **options: Any,
    ) -> Any:
        given = {**(context.find_root().meta.get(__name__) or {}), **context.meta.get(__name__, {})}
        if istio_namespace not in {None, ROOT_NAMESPACE}:
            raise Rejected(f"this mesh's Istio namespace is {ROOT_NAMESPACE}")
        scope = Scope(
            layout_of(given.get("name"), given.get("state_dir")),
            namespace or given.get("namespace") or "",
        )
        return function(scope, *args, **options)

    return command


def remember(context: click.Context, **given: str | None) -> None:
    """Keep what was said before the command's name, for `scoped`."""
    context.meta[__name__] = given


def output_option(*choices: str, default: str | None = "short") -> Callable[..., Any]:
    """Give a command `-o`."""
    return click.option(
        "-o",
        "--output",
        type=click.Choice(choices),
        default=default,
        show_default=True,
        help="Output format.",
    )


def switch(*names: str, help: str) -> Callable[..., Any]:  # noqa: A002 - click's word
    """Give a command a flag that is on, written as Go's: `--flag`, `--flag=false`."""
    return click.option(
        *names, type=bool, is_flag=False, flag_value="true", default=True, help=help
    )


def print_document(value: Any, output: str) -> None:
    """Print a value as JSON or YAML."""
    if output == "yaml":
        import yaml

        click.echo(yaml.safe_dump(value, sort_keys=False), nl=False)
    else:
        click.echo(json.dumps(value, indent=4))
