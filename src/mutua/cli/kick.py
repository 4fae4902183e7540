"""`mutua kick`: cut an identity, a pod or a certificate off the mesh, now.

The command writes Revocation objects and waits until their status says that they are in force; the
control plane does the rest, and goes on doing it when this command is long gone.
"""

import getpass
import hashlib
import json
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

import click
from lightkube import ApiError, Client

from mutua.api.kinds import kind_of
from mutua.api.object import REVOCATIONS, Object
from mutua.api.revocation import NAMESPACE, parse_serial, serial_text
from mutua.cli.client import connect, list_objects, resource_class
from mutua.cli.columns import print_columns
from mutua.cli.istioctl.target import parse_target
from mutua.cli.kubectl.pods import find_pods
from mutua.cli.main import layout_of, mesh_options
from mutua.cli.mesh_settings import read_settings
from mutua.foundation.errors import Rejected, Unavailable
from mutua.foundation.spiffe import SCHEME, SpiffeId, parse_spiffe_id
from mutua.model.settings import MeshSettings
from mutua.store.port import NotFound

NOT_FOUND: Final = 404
EXISTS: Final = 409

LOOK: Final = 0.05
"""Seconds between two looks at the status."""

SERIAL: Final = re.compile(r"[0-9a-fA-F]{16,40}|[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){7,19}", re.ASCII)
"""What is taken for a serial number: long enough that no pod is called so by chance."""


@click.command()
@mesh_options
@click.argument("target", required=False, metavar="[SPIFFE-ID|POD[.NAMESPACE]|TYPE/NAME|SERIAL]")
@click.option("-n", "--namespace", default="default", show_default=True, help="Of the pods.")
@click.option("--reason", default="", help="Why; kept in the object.")
@click.option("--list", "list_all", is_flag=True, help="Show who is cut off.")
@click.option("--undo", is_flag=True, help="Take it back; TARGET may be a name from --list.")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table")
@click.option(
    "--timeout", type=click.FloatRange(0), default=15.0, show_default=True, help="Seconds."
)
def command(
    name: str | None,
    state_dir: str | None,
    target: str | None,
    namespace: str,
    reason: str,
    output: str,
    timeout: float,
    *,
    list_all: bool,
    undo: bool,
) -> None:
    """Refuse an identity, a pod or a certificate everywhere, and close its live connections.

    \b
    mutua kick spiffe://cluster.local/ns/shop/sa/web   whoever has the identity, now and later
    mutua kick web-6d5f.shop                           this pod; its successor is fine
    mutua kick deploy/web -n shop                      each of its pods of now
    mutua kick 5f0c…                                   one certificate; its pod gets another
    mutua kick --undo spiffe://cluster.local/ns/shop/sa/web
    """  # noqa: D301 - click's mark for "do not wrap"
    if list_all == bool(target):
        raise click.UsageError("give somebody to cut off, or --list")
    with connect(layout_of(name, state_dir)) as client:
        if target is None:
            _show(list_objects(client, REVOCATIONS, NAMESPACE), output)
        elif undo:
            _undo(client, target, namespace)
        else:
            _kick(client, target, namespace, reason, timeout)


def _kick(client: Client, target: str, namespace: str, reason: str, timeout: float) -> None:
    began = time.monotonic()
    names = []
    for spec in _subjects(client, target, namespace):
        if "spiffeID" in spec:
            require_ours(client, parse_spiffe_id(spec["spiffeID"]))
        wanted = {"requestedBy": getpass.getuser(), "reason": reason} | spec
        names.append(_create(client, {key: value for key, value in wanted.items() if value}))
    late = [one for one in names if not _await(client, one, began + timeout)]
    took = time.monotonic() - began
    for one in names:
        found = _read(client, one)
        status = (found or {}).get("status") or {}
        said = status.get("summary") or "not in force yet"
        click.echo(f"revocation/{one}: {said}, {status.get('connectionsClosed', 0)} closed")
    if late:
        raise Unavailable(
            f"not in force within {timeout:g} s: {', '.join(late)}",
            hint="the control plane goes on trying: mutua kick --list",
        )
    click.echo(f"in force after {took:.2f} s", err=True)


def require_ours(client: Any, identity: SpiffeId) -> None:
    """Require that an identity is of this mesh, under its present name or an alias.

    Raises:
        Rejected: This mesh certifies nobody of that trust domain; and a revocation does not compare
            it, so that it would cut off another workload.
    """
    # A mesh whose settings name no trust domain has the one it was created with.
    settings = read_settings(client, MeshSettings(trust_domain=identity.trust_domain))
    if identity.trust_domain not in (settings.trust_domain, *settings.trust_domain_aliases):
        ours = replace(identity, trust_domain=settings.trust_domain)
        raise Rejected(
            f"{identity} is not of this mesh, whose trust domain is {settings.trust_domain}",
            hint=f"kick {ours} if you mean that; another mesh's workloads are kept out by "
            "revoking them there, or by an AuthorizationPolicy",
        )


def _undo(client: Client, target: str, namespace: str) -> None:
    existing = {
        one["metadata"]["name"]: one["spec"] for one in list_objects(client, REVOCATIONS, NAMESPACE)
    }
    names = [target] if target in existing else _named(client, target, namespace, existing)
    if not names:
        raise NotFound(f"nothing is revoked for {target!r}", hint="mutua kick --list")
    for one in names:
        client.delete(resource_class(kind_of(REVOCATIONS)), one, namespace=NAMESPACE)
        click.echo(f"revocation/{one} taken back")


def _named(
    client: Client, target: str, namespace: str, existing: Mapping[str, Object]
) -> list[str]:
    meant = {key_of(spec) for spec in _subjects(client, target, namespace)}
    return sorted(name for name, spec in existing.items() if key_of(spec) in meant)


def key_of(spec: Object) -> tuple[str, ...] | int:
    """Return what two specs have in common that cut off the same; see `Revocation.forbids`."""
    if pod := spec.get("pod"):
        return (str(pod["uid"]),)
    if identity := spec.get("spiffeID"):
        return parse_spiffe_id(identity).account
    return parse_serial(spec["serialNumber"])


def _show(revocations: list[Object], output: str) -> None:
    if output == "json":
        click.echo(json.dumps(revocations, indent=2))
        return
    if not revocations:
        click.echo("nobody is cut off", err=True)
        return
    rows = [
        (
            one["metadata"]["name"],
            _subject(one["spec"]),
            (one.get("status") or {}).get("summary") or "not in force yet",
            (one.get("status") or {}).get("connectionsClosed", 0),
            (one.get("status") or {}).get("refused", 0),
            one["spec"].get("reason") or "-",
        )
        for one in sorted(revocations, key=lambda one: str(one["metadata"]["creationTimestamp"]))
    ]
    print_columns(("NAME", "REVOKED", "IN FORCE", "CLOSED", "REFUSED", "REASON"), rows)


def _subject(spec: Object) -> str:
    if pod := spec.get("pod"):
        return f"pod/{pod['name']}.{pod['namespace']}"
    return str(spec.get("spiffeID") or spec.get("serialNumber"))


def _subjects(client: Client, target: str, namespace: str) -> Iterator[Object]:
    """Yield the specs that a target means."""
    if target.startswith(SCHEME):
        yield {"spiffeID": str(parse_spiffe_id(target))}
        return
    if SERIAL.fullmatch(target):
        yield {"serialNumber": serial_text(parse_serial(target))}
        return
    asked = parse_target(target, namespace)
    try:
        pods = find_pods(client, asked.resource, asked.namespace)
    except ApiError as error:
        if error.status.code != NOT_FOUND:
            raise
        raise NotFound(f"{error.status.message} in namespace {asked.namespace!r}") from error
    for pod in pods:
        meta = pod["metadata"]
        yield {"pod": {key: meta[key] for key in ("namespace", "name", "uid")}}


def object_name(spec: Object) -> str:
    """Return the name of the object that revokes this: the same for the same subject."""
    pod = spec.get("pod")
    what = pod["uid"] if pod else spec.get("spiffeID") or spec.get("serialNumber")
    digest = hashlib.sha256(str(what).encode()).hexdigest()[:8]
    if pod:
        return f"pod-{pod['name'][:200].rstrip('.-')}-{digest}"
    if identity := spec.get("spiffeID"):
        account = parse_spiffe_id(identity)
        stem = f"{account.namespace}-{account.service_account}".lower()
        return f"id-{re.sub(r'[^a-z0-9-]', '-', stem)[:200].rstrip('-')}-{digest}"
    return f"serial-{spec['serialNumber']}"


def _create(client: Client, spec: Object) -> str:
    name, kind = object_name(spec), kind_of(REVOCATIONS)
    obj = {
        "apiVersion": kind.api_version(),
        "kind": kind.kind,
        "metadata": {"namespace": NAMESPACE, "name": name},
        "spec": spec,
    }
    try:
        client.create(resource_class(kind)(obj), namespace=NAMESPACE)
    except ApiError as error:
        if error.status.code != EXISTS:
            raise
    return name


def _await(client: Client, name: str, deadline: float) -> bool:
    while True:
        found = _read(client, name)
        if found is None:
            raise Rejected(f"revocation/{name} was taken back meanwhile")
        for condition in (found.get("status") or {}).get("conditions") or ():
            if condition["type"] == "InForce" and condition["status"] == "True":
                return True
        if time.monotonic() > deadline:
            return False
        time.sleep(LOOK)


def _read(client: Client, name: str) -> Object | None:
    try:
        found: Any = client.get(resource_class(kind_of(REVOCATIONS)), name, namespace=NAMESPACE)
    except ApiError as error:
        if error.status.code == NOT_FOUND:
            return None
        raise
    return dict(found)
