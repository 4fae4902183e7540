"""`proxy-config cluster`: one row per cluster."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from mutua.api.object import Object

HEADER: Final = ("SERVICE FQDN", "PORT", "SUBSET", "DIRECTION", "TYPE", "DESTINATION RULE")


def parse_name(name: str) -> tuple[str, str, str, str]:
    """Return (fqdn, port, subset, direction) of `direction|port|subset|fqdn`.

    Any other name stands for itself.
    """
    parts = name.split("|")
    if len(parts) != 4:
        return name, "-", "-", "-"
    direction, port, subset, fqdn = parts
    return fqdn, port, subset or "-", direction


def select(clusters: Sequence[Object], wanted: Mapping[str, str]) -> list[Object]:
    """Return the clusters that match every non-empty filter, sorted as istioctl does.

    Args:
        clusters: As in a readable dump.
        wanted: `fqdn`, `port`, `subset` and `direction`; fqdn also matches by its beginning.
    """

    def fits(cluster: Object) -> bool:
        fqdn, port, subset, direction = parse_name(cluster["name"])
        return (
            fqdn.startswith(wanted.get("fqdn", ""))
            and wanted.get("port") in {None, "", port}
            and wanted.get("subset") in {None, "", subset}
            and wanted.get("direction") in {None, "", direction}
        )

    return sorted(filter(fits, clusters), key=_order)


def rows(clusters: Sequence[Object], prefix: str = "") -> list[tuple[str, ...]]:
    """Return one row per cluster."""
    return [(prefix + fqdn, *rest) for fqdn, *rest in map(_row, clusters)]


def _row(cluster: Object) -> tuple[str, ...]:
    kind = cluster.get("clusterType", {}).get("name") or cluster.get("type", "STATIC")
    return (*parse_name(cluster["name"]), kind, destination_rule(cluster))


def _order(cluster: Object) -> tuple[Any, ...]:
    fqdn, port, subset, direction = parse_name(cluster["name"])
    return fqdn, int(port) if port.isdigit() else 0, subset, direction


def destination_rule(cluster: Object) -> str:
    """Return `name.namespace` of the DestinationRule that shaped a cluster, "" when none did."""
    metadata = cluster.get("metadata") or {}
    config = (metadata.get("filterMetadata") or {}).get("istio", {}).get("config", "")
    parts = config.split("/")
    if len(parts) < 4 or parts[-2] != "destination-rule":
        return ""
    return f"{parts[-1]}.{parts[-3]}"
