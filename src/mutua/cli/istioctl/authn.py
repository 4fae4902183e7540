"""`authn tls-check CLIENT [SERVER]`: the command around mutua.cli.istioctl.tls_check."""

import click

from mutua.cli.istioctl.groups import AliasedGroup
from mutua.cli.istioctl.scope import Scope, scoped
from mutua.cli.istioctl.table import render


@click.group(cls=AliasedGroup)
def command() -> None:
    """Look into authentication between workloads."""


@command.command("tls-check")
@scoped
@click.argument("client", metavar="CLIENT[.NAMESPACE]")
@click.argument("server", required=False, metavar="[HOST | TYPE/NAME[.NAMESPACE]]")
def tls_check(scope: Scope, client: str, server: str | None) -> None:
    """Show, per Service port, what a client sends and what the server accepts.

    CLIENT is a pod, or TYPE/NAME such as deploy/web.  Without a second argument every Service of
    the mesh is shown.
    """
    from mutua.cli.istioctl.target import full_name, parse_target, resolve
    from mutua.cli.istioctl.tls_check import HEADER, find_host, find_services, rows
    from mutua.cli.mesh import read_snapshot
    from mutua.foundation.errors import Unavailable

    source = parse_target(client, scope.namespace)
    with scope.connect() as api:
        pod = resolve(api, source)
        peer = None
        if server and "/" in server:
            target = parse_target(server, scope.namespace)
            if target.type in {"svc", "service", "services"}:
                server = f"{target.name}.{target.namespace}"
            else:
                peer = (resolve(api, target)["metadata"]["uid"], target)
        snapshot = read_snapshot(api)
    workload = snapshot.workloads.get(pod["metadata"]["uid"])
    if workload is None:
        raise Unavailable(f"pod {full_name(pod)} has finished")
    wanted = None
    if peer is not None:
        wanted = find_services(snapshot, *peer)
    elif server:
        wanted = find_host(snapshot, server, source.namespace)
    click.echo(render(HEADER, rows(snapshot, workload, wanted)))
