"""What every istioctl command accepts, and how each prints."""

import functools
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from mutua.cli.main import layout_of
from mutua.foundation.errors import Rejected
from mutua.foundation.layout import Layout
from mutua.policy.injection import Revisions

ROOT_NAMESPACE: Final = "istio-system"
"""Where Istio keeps what belongs to the whole mesh; mutua keeps it there too."""

PLACE: Final = ("namespace", "istio_namespace", "kubeconfig", "kube_context", "revision")
"""What place options are called."""


def context_name(mesh: str) -> str:
    """Return the kubeconfig's context of a mesh; mutua.cluster.apiserver.credentials writes it."""
    return f"mutua-{mesh}"


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


def place_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command istioctl's options for which mesh and which namespace."""
    for option in (
        click.option("-n", "--namespace", default=None, help="Default: default."),
        click.option("-i", "--istioNamespace", "istio_namespace", default=None, hidden=True),
        click.option("-c", "--kubeconfig", default=None, hidden=True),
        click.option("--context", "kube_context", default=None, hidden=True),
        click.option("--revision", default=None, hidden=True),
    ):
        function = option(function)
    return function


def scoped(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the place options, and a `Scope` as its first argument.

    What was said before the command's name holds unless it is said again behind it.
    """

    @place_options
    @click.pass_context
    @functools.wraps(function)
    def command(context: click.Context, /, *args: Any, **options: Any) -> Any:
        behind = {one: value for one in PLACE if (value := options.pop(one, None)) is not None}
        given = {**context.meta.get(__name__, {}), **behind}
        layout = layout_of(given.get("name"), given.get("state_dir"))
        _check(layout, given)
        return function(Scope(layout, given.get("namespace") or ""), *args, **options)

    return command


def _check(layout: Layout, given: Mapping[str, Any]) -> None:
    """Refuse what names another mesh than the one that is asked.

    Raises:
        Rejected: There is one namespace, kubeconfig, context and revision per mesh.
    """
    namespace, kubeconfig = given.get("istio_namespace"), given.get("kubeconfig")
    if namespace not in {None, ROOT_NAMESPACE}:
        raise Rejected(f"this mesh's Istio namespace is {ROOT_NAMESPACE}")
    if kubeconfig and Path(kubeconfig).resolve() != layout.kubeconfig.resolve():
        raise Rejected(
            f"the kubeconfig of mesh {layout.name!r} is {layout.kubeconfig}",
            hint="another mesh is chosen with --mesh NAME before the command",
        )
    own = context_name(layout.name)
    if given.get("kube_context") not in {None, "", own}:
        raise Rejected(
            f"the context of mesh {layout.name!r} is {own}",
            hint="another mesh is chosen with --mesh NAME before the command",
        )
    check_revision(given.get("revision"))


def check_revision(name: str | None) -> None:
    """Refuse a revision that no control plane has.

    Raises:
        Rejected: There is one control plane.
    """
    revisions = Revisions()
    if name not in {None, "", revisions.revision, *revisions.tags}:
        raise Rejected(f"no control plane has revision {name!r}; there is {revisions.revision}")


def remember(context: click.Context, **given: str | None) -> None:
    """Keep what was said before the command's name, for `scoped`."""
    context.meta[__name__] = {name: value for name, value in given.items() if value is not None}


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
