"""From Service and EndpointSlice objects to the table of Services: what kube-proxy decides.  Pure.

Who may be sent new connections, in this order: ready endpoints; if there are none, those that are
terminating but still serving, so that the last pod of a rollout is not cut off early.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Final

from mutua.api.object import Object
from mutua.foundation.errors import Rejected
from mutua.runtime.network.rules import Backend, Protocol, ServiceAddress

SERVICE_NAME: Final = "kubernetes.io/service-name"
"""The label by which a slice names its Service."""

PROTOCOLS: Final[Mapping[str, Protocol]] = {"TCP": "tcp", "UDP": "udp"}

SlicesByService = Mapping[tuple[str, str], list[Object]]


def group_by_service(slices: Iterable[Object]) -> SlicesByService:
    """Return the IPv4 slices of each Service, by (namespace, name)."""
    grouped: dict[tuple[str, str], list[Object]] = {}
    for endpoint_slice in slices:
        metadata = endpoint_slice["metadata"]
        name = (metadata.get("labels") or {}).get(SERVICE_NAME)
        if name and endpoint_slice.get("addressType") == "IPv4":
            grouped.setdefault((metadata.get("namespace") or "", name), []).append(endpoint_slice)
    return grouped


def service_table(
    services: Iterable[Object], slices: Iterable[Object]
) -> dict[ServiceAddress, tuple[Backend, ...]]:
    """Return where every port of every Service with a cluster IP leads."""
    grouped = group_by_service(slices)
    table: dict[ServiceAddress, tuple[Backend, ...]] = {}
    for service in services:
        spec = service.get("spec") or {}
        if not has_cluster_ip(service):
            continue
        key = (service["metadata"].get("namespace") or "", service["metadata"]["name"])
        for port in spec.get("ports") or ():
            protocol = PROTOCOLS.get(port.get("protocol") or "TCP")
            if protocol is None:
                continue
            with suppress(Rejected):  # no IPv4 address: admission gives none, a store may
                address = ServiceAddress(spec["clusterIP"], port["port"], protocol)
                table[address] = _backends(grouped.get(key, []), port)
    return table


def has_cluster_ip(service: Object) -> bool:
    """Tell whether the Service has an address of its own: neither headless nor an alias."""
    spec = service.get("spec") or {}
    named = spec.get("type") == "ExternalName"
    return not named and spec.get("clusterIP") not in {None, "", "None"}


def usable(slices: Iterable[Object], *, even_unready: bool = False) -> Iterator[tuple[Object, Any]]:
    """Yield (slice, endpoint) of those that may get new connections."""
    every = [(part, endpoint) for part in slices for endpoint in part.get("endpoints") or ()]
    ready = [pair for pair in every if even_unready or _condition(pair[1], "ready", default=True)]
    yield from ready or [pair for pair in every if _is_last_resort(pair[1])]


def _is_last_resort(endpoint: Any) -> bool:
    return _condition(endpoint, "serving", default=False) and _condition(
        endpoint, "terminating", default=False
    )


def _condition(endpoint: Any, name: str, *, default: bool) -> bool:
    value = (endpoint.get("conditions") or {}).get(name)
    return default if value is None else bool(value)


def _backends(slices: list[Object], port: Any) -> tuple[Backend, ...]:
    """Return the backends of one Service port, sorted: the same set is always the same value."""
    found: set[Backend] = set()
    for part, endpoint in usable(slices):
        for number in _numbers(part, port):
            for address in (endpoint.get("addresses") or ())[:1]:
                with suppress(Rejected):  # as above: one bad endpoint spoils no other
                    found.add(Backend(address, number))
    return tuple(sorted(found))


def _numbers(endpoint_slice: Object, port: Any) -> Iterator[int]:
    wanted = (port.get("name") or "", port.get("protocol") or "TCP")
    for offered in endpoint_slice.get("ports") or ():
        if (offered.get("name") or "", offered.get("protocol") or "TCP") == wanted:
            yield offered.get("port") or 0
