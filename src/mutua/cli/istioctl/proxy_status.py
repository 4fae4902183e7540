"""`proxy-status`: which proxies are there, what has each been sent, and does one hold it all?

The proxies are asked what they hold, and the control plane what they made of what it sent.
"""

import json
from collections.abc import Sequence
from typing import Any, Final

import click

from mutua.api.object import PODS, Object
from mutua.cli.istioctl.dump import readable
from mutua.cli.istioctl.scope import Scope, output_option, print_document, scoped
from mutua.cli.istioctl.source import admin_port_option
from mutua.cli.istioctl.sync import SYNC_STATUS, TYPES, Proxy, client_config, judge
from mutua.cli.istioctl.table import render

CONTROL_PLANE: Final = "istiod"
"""In column ISTIOD: one daemon is the control plane of the whole mesh."""

HEADER: Final = ("NAME", "CLUSTER", "ISTIOD", "VERSION", "SUBSCRIBED TYPES")

SHOWN: Final = tuple(sorted(name for name in TYPES if name != "ECDS"))
"""Types with a column of their own under `-v 1`."""


@click.command()
@scoped
@click.argument("target", required=False, metavar="[POD | TYPE/NAME][.NAMESPACE]")
@click.option("-v", "--verbosity", type=click.IntRange(0, 1), default=0, help="1: state per type.")
@click.option("-f", "--file", default="", help="Compare with a saved dump (- for stdin).")
@admin_port_option
@output_option("table", "json", "yaml", default="table")
def command(
    scope: Scope, target: str | None, verbosity: int, file: str, output: str, port: int
) -> None:
    """Show every proxy and what it has been sent; of one POD, what it does not hold of that."""
    from mutua.cli.client import ALL_NAMESPACES, list_objects
    from mutua.cli.istioctl.admin import Admin
    from mutua.cli.istioctl.target import full_name, has_proxy, parse_target, resolve
    from mutua.cli.namespaces import require_namespace

    with scope.connect() as client:
        if target:
            pods = [resolve(client, parse_target(target, scope.namespace))]
            if file or (output == "table" and not verbosity):
                click.echo("\n".join(_compared(Admin(client, port), pods[0], file)))
                return
        else:
            where = scope.named or ALL_NAMESPACES
            require_namespace(client, where)
            pods = [
                pod
                for pod in list_objects(client, PODS, where)
                if has_proxy(pod) and (pod.get("status") or {}).get("phase") == "Running"
            ]
        found = _ask(Admin(client, port), sorted(pods, key=full_name), must_answer=bool(target))
    if output != "table":
        print_document([document for _, document in found], output)
    elif not found:
        click.echo("no proxies", err=True)
    else:
        proxies = [proxy for proxy, _ in found]
        click.echo(detailed(proxies) if verbosity else summary(proxies))


def summary(proxies: Sequence[Proxy]) -> str:
    """Return one line per proxy: how many types it holds, and which."""
    rows = []
    for one in proxies:
        names = f" ({','.join(one.received)})" if one.received else ""
        types = f"{len(one.received)}{names}"
        rows.append((one.name, one.cluster, CONTROL_PLANE, one.version, types))
    return render(HEADER, rows)


def detailed(proxies: Sequence[Proxy]) -> str:
    """Return one line per proxy, with the state of each type in a column of its own."""
    rows = [
        (
            one.name,
            one.cluster,
            *((one.states or {}).get(short, "NOT SENT") for short in SHOWN),
            CONTROL_PLANE,
            one.version,
        )
        for one in proxies
    ]
    return render(("NAME", "CLUSTER", *SHOWN, "ISTIOD", "VERSION"), rows)


def _compared(admin: Any, pod: Object, file: str) -> list[str]:
    from mutua.cli.istioctl.admin import DUMP
    from mutua.cli.istioctl.comparison import held, lines, wanted
    from mutua.cli.istioctl.source import read_saved
    from mutua.cli.istioctl.target import require_proxy
    from mutua.cli.mesh import read_snapshot

    require_proxy(pod)
    saved = read_saved(file) if file else json.loads(admin.ask(pod, DUMP)[0])
    should = wanted(read_snapshot(admin.client), pod["metadata"]["uid"])
    return list(lines(should, held(readable(saved))))


def _ask(
    admin: Any, pods: Sequence[Object], *, must_answer: bool
) -> list[tuple[Proxy, dict[str, Any]]]:
    from mutua.cli.client import read_document
    from mutua.cli.istioctl.admin import DUMP
    from mutua.cli.istioctl.target import full_name, require_proxy
    from mutua.foundation.clock import SystemClock
    from mutua.foundation.errors import Unavailable

    if must_answer:
        require_proxy(pods[0])
    answers = admin.ask_each(pods, DUMP)
    status = read_document(admin.client, SYNC_STATUS)
    now = SystemClock().now()
    found: list[tuple[Proxy, dict[str, Any]]] = []
    for pod, answer in zip(pods, answers, strict=True):
        configs = status.get(pod["metadata"]["uid"], [])
        if isinstance(answer, Unavailable):
            if must_answer:
                raise answer
            # It is starting or ending: it is in the mesh, and holds nothing yet.
            proxy, content = Proxy(full_name(pod)), {}
        else:
            content = readable(json.loads(answer[0]))
            proxy = judge(full_name(pod), content, configs, now)
        found.append((proxy, client_config(proxy, content, configs)))
    return found
