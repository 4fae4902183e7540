"""Where does `proxy-config` read?  From a running sidecar, or from a file saved earlier."""

import functools
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from mutua.api.object import Object
from mutua.cli.istioctl.dump import readable
from mutua.cli.istioctl.endpoints import held
from mutua.cli.istioctl.scope import Scope, scoped
from mutua.cli.istioctl.sidecar import ADMIN_PORT
from mutua.foundation.errors import Rejected


@dataclass(frozen=True, slots=True)
class Source:
    """One proxy's answers.

    Attributes:
        scope: Which mesh and namespace.
        target: Which pod, "" when a file is read.
        file: Path of a saved dump, "-" for standard input, "" for a running proxy.
        port: Envoy's admin port.
    """

    scope: Scope
    target: str
    file: str
    port: int

    def dump(self) -> dict[str, Any]:
        """Return the config dump, endpoints included."""
        from mutua.cli.istioctl.admin import DUMP

        found: dict[str, Any] = self._read(DUMP)[0]
        return found

    def cluster_statuses(self) -> list[Object]:
        """Return Envoy's list of clusters and hosts; from a saved config dump what is in that.

        Raises:
            Rejected: The file is neither.
        """
        from mutua.cli.istioctl.admin import CLUSTERS

        return _statuses(self._read(CLUSTERS)[0])

    def everything(self) -> tuple[dict[str, Any], list[Object]]:
        """Return the config dump, and the clusters with their hosts."""
        from mutua.cli.istioctl.admin import CLUSTERS, DUMP

        if self.file:
            dump = self.dump()
            return dump, held(dump)
        dump, answer = self._read(DUMP, CLUSTERS)
        return dump, _statuses(answer)

    def _read(self, *requests: str) -> list[Any]:
        if self.file:
            return [readable(read_saved(self.file))]
        from mutua.cli.istioctl.admin import Admin
        from mutua.cli.istioctl.target import parse_target, resolve

        with self.scope.connect() as client:
            pod = resolve(client, parse_target(self.target, self.scope.namespace))
            bodies = Admin(client, self.port).ask(pod, *requests)
        return [readable(json.loads(body)) for body in bodies]


admin_port_option: Final = click.option(
    "--proxy-admin-port",
    "port",
    type=click.IntRange(1, 65535),
    default=ADMIN_PORT,
    show_default=True,
    help="Where Envoy's admin interface listens in the pod.",
)


def reads_proxy(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command `[POD]`, `-f` and `--proxy-admin-port`, and a `Source` as its argument."""

    @scoped
    @click.argument("target", required=False, metavar="[POD | TYPE/NAME][.NAMESPACE]")
    @click.option("-f", "--file", default="", help="Read a saved dump (- for stdin).")
    @admin_port_option
    @functools.wraps(function)
    def command(scope: Scope, /, target: str | None, file: str, port: int, **options: Any) -> Any:
        if bool(target) == bool(file):
            raise Rejected("name a pod, such as deploy/web, or a file with -f")
        return function(Source(scope, target or "", file, port), **options)

    return command


def _statuses(answer: Any) -> list[Object]:
    found: Sequence[Object] = answer.get("clusterStatuses") or held(answer)
    if not found:
        raise Rejected(
            "no endpoints in it, neither of /config_dump?include_eds nor `clusterStatuses` of "
            "/clusters?format=json",
            hint="save it with: istioctl proxy-config all POD -o json",
        )
    return list(found)


def read_saved(file: str) -> Any:
    """Return a dump that was saved in a file, "-" for standard input.

    Raises:
        Rejected: It is not there, or is none.
    """
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text()
        saved = json.loads(text)
    except OSError as error:
        raise Rejected(f"cannot read {file}: {error.strerror}") from error
    except ValueError as error:
        raise Rejected(f"{file} is not JSON: {error}") from error
    if not isinstance(saved, dict):
        raise Rejected(f"{file} is not a saved answer of Envoy")
    return saved
