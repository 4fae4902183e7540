"""`proxy-status POD`: does this proxy hold what the control plane makes for it?

What it should hold is compiled here, from the API's objects; what it holds is its Envoy's dump.
Equal configuration has an equal version, so two maps of versions are compared.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from mutua.cli.istioctl.dump import section
from mutua.model.snapshot import MeshSnapshot
from mutua.xds.compile.compiler import compile_proxy
from mutua.xds.resource import CLUSTER, LISTENER, ROUTE

Versions = Mapping[str, str]
"""Resource name to version."""

TYPES: Final[Mapping[str, str]] = {"Clusters": CLUSTER, "Listeners": LISTENER, "Routes": ROUTE}
"""What istioctl compares, in its order."""


def wanted(snapshot: MeshSnapshot, uid: str) -> dict[str, Versions]:
    """Return what a pod's proxy should hold, by kind."""
    resources = compile_proxy(snapshot, uid)
    return {
        kind: {name: one.version for name, one in resources[url].items()}
        for kind, url in TYPES.items()
    }


def held(dump: Mapping[str, Any]) -> dict[str, Versions]:
    """Return what a proxy holds, by kind, from its readable dump."""
    clusters = section(dump, "ClustersConfigDump").get("dynamicActiveClusters", ())
    listeners = section(dump, "ListenersConfigDump").get("dynamicListeners", ())
    routes = section(dump, "RoutesConfigDump").get("dynamicRouteConfigs", ())
    return {
        "Clusters": {one["cluster"]["name"]: one.get("versionInfo", "") for one in clusters},
        "Listeners": {
            one["name"]: one.get("activeState", {}).get("versionInfo", "") for one in listeners
        },
        "Routes": {one["routeConfig"]["name"]: one.get("versionInfo", "") for one in routes},
    }


def lines(should: Mapping[str, Versions], does: Mapping[str, Versions]) -> Iterator[str]:
    """Yield a line per kind, and below it every resource that differs."""
    for kind in TYPES:
        differences = list(_differences(should[kind], does[kind]))
        yield f"{kind} Don't Match" if differences else f"{kind} Match"
        yield from differences


def _differences(should: Versions, does: Versions) -> Iterator[str]:
    for name in sorted(should.keys() | does.keys()):
        if name not in does:
            yield f"  - {name}: not held (yet)"
        elif name not in should:
            yield f"  + {name}: held, and not meant for it (any more)"
        elif should[name] != does[name]:
            yield f"  ~ {name}: held in another version"
