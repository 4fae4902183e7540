"""`mutua env`: what must a shell know to reach the mesh?"""

import shlex

import click

from mutua.cli.main import layout_of, mesh_options
from mutua.foundation.errors import Unavailable
from mutua.foundation.layout import Layout


def variables(layout: Layout) -> dict[str, str]:
    """Return the environment that points clients at the mesh.

    Raises:
        Unavailable: The mesh has never been started.
    """
    if not layout.kubeconfig.exists():
        raise Unavailable(f"the mesh {layout.name!r} has not been started", hint="run: mutua up")
    return {
        "KUBECONFIG": str(layout.kubeconfig),
        "MUTUA_NAME": layout.name,
        "MUTUA_STATE_DIR": str(layout.state),
    }


def exports(layout: Layout) -> str:
    """Return one `export NAME=value` line per variable, quoted for a POSIX shell."""
    return "\n".join(
        f"export {name}={shlex.quote(value)}" for name, value in variables(layout).items()
    )


@click.command()
@mesh_options
def command(name: str | None, state_dir: str | None) -> None:
    """Print the shell commands that point kubectl at the mesh.

    Use it as:  eval "$(mutua env)"
    """
    click.echo(exports(layout_of(name, state_dir)))
