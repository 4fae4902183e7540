"""Is what a proxy holds what it was sent?  Judged by the proxy's own dump and statistics.

SYNCED   it accepted everything of that type that it was sent
ERROR    it refused something of that type, and still does
STALE    it has lost the control plane, so that news may be waiting
NOT SENT it asked for that type and holds nothing of it
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from mutua.api.object import Object
from mutua.cli.istioctl.dump import section
from mutua.foundation.clock import parse_rfc3339

TYPES: Final[Mapping[str, tuple[str, str]]] = {
    # short name: (part of the dump, the list of received resources in it)
    "CDS": ("ClustersConfigDump", "dynamicActiveClusters"),
    "LDS": ("ListenersConfigDump", "dynamicListeners"),
    "EDS": ("EndpointsConfigDump", "dynamicEndpointConfigs"),
    "RDS": ("RoutesConfigDump", "dynamicRouteConfigs"),
    "ECDS": ("EcdsConfigDump", "ecdsFilters"),
}

CONNECTED: Final = "control_plane.connected_state"
"""Envoy's statistic: 1 while it has a stream to the control plane."""


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


def judge(name: str, dump: Mapping[str, Any], connected: bool, now: datetime) -> Proxy:
    """Return what a readable config dump says about its proxy.

    Args:
        name: `pod.namespace`.
        dump: From its Envoy.
        connected: Whether it has a stream to the control plane.
        now: For ages.
    """
    node = section(dump, "BootstrapConfigDump").get("bootstrap", {}).get("node", {})
    metadata = node.get("metadata", {})
    parts = {short: section(dump, part).get(field, []) for short, (part, field) in TYPES.items()}
    return Proxy(
        name=name,
        cluster=str(metadata.get("CLUSTER_ID", "")),
        version=str(metadata.get("MUTUA_VERSION", "")),
        received=tuple(short for short, resources in parts.items() if resources),
        states={short: _state(parts[short], connected, now) for short in TYPES if short != "ECDS"},
    )


def _state(resources: list[Object], connected: bool, now: datetime) -> str:
    if not resources:
        return "NOT SENT"
    word = "SYNCED" if connected else "STALE"
    if any("errorState" in one for one in resources):
        word = "ERROR"
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
