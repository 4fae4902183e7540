"""Compiled configuration as JSON, for tests that compare it or hand it to an Envoy as a file."""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mutua.runtime.envoy import find_envoy
from mutua.xds.bootstrap import Sidecar, bootstrap
from mutua.xds.proto import message, to_json
from mutua.xds.resource import CLUSTER, LISTENER, ROUTE, ProxyResources


def readable(compiled: ProxyResources, kind: str) -> dict[str, Any]:
    """Return the resources of one type as Envoy's own JSON, by name."""
    cls = message(kind.rpartition("/")[2])
    return {one.name: to_json(cls.FromString(one.body)) for one in compiled[kind].values()}


def inline_routes(listeners: list[Any], compiled: ProxyResources) -> None:
    """Put into listeners the routes they would fetch, so that a file alone configures an Envoy."""
    _inline(listeners, readable(compiled, ROUTE))


def _inline(value: Any, routes: dict[str, Any]) -> None:
    if isinstance(value, list):
        for inner in value:
            _inline(inner, routes)
    elif isinstance(value, dict):
        if "rds" in value:
            value["route_config"] = routes[value.pop("rds")["route_config_name"]]
        for inner in value.values():
            _inline(inner, routes)


def take_secrets_from_file(value: Any) -> None:
    """Turn references to secrets that would be discovered into references to static ones."""
    if isinstance(value, dict):
        value.pop("sds_config", None)
    for inner in value.values() if isinstance(value, dict) else value:
        if isinstance(inner, dict | list):
            take_secrets_from_file(inner)


def objections(compiled: ProxyResources, folder: Path, secrets: Sequence[Any] = ()) -> str:
    """Return what a real Envoy has against clusters, listeners and routes, "" when nothing.

    Args:
        compiled: What a proxy is given.
        folder: Where the configuration file may be written.
        secrets: Static secrets; without any, Envoy does not look at the parameters of TLS.
    """
    config = bootstrap(
        Sidecar(pod="web-0", namespace="shop", address="10.244.0.2", service_account="web")
    )
    static = config["static_resources"]
    for kind, field in ((CLUSTER, "clusters"), (LISTENER, "listeners")):
        static[field] += readable(compiled, kind).values()
    inline_routes(static["listeners"], compiled)
    if secrets:
        take_secrets_from_file([static["clusters"], static["listeners"]])
        static["secrets"] = secrets
    file = folder / "envoy.json"
    file.write_text(json.dumps(config))
    done = subprocess.run(  # noqa: S603 - our own Envoy
        [find_envoy(), "--mode", "validate", "--log-level", "warning", "-c", file],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stderr if done.returncode == 0 else done.stderr + done.stdout or "refused"
