"""Is what a proxy holds what it was sent?  The control plane knows; the proxy's dump knows when.

SYNCED   it accepted everything of that type that it was sent
ERROR    it refused something of that type
STALE    it has not answered yet, or has lost the control plane, so that news may be waiting
NOT SENT it asked for that type and was sent nothing
IGNORED  it never asked for that type
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from mutua.api.object import Object
from mutua.cli.istioctl.dump import section
from mutua.foundation.clock import parse_rfc3339

TYPES: Final[Mapping[str, tuple[str, str, str]]] = {
    # short name: (message, part of the dump, the list of received resources in it)
    "CDS": ("cluster.v3.Cluster", "ClustersConfigDump", "dynamicActiveClusters"),
    "LDS": ("listener.v3.Listener", "ListenersConfigDump", "dynamicListeners"),
    "EDS": (
        "endpoint.v3.ClusterLoadAssignment", "EndpointsConfigDump", "dynamicEndpointConfigs"
    ),
    "RDS": ("route.v3.RouteConfiguration", "RoutesConfigDump", "dynamicRouteConfigs"),
    "ECDS": ("core.v3.TypedExtensionConfig", "EcdsConfigDump", "ecdsFilters"),
}  # fmt: skip

TYPE_URL: Final = "type.googleapis.com/envoy.config."
"""What a message's name is preceded by."""

SYNC_STATUS: Final = "/debug/syncz"
"""Where the control plane tells; mutua.cluster.composition.SYNC_STATUS."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """What is known about one proxy.

    Attributes:
        name: `pod.namespace`.
        cluster: Name of the Kubernetes cluster it says it is in.
        version: mutua's version, as its bootstrap has it.
        received: Short names of the types it holds.
        states: Short name to what `-v 1` shows.
    """

    name: str
    cluster: str = ""
    version: str = ""
    received: tuple[str, ...] = ()
    states: Mapping[str, str] | None = None


def judge(
    name: str, dump: Mapping[str, Any], configs: Sequence[Mapping[str, Any]], now: datetime
) -> Proxy:
    """Return what is known about a proxy.

    Args:
        name: `pod.namespace`.
        dump: From its Envoy, readable.
        configs: `genericXdsConfigs` of the control plane; none when it has no stream.
        now: For ages.
    """
    node = section(dump, "BootstrapConfigDump").get("bootstrap", {}).get("node", {})
    metadata = node.get("metadata", {})
    parts = _received(dump)
    said = {one["typeUrl"]: one["configStatus"] for one in configs}
    return Proxy(
        name=name,
        cluster=str(metadata.get("CLUSTER_ID", "")),
        version=str(metadata.get("MUTUA_VERSION", "")),
        received=tuple(short for short, resources in parts.items() if resources),
        states={
            short: _state(_word(short, parts[short], said), parts[short], now)
            for short in TYPES
            if short != "ECDS"
        },
    )


def client_config(
    proxy: Proxy, dump: Mapping[str, Any], configs: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return what `-o json` shows of a proxy: Envoy's message ClientConfig.

    Args:
        proxy: What was judged.
        dump: From its Envoy, readable.
        configs: `genericXdsConfigs` of the control plane.
    """
    times = {
        TYPE_URL + TYPES[short][0]: [text for one in resources for text in _updates(one)]
        for short, resources in _received(dump).items()
    }
    metadata = {"CLUSTER_ID": proxy.cluster, "ISTIO_VERSION": proxy.version}
    dated = []
    for one in configs:
        found = times.get(one["typeUrl"])
        dated.append({**one, "lastUpdated": max(found)} if found else one)
    return {"node": {"id": proxy.name, "metadata": metadata}, "genericXdsConfigs": dated}


def _received(dump: Mapping[str, Any]) -> dict[str, list[Object]]:
    """Return the resources a proxy holds, by short name of their type; none of an empty dump."""
    if not dump:
        return {}
    return {short: section(dump, part).get(field, []) for short, (_, part, field) in TYPES.items()}


def _word(short: str, resources: list[Object], said: Mapping[str, str]) -> str:
    if not said:
        return "STALE" if resources else "NOT SENT"
    return said.get(TYPE_URL + TYPES[short][0], "IGNORED").replace("_", " ")


def _state(word: str, resources: list[Object], now: datetime) -> str:
    times = [parse_rfc3339(text) for one in resources for text in _updates(one)]
    return f"{word} ({_age((now - max(times)).total_seconds())})" if times else word


def _updates(resource: Object) -> list[str]:
    states = (resource, resource.get("activeState", {}), resource.get("errorState", {}))
    return [state["lastUpdated"] for state in states if state.get("lastUpdated")]


def _age(seconds: float) -> str:
    for unit, name in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= unit:
            return f"{int(seconds // unit)}{name}"
    return f"{max(0, int(seconds))}s"
