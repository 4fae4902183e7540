"""`analyze`: what is wrong with the mesh, or would be with these manifests applied?"""

import sys
from collections.abc import Iterator, Sequence
from typing import Any, Final

import click

from mutua.cli.istioctl.scope import Scope, output_option, scoped, switch
from mutua.foundation.errors import Rejected, Unavailable

FOUND: Final = 79
"""Exit status when there is a finding of the failure threshold (istioctl's)."""

SOCKETS: Final = """
import glob
for table in glob.glob("/proc/net/tcp*"):
    print(open(table).read())
"""
"""Prints the pod's sockets, of IPv6 too where the kernel has it."""

LEVELS: Final = click.Choice(["Info", "Warning", "Error"], case_sensitive=False)


@click.command()
@scoped
@click.argument("sources", nargs=-1, metavar="[FILE | FOLDER | -]...")
@click.option("-A", "--all-namespaces", "everywhere", is_flag=True, help="In every namespace.")
@click.option("-L", "--list-analyzers", "list_codes", is_flag=True, help="List what is looked for.")
@click.option(
    "-S", "--suppress", multiple=True, metavar="CODE=KIND NAME.NAMESPACE", help="Leave this out."
)
@switch("-k", "--use-kube", help="--use-kube=false: only the files, without the mesh.")
@click.option("-R", "--recursive", is_flag=True, help="Read folders inside folders.")
@click.option("--failure-threshold", type=LEVELS, default="Error", show_default=True)
@click.option("--output-threshold", type=LEVELS, default="Info", show_default=True)
@click.option("--ignore-unknown", is_flag=True, help="Skip files that are no manifests.")
@switch("--color", help="--color=false: no colours, on a terminal either.")
@click.option("--meshConfigFile", "mesh_config", metavar="FILE", help="Settings of the mesh.")
@click.option(
    "--timeout", default="30s", show_default=True, metavar="TIME", help="For all of it; 0s: none."
)
@output_option("log", "json", "yaml", default="log")
def command(scope: Scope, sources: tuple[str, ...], output: str, **options: Any) -> None:
    """Say what is wrong with the mesh, or would be with these manifests applied.

    Exits with 79 when there is a finding of the failure threshold.
    """
    from mutua.analysis.analyze import ANALYZERS, analyze
    from mutua.analysis.listeners import analyzer
    from mutua.analysis.message import Level, Message, origin_of
    from mutua.cli.duration import parse_duration
    from mutua.cli.istioctl import report
    from mutua.cli.namespaces import check_namespace
    from mutua.cli.time_limit import time_limit

    limit = parse_duration(options["timeout"])
    if options["list_codes"]:
        click.echo("\n".join(report.known_codes()))
        return
    if not sources and not options["use_kube"]:
        raise Rejected("there is nothing to analyze: no files, and --use-kube=false")
    asked = None if options["everywhere"] else _asked(scope, sources)
    with time_limit(limit):
        written = list(_written(sources, scope.namespace, **options))
        mesh, refused = _mesh(scope, [one.obj for one in written], **options)
        for name in (asked or ()) if options["use_kube"] else ():
            check_namespace(name, mesh.namespaces)
        sockets = _sockets(scope, mesh, asked) if options["use_kube"] else {}
        everything = dict.fromkeys((*refused, *analyze(mesh, (*ANALYZERS, analyzer(sockets)))))
    where = {origin_of(one.obj): one for one in written}
    selection = report.Selection(
        namespaces=asked,
        written=where.keys(),
        root=mesh.root,
        suppressed=[report.parse_suppression(text) for text in options["suppress"]],
        threshold=Level[options["output_threshold"].upper()],
    )
    found = [one for one in everything if selection.shows(one)]

    def reference(message: Message) -> str:
        manifest = where.get(message.origin)
        return f"{manifest.source}:{manifest.line(message.path)}" if manifest else ""

    target = _target(scope, sources, everywhere=options["everywhere"])
    if output != "log":
        click.echo(report.document(found, reference, output))
    elif found:
        coloured = options["color"] and sys.stdout.isatty()
        click.echo("\n".join(report.lines(found, reference, coloured=coloured)))
    else:
        click.echo(f"\u2714 No validation issues found when analyzing {target}.", err=True)
    threshold = Level[options["failure_threshold"].upper()]
    if any(one.code.level >= threshold for one in found):
        click.echo(f"Error: Analyzers found issues when analyzing {target}.", err=True)
        raise click.exceptions.Exit(FOUND)


def _written(sources: Sequence[str], namespace: str, **options: Any) -> Iterator[Any]:
    """Yield the manifests of the files, in the namespace they would be applied to."""
    from dataclasses import replace

    from mutua.api.kinds import find_by_kind
    from mutua.cli.manifests import parse_manifests, read_texts

    for source in sources:
        for label, text in read_texts(source, recursive=options["recursive"]):
            try:
                manifests = list(parse_manifests(label, text))
            except Rejected:
                if options["ignore_unknown"]:
                    continue
                raise
            for one in manifests:
                kind = find_by_kind(one.obj["apiVersion"], one.obj["kind"])
                if kind is None and options["ignore_unknown"]:
                    continue
                metadata = one.obj["metadata"]
                if kind is not None and kind.namespaced and not metadata.get("namespace"):
                    metadata = {**metadata, "namespace": namespace}
                yield replace(one, obj={**one.obj, "metadata": metadata})


def _mesh(scope: Scope, written: Sequence[Any], **options: Any) -> tuple[Any, list[Any]]:
    """Return the mesh with the manifests in it, and what the API would say about these."""
    from mutua.analysis.mesh import READS, Mesh
    from mutua.analysis.overlay import overlay
    from mutua.analysis.schema import is_refused, judge
    from mutua.api.object import CONFIG_MAPS
    from mutua.api.validation.mesh_config import is_mesh_config, read_mesh_config
    from mutua.cli.manifests import read_mesh_config_file
    from mutua.model.settings import MeshSettings

    live, settings = {}, MeshSettings()
    if options["use_kube"]:
        from mutua.cli.mesh import read_objects
        from mutua.cli.mesh_settings import read_settings, stored_mesh_config

        with scope.connect() as client:
            live, settings = read_objects(client, READS), read_settings(client)
            live[CONFIG_MAPS] = stored_mesh_config(client)
    judged = [(obj, judge(obj)) for obj in written]
    accepted = [obj for obj, messages in judged if not is_refused(messages)]
    for obj in filter(is_mesh_config, accepted):
        settings = read_mesh_config(obj, MeshSettings())
    if file := options["mesh_config"]:
        settings = read_mesh_config_file(file)
    mesh = Mesh(overlay(live, accepted), settings)
    return mesh, [one for _, messages in judged for one in messages]


def _sockets(scope: Scope, mesh: Any, namespaces: frozenset[str] | None) -> dict[str, str]:
    """Return the tables of sockets of running pods, of those namespaces or all, by uid."""
    from mutua.analysis.listeners import exposed_pods
    from mutua.cli.istioctl.execution import run_in_each

    pods = [
        pod
        for pod in exposed_pods(mesh)
        if namespaces is None or pod["metadata"]["namespace"] in namespaces
    ]
    if not pods:
        return {}
    with scope.connect() as client:
        found = run_in_each(client, pods, SOCKETS)
    for error in found:
        if isinstance(error, Unavailable):
            click.echo(f"Warning: cannot see what it listens on: {error}", err=True)
    uids = [pod["metadata"]["uid"] for pod in pods]
    return {uid: text for uid, text in zip(uids, found, strict=True) if isinstance(text, str)}


def _asked(scope: Scope, sources: Sequence[str]) -> frozenset[str]:
    """Return the namespaces asked about: with files, none but those asked for by name."""
    return frozenset({scope.named or "default"}) if scope.named or not sources else frozenset()


def _target(scope: Scope, sources: Sequence[str], *, everywhere: bool) -> str:
    if sources:
        return ", ".join(sources)
    return "all namespaces" if everywhere else f"namespace: {scope.namespace}"
