"""`mutua certs`: the click side; what is printed comes from the pure modules next to it."""

import sys
from pathlib import Path
from typing import Any, Final

import click

from mutua.cli.columns import print_columns
from mutua.cli.istioctl.scope import print_document
from mutua.cli.main import layout_of, mesh_options
from mutua.foundation.errors import Rejected

ENDS_SOON: Final = 3
"""Exit status when something ends within `--within`: neither an error (1) nor misuse (2)."""

ROOT_NAMESPACE, ROOTS, ROOTS_KEY = "istio-system", "istio-ca-root-cert", "root-cert.pem"
"""The ConfigMap with the mesh's trust bundle."""

LARGEST: Final = 1024 * 1024
"""Bytes of a PEM text that are read; a whole operating system's bundle has a quarter of that."""


@click.group(invoke_without_command=True)
@mesh_options
@click.option("-n", "--namespace", default="", help="Only this namespace.")
@click.option("-A", "--all-namespaces", is_flag=True, help="All; the default.")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "wide", "json", "yaml"]),
    default="table",
    show_default=True,
)
@click.option(
    "--within",
    default="",
    metavar="TIME",
    help="Only what ends within this time: 30m, 12h, 7d. Exits with 3 if anything does.",
)
@click.pass_context
def command(
    context: click.Context, /, namespace: str, output: str, within: str, **mesh: Any
) -> int:
    """Show every identity of the mesh: serial, issuer, remaining life, root, last error.

    Below that the certificates of the CA: what signs, and what is trusted.
    """
    context.obj = {"namespace": namespace, **mesh}
    context.obj.pop("all_namespaces")
    if context.invoked_subcommand is not None:
        return 0
    if namespace and mesh["all_namespaces"]:
        raise Rejected("-n and -A exclude each other")
    return _list(context.obj, output, within)


def _list(scope: dict[str, Any], output: str, within: str) -> int:
    from mutua.api.kinds import kind_of
    from mutua.api.object import CONFIG_MAPS, WORKLOAD_CERTIFICATES
    from mutua.cli.certs import listing
    from mutua.cli.client import ALL_NAMESPACES, connect, list_objects, resource_class
    from mutua.cli.duration import parse_duration
    from mutua.cli.namespaces import require_namespace
    from mutua.foundation.clock import SystemClock

    limit = parse_duration(within) if within else None
    with connect(layout_of(scope["name"], scope["state_dir"])) as client:
        require_namespace(client, scope["namespace"])
        everywhere = list_objects(client, WORKLOAD_CERTIFICATES, ALL_NAMESPACES)
        bundle = client.get(resource_class(kind_of(CONFIG_MAPS)), ROOTS, namespace=ROOT_NAMESPACE)
    now = SystemClock().now()
    found = listing.authorities(everywhere, bundle["data"][ROOTS_KEY])
    wanted = scope["namespace"]
    shown = [one for one in everywhere if wanted in {"", one["metadata"]["namespace"]}]
    if limit is not None:
        shown = listing.ending(shown, now + limit)
        found = [one for one in found if one.not_after <= now + limit]
    if output in {"json", "yaml"}:
        print_document(listing.document(shown, found), output)
    else:
        wide = output == "wide"
        if shown:
            header = listing.WIDE_HEADER if wide else listing.HEADER
            print_columns(header, listing.rows(shown, now, wide=wide))
        elif limit is None:
            click.echo("no pods with a sidecar", err=True)
        if found:
            click.echo("\n" if shown else "", nl=False)
            print_columns(listing.AUTHORITY_HEADER, listing.authority_rows(found, now))
        if limit is not None and not shown and not found:
            click.echo(f"nothing ends within {within}", err=True)
    return ENDS_SOON if limit is not None and (shown or found) else 0


@command.command()
@click.argument("target", metavar="FILE | - | [TYPE/]NAME[.NAMESPACE]")
@click.option("-n", "--namespace", default="", help="Of the pod. Default: default.")
@click.option(
    "-o", "--output", type=click.Choice(["text", "json", "yaml"]), default="text", show_default=True
)
@click.pass_obj
def show(scope: dict[str, Any], target: str, namespace: str, output: str) -> None:
    """Summarise the certificates of a PEM file, or those that a pod's proxy holds right now.

    A name that is both a file and a pod means the file.  Private keys are never shown.
    """
    from mutua.cli.certs import summary
    from mutua.foundation.clock import SystemClock

    parts = _read(scope, target, namespace or scope["namespace"])
    if output != "text":
        found = {title: summary.document(pem) for title, pem in parts.items()}
        print_document(found if len(found) > 1 else next(iter(found.values())), output)
        return
    now = SystemClock().now()
    for number, (title, pem) in enumerate(parts.items()):
        if len(parts) > 1:
            click.echo(f"{'' if number == 0 else chr(10)}{title}:\n")
        for line in summary.lines(pem, now):
            click.echo(line)


def _read(scope: dict[str, Any], target: str, namespace: str) -> dict[str, str]:
    """Return PEM texts by what they are."""
    if target == "-":
        return {"certificates": _decoded(sys.stdin.buffer.read(LARGEST + 1), "standard input")}
    path = Path(target)
    if path.is_file():
        with path.open("rb") as file:
            return {"certificates": _decoded(file.read(LARGEST + 1), target)}
    if path.suffix in {".pem", ".crt", ".cer"}:
        raise Rejected(f"there is no file {target}")
    return _of_pod(scope, target, namespace)


def _decoded(content: bytes, name: str) -> str:
    if len(content) > LARGEST:
        raise Rejected(f"{name} is longer than {LARGEST} bytes")
    return content.decode("ascii", errors="replace")


def _of_pod(scope: dict[str, Any], target: str, namespace: str) -> dict[str, str]:
    import json

    from mutua.cli.client import connect
    from mutua.cli.istioctl import dump, secrets
    from mutua.cli.istioctl.admin import DUMP, Admin
    from mutua.cli.istioctl.target import full_name, parse_target, resolve

    with connect(layout_of(scope["name"], scope["state_dir"])) as client:
        pod = resolve(client, parse_target(target, namespace or "default"))
        (answer,) = Admin(client).ask(pod, DUMP)
    own, trust = secrets.pems(dump.readable(json.loads(answer)))
    name = full_name(pod)
    if not own or not trust:
        raise Rejected(f"the proxy of {name} holds no certificate yet")
    return {f"{name} presents": own, f"{name} trusts": trust}
