"""`mutua run`: make any program a workload of the mesh.

It writes the Deployment and the Service that a user would write, and applies them through the
API; from then on the program is an ordinary workload that kubectl and every policy know.
"""

import os
import shutil
from pathlib import Path
from typing import Any

import click

from mutua.api.kinds import kind_of
from mutua.api.object import NAMESPACES, Object
from mutua.cli.main import layout_of
from mutua.foundation.errors import Rejected
from mutua.foundation.layout import Layout


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
    """Run PROGRAM as a workload of the mesh, in the current directory.

    \b
    mutua run --namespace shop --name web --port 8000 -- python3 -m http.server 8000
    """  # noqa: D301 - click's mark for "do not wrap"
    layout = layout_of(mesh, state_dir)
    search = os.environ.get("PATH", os.defpath)
    if shutil.which(program[0], path=search) is None:
        raise Rejected(f"program {program[0]!r} not found", hint="install it, or give its path")
    # The program finds its own programs and files as it would here, not as the daemon would.
    given = (f"PATH={search}", f"HOME={os.environ.get('HOME') or '/'}", *options.pop("variables"))
    cwd = usable_directory(Path.cwd(), layout)
    manifests = build_manifests(namespace, program, cwd=cwd, variables=given, **options)
    if dry_run:
        import yaml

        click.echo(yaml.safe_dump_all(manifests, sort_keys=False), nl=False)
        return
    from mutua.cli.apply import apply_object
    from mutua.cli.client import connect, resource_class

    with connect(layout) as client:
        for manifest in manifests:
            click.echo(apply_object(client, manifest, keep_existing_namespace=True))
        found = client.get(resource_class(kind_of(NAMESPACES)), namespace)
    name = manifests[-1]["metadata"]["name"]
    labels = found["metadata"].get("labels") or {}
    if labels.get("istio-injection") != "enabled" and not options["no_sidecar"]:
        click.echo(
            f"note: no sidecar, since namespace {namespace} is not part of the mesh; "
            f"kubectl label namespace {namespace} istio-injection=enabled",
            err=True,
        )
    if port := options["port"]:
        scheme = "http" if options["protocol"].startswith("http") else options["protocol"]
        click.echo(f"in the mesh it is {scheme}://{name}.{namespace}:{port}", err=True)
    click.echo(f"its output: kubectl logs -n {namespace} deploy/{name}", err=True)


def usable_directory(directory: Path, layout: Layout) -> str:
    """Return the working directory, if a container can see it.

    Raises:
        Rejected: A container has its own /dev and /proc, and does not see a mesh's files.
    """
    real = directory.resolve()
    secret = [layout.state.resolve(), layout.run.parent.resolve()]
    for place in (Path("/dev"), Path("/proc"), Path("/sys"), *secret):
        if real.is_relative_to(place):
            raise Rejected(
                f"programs of the mesh do not see the current directory, {real}",
                hint="start it in another directory",
            )
    if real == Path("/tmp"):  # noqa: S108 - everybody's
        raise Rejected(
            "programs of the mesh have a /tmp of their own", hint="start it in a directory below"
        )
    return str(real)


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
