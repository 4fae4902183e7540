"""`version`: which versions do client, control plane and proxies have?"""

import json
import ssl
import urllib.request
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import click

from mutua import __version__
from mutua.api.object import PODS, Object
from mutua.cli.istioctl.scope import Scope, output_option, print_document, scoped, switch
from mutua.cli.istioctl.sidecar import PROXY
from mutua.foundation.errors import Unavailable

MARK: Final = "+mutua-"
"""What the API's version has before mutua's own."""


@dataclass(frozen=True, slots=True)
class Remote:
    """What runs.

    Attributes:
        control_plane: Version of the daemon.
        proxies: `pod.namespace` and version of every sidecar.
    """

    control_plane: str
    proxies: Sequence[tuple[str, str]]


@click.command()
@scoped
@switch("--remote", help="Ask the mesh too; --remote=false: only the client.")
@switch("-s", "--short", help="Versions only; --short=false: with build information.")
@output_option("json", "yaml", default=None)
def command(scope: Scope, output: str | None, **flags: bool) -> None:
    """Print the versions of client, control plane and data plane."""
    remote, note = None, ""
    if flags["remote"]:
        try:
            remote = read_remote(scope)
        except Unavailable as error:
            note = f"{error}; only the client's version is shown"
    if output:
        print_document(document(remote), output)
    else:
        click.echo("\n".join(lines(remote, short=flags["short"])))
    if note:
        click.echo(note, err=True)


def proxy_versions(pods: Iterable[Object]) -> list[tuple[str, str]]:
    """Return name and version of every running sidecar, by the image its pod names."""
    return [
        (f"{pod['metadata']['name']}.{pod['metadata']['namespace']}", image.rpartition(":")[2])
        for pod in pods
        if (pod.get("status") or {}).get("phase") == "Running"
        for image in (c.get("image", "") for c in pod["spec"]["containers"] if c["name"] == PROXY)
    ]


def lines(remote: Remote | None, *, short: bool) -> list[str]:
    """Return what is printed for people; one component per line."""
    client = f"client version: {__version__}" if short else f"client version: {_info(__version__)}"
    if remote is None:
        return [client]
    shown = remote.control_plane if short else _info(remote.control_plane)
    counts = Counter(version for _, version in remote.proxies)
    plural = {version: "proxy" if count == 1 else "proxies" for version, count in counts.items()}
    data = ", ".join(f"{one} ({counts[one]} {plural[one]})" for one in sorted(counts))
    return [client, f"control plane version: {shown}", f"data plane version: {data or 'none'}"]


def document(remote: Remote | None) -> dict[str, Any]:
    """Return what is printed for programs, with istioctl's keys."""
    found: dict[str, Any] = {"clientVersion": _build(__version__)}
    if remote is not None:
        found["meshVersion"] = [
            {"Component": "istiod", "Revision": "default", "Info": _build(remote.control_plane)}
        ]
        found["dataPlaneVersion"] = [
            {"ID": name, "IstioVersion": version} for name, version in remote.proxies
        ]
    return found


def _build(version: str) -> dict[str, str]:
    return {
        "version": version,
        "revision": "",
        "golang_version": "",
        "status": "",
        "tag": version,
    }


def _info(version: str) -> str:
    return f'version.BuildInfo{{Version:"{version}"}}'


def read_remote(scope: Scope) -> Remote:
    """Ask a mesh for its versions.

    Raises:
        Unavailable: It does not run.
    """
    from mutua.cli.client import list_objects

    with scope.connect() as client:
        pods = list_objects(client, PODS)
        cluster = client.config.cluster
    trust = ssl.create_default_context(cadata=_decoded(cluster.certificate_auth_data))
    request = urllib.request.Request(f"{cluster.server}/version")  # noqa: S310 - from our kubeconfig
    with urllib.request.urlopen(request, timeout=10, context=trust) as answer:  # noqa: S310
        version = json.load(answer)["gitVersion"]
    return Remote(version.partition(MARK)[2] or version, proxy_versions(pods))


def _decoded(encoded: str) -> str:
    import base64

    return base64.b64decode(encoded).decode()
