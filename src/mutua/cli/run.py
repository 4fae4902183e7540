"""`mutua run`: make any program a workload of the mesh.

It writes the Deployment and the Service that a user would write, and applies them through the
API; from then on the program is an ordinary workload that kubectl and every policy know.
"""

from pathlib import Path
from typing import Any

import click

from mutua.api.object import Object
from mutua.cli.main import layout_of
from mutua.foundation.errors import Rejected


@click.command(context_settings={"ignore_unknown_options": True})
@click.option("--mesh", metavar="NAME", help="Which mesh; several can run on one machine.")
@click.option("--state-dir", metavar="DIR", help="Where the mesh keeps its state.")
@click.option("-n", "--namespace", required=True, help="Created, with injection, when missing.")
@click.option("--name", metavar="NAME", help="Of the workload; default: the program's name.")
@click.option("--port", type=click.IntRange(1, 65535), help="Where the program listens.")
@click.option("--protocol", default="http", show_default=True, help="http, http2, grpc or tcp.")
@click.option("--replicas", type=click.IntRange(0, 100), default=1, show_default=True)
@click.option("--env", "variables", multiple=True, metavar="NAME=VALUE", help="May be repeated.")
@click.option("--no-sidecar", is_flag=True, help="Stay outside the mesh.")
@click.option("--dry-run", is_flag=True, help="Print the manifests instead of applying them.")
@click.argument("program", nargs=-1, required=True, type=click.UNPROCESSED)
def command(
    mesh: str | None,
    state_dir: str | None,
    namespace: str,
    program: tuple[str, ...],
    *,
    dry_run: bool,
    **options: Any,
) -> None:
    r"""Run PROGRAM as a workload of the mesh, in the current directory.

    \b
    mutua run --namespace shop --name web --port 8000 -- python3 -m http.server 8000
    """
    manifests = build_manifests(namespace, program, cwd=str(Path.cwd()), **options)
    if dry_run:
        import yaml

        click.echo(yaml.safe_dump_all(manifests, sort_keys=False), nl=False)
        return
    from mutua.cli.apply import apply_objects
    from mutua.cli.client import connect

    layout = layout_of(mesh, state_dir)
    with connect(layout) as client:
        for line in apply_objects(client, manifests, keep_existing_namespace=True):
            click.echo(line)


def build_manifests(
    namespace: str,
    program: tuple[str, ...],
    *,
    cwd: str,
    name: str | None = None,
    port: int | None = None,
    protocol: str = "http",
    replicas: int = 1,
    variables: tuple[str, ...] = (),
    no_sidecar: bool = False,
) -> list[Object]:
    """Return the Namespace, ServiceAccount, Deployment and (with a port) Service of a program.

    Raises:
        Rejected: A variable is not NAME=VALUE.
    """
    name = name or Path(program[0]).name.lower().replace("_", "-").replace(".", "-")
    labels = {"app": name}
    container: Object = {
        "name": name,
        "image": "host",
        "command": list(program),
        "workingDir": cwd,
        "env": [_variable(text) for text in variables],
    }
    if port:
        container["ports"] = [{"containerPort": port}]
        container["readinessProbe"] = {"tcpSocket": {"port": port}, "periodSeconds": 1}
    template_labels = labels | ({"sidecar.istio.io/inject": "false"} if no_sidecar else {})
    spec = {"serviceAccountName": name, "containers": [container]}
    manifests = [
        _object("v1", "Namespace", "", namespace, {"istio-injection": "enabled"}),
        _object("v1", "ServiceAccount", namespace, name, labels),
        _object("apps/v1", "Deployment", namespace, name, labels)
        | {
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": template_labels}, "spec": spec},
            }
        },
    ]
    if port:
        ports = [{"name": protocol, "port": port, "targetPort": port}]
        service = _object("v1", "Service", namespace, name, labels)
        manifests.append(service | {"spec": {"selector": labels, "ports": ports}})
    return manifests


def _variable(text: str) -> Object:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise Rejected(f"--env: {text!r} is not NAME=VALUE")
    return {"name": name, "value": value}


def _object(
    api_version: str, kind: str, namespace: str, name: str, labels: dict[str, str]
) -> Object:
    metadata: Object = {"name": name, "labels": labels}
    if namespace:
        metadata["namespace"] = namespace
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata}
