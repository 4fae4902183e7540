"""`experimental describe pod|service`, also as `x describe`: the commands around `describe`."""

from collections.abc import Mapping
from typing import Final

import click

from mutua.cli.istioctl.groups import AliasedGroup
from mutua.cli.istioctl.scope import Scope, scoped
from mutua.foundation.errors import Rejected

ALIASES: Final[Mapping[str, str]] = {"po": "pod", "svc": "service", "des": "describe"}


@click.group(cls=AliasedGroup, aliases=ALIASES)
def command() -> None:
    """Commands that Istio calls experimental."""


@command.group(cls=AliasedGroup, aliases=ALIASES)
def describe() -> None:
    """Tell what applies to a pod or a Service."""


@describe.command()
@scoped
@click.argument("target", metavar="[POD | TYPE/NAME][.NAMESPACE]")
def pod(scope: Scope, target: str) -> None:
    """Describe a pod: its Services and the mTLS mode in force."""
    from mutua.cli.istioctl.describe import describe_pod
    from mutua.cli.istioctl.target import parse_target, resolve
    from mutua.cli.mesh import read_analysis

    with scope.connect() as client:
        found = resolve(client, parse_target(target, scope.namespace))
        snapshot, messages = read_analysis(client)
    click.echo("\n".join(describe_pod(found, snapshot, scope.namespace, messages)))


@describe.command()
@scoped
@click.argument("target", metavar="SERVICE[.NAMESPACE]")
def service(scope: Scope, target: str) -> None:
    """Describe a Service: its ports, its pods and the mTLS mode in force."""
    from mutua.cli.istioctl.describe import describe_service
    from mutua.cli.istioctl.target import parse_target
    from mutua.cli.mesh import read_analysis
    from mutua.model.service import ServiceName

    wanted = parse_target(target, scope.namespace)
    with scope.connect() as client:
        snapshot, messages = read_analysis(client)
    name = ServiceName(wanted.namespace, wanted.name)
    for one in snapshot.services:
        if one.id == name:
            click.echo("\n".join(describe_service(one, snapshot, scope.namespace, messages)))
            return
    raise Rejected(f'services "{wanted.name}" not found in namespace {wanted.namespace!r}')
