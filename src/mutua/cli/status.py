"""`mutua status`: what runs here, and which mTLS mode is in force where?

The mode is the evaluator's verdict, computed from the API's objects; the last column says on how
many proxies the policy that decided is in force, from its status.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Final

import click

from mutua.api.object import PEER_AUTHENTICATIONS, Object, Resource
from mutua.cli import lock
from mutua.cli.client import ALL_NAMESPACES, connect
from mutua.cli.columns import print_columns
from mutua.cli.main import layout_of, mesh_options
from mutua.cli.mesh import read_objects
from mutua.cli.mesh_settings import read_settings
from mutua.cli.namespaces import require_namespace
from mutua.model.build import INPUTS, build_snapshot
from mutua.model.settings import MeshSettings
from mutua.model.snapshot import MeshSnapshot
from mutua.model.workload import Workload
from mutua.policy.peer_authentication import Subject, effective_mode

IN_FORCE: Final = "InForce"
"""Condition of a policy that says how many proxies enforce it."""


@dataclass(frozen=True, slots=True)
class Row:
    """One port of one pod, "*" for every port that no Service names."""

    namespace: str
    pod: str
    port: str
    sidecar: str
    mode: str
    decided_by: str
    in_force: str


@click.command()
@mesh_options
@click.option("-n", "--namespace", default=ALL_NAMESPACES, help="Only this namespace.")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table")
def command(name: str | None, state_dir: str | None, namespace: str, output: str) -> None:
    """Show what runs, and which mTLS mode is in force where.

    Exits with 1 when the mesh does not run.
    """
    layout = layout_of(name, state_dir)
    with connect(layout) as client:
        require_namespace(client, namespace)
        objects, settings = read_objects(client, INPUTS), read_settings(client)
        server = str(client.config.cluster.server)
    rows = build_rows(objects, namespace, settings)
    if output == "json":
        pid = lock.holder(layout)
        document = {"name": layout.name, "pid": pid, "server": server}
        click.echo(json.dumps({"mesh": document, "ports": [asdict(row) for row in rows]}, indent=2))
        return
    click.echo(f"mesh {layout.name!r} is up, API at {server}\n", err=True)
    if not rows:
        click.echo("no pods", err=True)
        return
    header = [field.name.upper().replace("_", " ") for field in fields(Row)]
    print_columns(header, [tuple(asdict(row).values()) for row in rows])


def build_rows(
    objects: Mapping[Resource, Sequence[Object]],
    namespace: str,
    settings: MeshSettings | None = None,
) -> list[Row]:
    """Return one row per exposed port of every pod, by namespace and name.

    Args:
        objects: All objects of the kinds that a snapshot is built from.
        namespace: Which pods; "*" for all.
        settings: Of the mesh; None for the defaults.
    """
    snapshot = build_snapshot(objects, settings)
    confirmed = {
        f"{policy['metadata']['namespace']}/{policy['metadata']['name']}": _in_force(policy)
        for policy in objects[PEER_AUTHENTICATIONS]
    }
    rows = []
    for workload in sorted(snapshot.workloads.values(), key=lambda w: (w.namespace, w.name)):
        if namespace in {ALL_NAMESPACES, workload.namespace}:
            numbers = [port.number for port in snapshot.inbound_ports.get(workload.uid, ())]
            rows += [_row(snapshot, workload, port, confirmed) for port in numbers or [0]]
    return rows


def _row(
    snapshot: MeshSnapshot, workload: Workload, port: int, confirmed: Mapping[str, str]
) -> Row:
    shown = str(port) if port else "*"
    if not workload.accepts_mutual_tls:
        return Row(workload.namespace, workload.name, shown, "no", "-", "no sidecar", "-")
    verdict = effective_mode(
        snapshot.peer_authentications,
        Subject(namespace=workload.namespace, labels=workload.labels, port=port),
        root_namespace=snapshot.settings.root_namespace,
    )
    return Row(
        workload.namespace,
        workload.name,
        shown,
        "yes",
        verdict.mode.value,
        verdict.policy or "default",
        confirmed.get(verdict.policy, "-"),
    )


def _in_force(policy: Object) -> str:
    for condition in (policy.get("status") or {}).get("conditions") or []:
        if condition["type"] == IN_FORCE:
            return str(condition.get("message") or condition["status"])
    return "not yet"
