"""`proxy-status POD`: does this proxy hold what the control plane makes for it?

What it should hold is compiled here, from the API's objects; what it holds is its Envoy's dump.
Equal configuration has an equal version, so versions are compared, and of what differs the text:
`-` is what the control plane makes, `+` what the proxy holds.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC
from difflib import unified_diff
from typing import Any, Final

from mutua.api.object import Object
from mutua.cli.istioctl.dump import readable, section
from mutua.foundation.clock import parse_rfc3339
from mutua.model.snapshot import MeshSnapshot
from mutua.xds.compile.compiler import compile_proxy
from mutua.xds.proto import message, to_json
from mutua.xds.resource import CLUSTER, LISTENER, ROUTE, Resource

TYPES: Final[Mapping[str, str]] = {"Clusters": CLUSTER, "Listeners": LISTENER, "Routes": ROUTE}
"""What istioctl compares, in its order."""

RFC1123: Final = "%a, %d %b %Y %H:%M:%S %Z"
"""How istioctl writes when routes were loaded."""

CONTEXT: Final = 7
"""Unchanged lines around a change (istioctl's)."""


@dataclass(frozen=True, slots=True)
class Held:
    """One resource of a proxy.

    Attributes:
        version: Of its content, "" while it is not in use yet.
        content: As a readable dump has it.
        updated: When it came (RFC 3339), "" when unknown.
    """

    version: str
    content: Object
    updated: str


def wanted(snapshot: MeshSnapshot, uid: str) -> dict[str, Mapping[str, Resource]]:
    """Return what a pod's proxy should hold, by kind and name."""
    resources = compile_proxy(snapshot, uid)
    return {kind: dict(resources[url].items()) for kind, url in TYPES.items()}


def held(dump: Mapping[str, Any]) -> dict[str, Mapping[str, Held]]:
    """Return what a proxy holds, by kind and name, from its readable dump."""
    clusters = section(dump, "ClustersConfigDump").get("dynamicActiveClusters", ())
    listeners = section(dump, "ListenersConfigDump").get("dynamicListeners", ())
    routes = section(dump, "RoutesConfigDump").get("dynamicRouteConfigs", ())
    return {
        "Clusters": {one["cluster"]["name"]: _held(one, "cluster") for one in clusters},
        "Listeners": {
            one["name"]: _held(one.get("activeState", {}), "listener") for one in listeners
        },
        "Routes": {one["routeConfig"]["name"]: _held(one, "routeConfig") for one in routes},
    }


def lines(
    should: Mapping[str, Mapping[str, Resource]], does: Mapping[str, Mapping[str, Held]]
) -> Iterator[str]:
    """Yield a line per kind, and below it the difference of every resource that differs."""
    for kind, url in TYPES.items():
        names = should[kind].keys() | does[kind].keys()
        differing = [name for name in sorted(names) if _differs(should[kind], does[kind], name)]
        loaded = _loaded(does[kind].values()) if kind == "Routes" else ""
        yield f"{kind} Don't Match{loaded}" if differing else f"{kind} Match{loaded}"
        for name in differing:
            made, has = should[kind].get(name), does[kind].get(name)
            yield from unified_diff(
                _text(_content(made, url) if made else None),
                _text(has.content if has else None),
                f"Istiod {name}",
                f"Envoy {name}",
                n=CONTEXT,
                lineterm="",
            )


def _held(entry: Object, field: str) -> Held:
    content = {key: value for key, value in entry.get(field, {}).items() if key != "@type"}
    return Held(entry.get("versionInfo", ""), content, entry.get("lastUpdated", ""))


def _differs(should: Mapping[str, Resource], does: Mapping[str, Held], name: str) -> bool:
    return name not in should or name not in does or should[name].version != does[name].version


def _content(resource: Resource, url: str) -> Object:
    found: Object = readable(to_json(message(url.rpartition("/")[2]).FromString(resource.body)))
    return found


def _text(content: Object | None) -> list[str]:
    if content is None:
        return []
    return json.dumps(content, indent=2, sort_keys=True).splitlines()


def _loaded(routes: Iterable[Held]) -> str:
    times = [one.updated for one in routes if one.updated]
    if not times:
        return ""
    return f" (RDS last loaded at {parse_rfc3339(max(times)).astimezone(UTC):{RFC1123}})"
