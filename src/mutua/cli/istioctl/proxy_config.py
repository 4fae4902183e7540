"""`proxy-config`: the click side; what is printed comes from the pure modules next to it."""

import json
from collections.abc import Mapping
from typing import Any, Final

import click

from mutua.cli.istioctl import clusters, dump, endpoints, listeners, routes
from mutua.cli.istioctl.groups import AliasedGroup
from mutua.cli.istioctl.scope import Scope, output_option, print_document, scoped, switch
from mutua.cli.istioctl.source import Source, admin_port_option, reads_proxy
from mutua.cli.istioctl.table import render
from mutua.foundation.errors import Rejected

ALIASES: Final[Mapping[str, str]] = {
    "c": "cluster", "clusters": "cluster", "l": "listener", "listeners": "listener",
    "r": "route", "routes": "route", "ep": "endpoint", "endpoints": "endpoint",
    "s": "secret", "secrets": "secret", "b": "bootstrap", "o": "log", "a": "all",
    "rc": "rootca-compare", "ec": "ecds", "es": "envoy-stats",
}  # fmt: skip

FORMATS: Final = ("short", "json", "yaml")


@click.group(cls=AliasedGroup, aliases=ALIASES)
def command() -> None:
    """Show a proxy's configuration, as its Envoy reports it."""


@command.command()
@reads_proxy
@click.option("--fqdn", default="", help="Only clusters of this host.")
@click.option("--port", "number", default="", help="Only clusters of this port.")
@click.option("--subset", default="", help="Only clusters of this subset.")
@click.option("--direction", default="", help="inbound or outbound.")
@output_option(*FORMATS)
def cluster(source: Source, output: str, number: str, **wanted: str) -> None:
    """Show clusters: where the proxy can send to."""
    found = clusters.select(dump.clusters(source.dump()), {**wanted, "port": number})
    if output != "short":
        print_document(found, output)
    else:
        click.echo(render(clusters.HEADER, clusters.rows(found)))


@command.command()
@reads_proxy
@click.option("--address", default="", help="Only listeners on this address.")
@click.option("--port", "number", type=int, default=0, help="Only listeners on this port.")
@click.option("--type", "kind", default="", help="HTTP, TCP, HTTP+TCP or UNKNOWN.")
@switch("--verbose", help="--verbose=false: a line per listener.")
@output_option(*FORMATS)
def listener(source: Source, output: str, number: int, **wanted: Any) -> None:
    """Show listeners: what the proxy accepts, and where it sends that."""
    found = listeners.select(
        dump.listeners(source.dump()),
        address=wanted["address"],
        port=number,
        kind=wanted["kind"],
    )
    if output != "short":
        print_document(found, output)
    else:
        click.echo(render(*listeners.table(found, verbose=wanted["verbose"])))


@command.command()
@reads_proxy
@click.option("--name", default="", help="Only this route configuration.")
@switch("--verbose", help="--verbose=false: a line per name.")
@output_option(*FORMATS)
def route(source: Source, output: str, name: str, *, verbose: bool) -> None:
    """Show routes: which cluster an HTTP request goes to."""
    found = routes.select(dump.routes(source.dump()), name)
    if output != "short":
        print_document(found, output)
    else:
        click.echo(render(*routes.table(found, verbose=verbose)))


@command.command()
@reads_proxy
@click.option("--address", default="", help="Only endpoints with this address.")
@click.option("--port", "number", default="", help="Only endpoints with this port.")
@click.option("--cluster", "of_cluster", default="", help="Only endpoints of this cluster.")
@click.option("--status", default="", help="healthy, unhealthy, …")
@output_option(*FORMATS)
def endpoint(source: Source, output: str, number: str, of_cluster: str, **wanted: str) -> None:
    """Show endpoints: the addresses behind each cluster."""
    wanted |= {"port": number, "cluster": of_cluster}
    found = endpoints.select(source.cluster_statuses(), wanted)
    if output != "short":
        print_document(found, output)
    else:
        click.echo(render(endpoints.HEADER, endpoints.rows(found)))


@command.command()
@reads_proxy
@output_option(*FORMATS)
def secret(source: Source, output: str) -> None:
    """Show the proxy's certificates and roots; never its private key."""
    from mutua.cli.istioctl import secrets
    from mutua.foundation.clock import SystemClock

    found = secrets.secrets(source.dump())
    if output != "short":
        print_document(found, output)
    elif not found:
        click.echo("No active or warming secrets found.")
    else:
        click.echo(render(*secrets.table(found, SystemClock().now())))


@command.command()
@reads_proxy
@output_option(*FORMATS, default="json")
def bootstrap(source: Source, output: str) -> None:
    """Show the configuration the proxy was started with."""
    found = dump.section(source.dump(), "BootstrapConfigDump")
    if output != "short":
        print_document(found, output)
        return
    node = found.get("bootstrap", {}).get("node", {})
    metadata = node.get("metadata", {})
    version = node.get("userAgentBuildVersion", {}).get("version", {})
    numbers = (version.get(part, 0) for part in ("majorNumber", "minorNumber", "patch"))
    click.echo(f"Istio Version: {metadata.get('MUTUA_VERSION', 'unknown')}")
    click.echo(f"Istio Proxy Version: {'.'.join(map(str, numbers))}")
    locality = node.get("locality", {})
    place = "/".join(locality[part] for part in ("region", "zone", "subZone") if part in locality)
    click.echo(f"Location: {place or 'unknown'}")
    click.echo(f"Node: {node.get('id', '')}")


@command.command()
@reads_proxy
@output_option(*FORMATS)
def ecds(source: Source, output: str) -> None:
    """Show extensions that the proxy was sent apart from its listeners; mutua sends none."""
    found = dump.section(source.dump(), "EcdsConfigDump")
    if output != "short":
        print_document(found, output)
        return
    filters = [one["ecdsFilter"] for one in found.get("ecdsFilters", ()) if "ecdsFilter" in one]
    rows = [(one["name"], one.get("typedConfig", {}).get("@type", "")) for one in filters]
    click.echo(render(("ECDS NAME", "TYPE"), rows))


STATS: Final[Mapping[tuple[str, str], str]] = {
    ("server", "short"): "GET /stats", ("server", "json"): "GET /stats?format=json",
    ("server", "yaml"): "GET /stats?format=json", ("server", "prom"): "GET /stats/prometheus",
    ("clusters", "short"): "GET /clusters", ("clusters", "json"): "GET /clusters?format=json",
    ("clusters", "yaml"): "GET /clusters?format=json",
}  # fmt: skip
"""What Envoy is asked, by --type and -o."""


@command.command("envoy-stats")
@scoped
@click.argument("target", metavar="[POD | TYPE/NAME][.NAMESPACE]")
@click.option("-t", "--type", "kind", type=click.Choice(["server", "clusters"]), default="server")
@admin_port_option
@output_option(*FORMATS, "prom")
def envoy_stats(scope: Scope, target: str, kind: str, port: int, output: str) -> None:
    """Show the proxy's statistics, as its Envoy prints them."""
    from mutua.cli.istioctl.admin import Admin
    from mutua.cli.istioctl.target import parse_target, resolve

    request = STATS.get((kind, output))
    if request is None:
        raise Rejected("-o prom is for --type server: Envoy has no other form of it")
    with scope.connect() as client:
        pod = resolve(client, parse_target(target, scope.namespace))
        answer = Admin(client, port).ask(pod, request)[0]
    if output in {"json", "yaml"}:
        print_document(json.loads(answer), output)
    else:
        click.echo(answer, nl=False)


@command.command("rootca-compare")
@scoped
@click.argument("first", metavar="POD[.NAMESPACE]")
@click.argument("second", metavar="POD[.NAMESPACE]")
@admin_port_option
def rootca_compare(scope: Scope, first: str, second: str, port: int) -> None:
    """Tell whether two proxies trust the same roots."""
    from mutua.cli.istioctl import secrets
    from mutua.cli.istioctl.admin import DUMP, Admin
    from mutua.cli.istioctl.target import full_name, parse_target, resolve

    with scope.connect() as client:
        pods = [resolve(client, parse_target(one, scope.namespace)) for one in (first, second)]
        answers = [Admin(client, port).ask(pod, DUMP)[0] for pod in pods]
    held = [
        (full_name(pod), secrets.roots(dump.readable(json.loads(answer))))
        for pod, answer in zip(pods, answers, strict=True)
    ]
    click.echo(secrets.compare_roots(*held))


@command.command("all")
@reads_proxy
@click.option("--fqdn", default="", help="Only clusters of this host.")
@click.option("--subset", default="", help="Only clusters of this subset.")
@click.option("--direction", default="", help="Only clusters: inbound or outbound.")
@click.option(
    "--port", "number", type=int, default=0, help="Only clusters, listeners, endpoints with it."
)
@click.option("--address", default="", help="Only listeners and endpoints with this address.")
@click.option("--type", "kind", default="", help="Only listeners: HTTP, TCP, HTTP+TCP or UNKNOWN.")
@click.option("--name", default="", help="Only this route configuration.")
@click.option("--cluster", "of_cluster", default="", help="Only endpoints of this cluster.")
@click.option("--status", default="", help="Only endpoints: healthy, unhealthy, …")
@switch("--verbose", help="--verbose=false: a line per listener, a line per route name.")
@switch("--with-headers", help="--with-headers=false: only rows.")
@output_option(*FORMATS)
def everything(source: Source, output: str, number: int, **wanted: Any) -> None:
    """Show everything; filters choose what is listed, JSON and YAML are the whole dump."""
    from mutua.cli.istioctl import secrets
    from mutua.foundation.clock import SystemClock

    if output != "short":
        print_document(source.dump(), output)
        return
    content, hosts = source.everything()
    certificates = secrets.table(secrets.secrets(content), SystemClock().now(), "secret/")
    numbered = {**wanted, "port": str(number or ""), "cluster": wanted["of_cluster"]}
    targets = clusters.select(dump.clusters(content), numbered)
    found = listeners.select(
        dump.listeners(content), address=wanted["address"], port=number, kind=wanted["kind"]
    )
    configs = routes.select(dump.routes(content), wanted["name"])
    reached = endpoints.select(hosts, numbered)
    tables = (
        (clusters.HEADER, clusters.rows(targets, "cluster/")),
        listeners.table(found, "listener/", verbose=wanted["verbose"]),
        routes.table(configs, "route/", verbose=wanted["verbose"]),
        (endpoints.HEADER, endpoints.rows(reached, "endpoint/")),
        certificates,
    )
    headed = wanted["with_headers"]
    shown = [render(header if headed else (), rows) for header, rows in tables if rows]
    click.echo("\n\n".join(shown))


@command.command()
@scoped
@click.argument("target", required=False, metavar="[POD | TYPE/NAME][.NAMESPACE]")
@click.option("--level", default="", help="LEVEL, or LOGGER:LEVEL,LOGGER:LEVEL.")
@click.option("-r", "--reset", is_flag=True, help="Back to the level it was started with.")
@click.option("-l", "--selector", default="", help="Pods with these labels, instead of one.")
@admin_port_option
@output_option("short")
def log(
    scope: Scope, target: str | None, level: str, selector: str, port: int, *, reset: bool, **_: str
) -> None:
    """Show or change the proxy's log levels."""
    from mutua.cli.istioctl import loggers
    from mutua.cli.istioctl.admin import Admin
    from mutua.cli.istioctl.target import full_name

    if level and reset:
        raise Rejected("--level cannot be combined with --reset")
    if bool(target) == bool(selector):
        raise Rejected("name a pod, such as deploy/web, or labels with -l")
    with scope.connect() as client:
        admin = Admin(client, port)
        for pod in _pods(client, scope, target, selector):
            known = loggers.parse_loggers(admin.ask(pod, loggers.ACTIVE)[0])
            wanted = loggers.initial_level(pod) if reset else level
            changes = loggers.parse_levels(wanted, known) if wanted else []
            shown = admin.ask(pod, *changes, loggers.ACTIVE)[-1]
            click.echo(f"{full_name(pod)}:\n{shown.rstrip()}")


def _pods(client: Any, scope: Scope, target: str | None, selector: str) -> list[Any]:
    from mutua.cli.istioctl.target import has_proxy, parse_target, resolve

    if target:
        return [resolve(client, parse_target(target, scope.namespace))]
    from mutua.api.object import PODS
    from mutua.api.selectors import parse_label_selector
    from mutua.cli.client import list_objects
    from mutua.cli.namespaces import require_namespace

    require_namespace(client, scope.namespace)
    wanted = parse_label_selector(selector)
    found = [
        pod
        for pod in list_objects(client, PODS, scope.namespace)
        if has_proxy(pod) and wanted.matches(pod["metadata"].get("labels"))
    ]
    if not found:
        raise Rejected(f"no pod with a sidecar has {selector} in namespace {scope.namespace!r}")
    return found
