"""`mutua kubectl`: the everyday part of kubectl, for a machine without it.

Same arguments, same lines of output, same exit statuses.  It is a client of the same API as any
other (lightkube), not a second way into the mesh.
"""

import click

from mutua.cli.kubectl.delete import delete
from mutua.cli.kubectl.failure import KubectlGroup
from mutua.cli.kubectl.label import label
from mutua.cli.kubectl.objects import apply, get
from mutua.cli.kubectl.processes import execute, logs
from mutua.cli.kubectl.rollout import rollout
from mutua.cli.kubectl.scaling import scale
from mutua.cli.kubectl.session import Session, namespace_option
from mutua.cli.kubectl.waiting import wait
from mutua.cli.main import layout_of


@click.group(cls=KubectlGroup, epilog="Everything else: install kubectl, then `mutua shell`.")
@click.option("--mesh", metavar="NAME", help="Which mesh; several can run on one machine.")
@click.option("--state-dir", metavar="DIR", help="Where the mesh keeps its state.")
@namespace_option
@click.pass_context
def command(
    context: click.Context, mesh: str | None, state_dir: str | None, namespace: str | None
) -> None:
    """Speak to the mesh as kubectl does, on a machine without kubectl.

    A subset: the same arguments, output and exit statuses.
    """
    context.obj = Session(layout_of(mesh, state_dir), namespace)


for one in (apply, get, delete, execute, logs, label, scale, wait, rollout):
    command.add_command(one)
