"""From ServiceEntries to the Services that clients see, and who serves them.

Every host of an entry is a Service of its own.  Endpoints are those written down, or the pods that
the entry selects, or, when names are resolved and none is written down, the host itself.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from mutua.api.object import Object
from mutua.api.service_entry import (
    EntryEndpoint,
    EntryPort,
    Location,
    Resolution,
    ServiceEntry,
    parse_service_entry,
)
from mutua.model.service import Protocol, Service, ServiceName, ServicePort, port_protocol
from mutua.model.workload import TLS_MODE_ISTIO, TLS_MODE_LABEL, Endpoint, Workload


@dataclass(frozen=True, slots=True)
class EntryService:
    """One host of an entry.

    Attributes:
        service: What clients see.
        entry: Where it is described.
    """

    service: Service
    entry: ServiceEntry


def parse_entry(obj: Object) -> tuple[EntryService, ...]:
    """Return the Services that a ServiceEntry describes, one per host."""
    entry = parse_service_entry(obj)
    return tuple(EntryService(_service(entry, host), entry) for host in entry.hosts)


def merge_entries(entries: Iterable[EntryService]) -> dict[ServiceName, tuple[EntryService, ...]]:
    """Return the Services by name; of several for one host, oldest first, only further ports count.

    Args:
        entries: All hosts of all entries, in any order.
    """
    found: dict[ServiceName, tuple[EntryService, ...]] = {}
    for one in sorted(entries, key=lambda one: (one.service.created, one.entry.name)):
        known = found.get(one.service.id, ())
        taken = {port.number for other in known for port in other.service.ports}
        ports = tuple(port for port in one.service.ports if port.number not in taken)
        if ports or not known:
            found[one.service.id] = (
                *known,
                replace(one, service=replace(one.service, ports=ports)),
            )
    return found


def merged_service(parts: tuple[EntryService, ...]) -> Service:
    """Return one Service with the ports of all: in all else the oldest speaks."""
    first = parts[0].service
    if len(parts) == 1:
        return first
    return replace(first, ports=tuple(port for one in parts for port in one.service.ports))


def entry_endpoints(
    parts: tuple[EntryService, ...], workloads: Iterable[Workload]
) -> Mapping[int, tuple[Endpoint, ...]]:
    """Return who serves each port of a ServiceEntry's host, by address.

    Args:
        parts: What `merge_entries` found for the host.
        workloads: All pods.
    """
    return {
        port.number: tuple(sorted(_serving(one, port, workloads), key=_place))
        for one in parts
        for port in one.service.ports
    }


def entry_target(port: ServicePort, pod: Workload) -> int:
    """Return where a pod that an entry selects serves a port of the entry.

    A container port of the same name comes first (Istio).
    """
    return pod.container_ports.get(port.name, _number(port))


def _number(port: ServicePort) -> int:
    return port.target if isinstance(port.target, int) else port.number


def _place(endpoint: Endpoint) -> tuple[str, int]:
    return endpoint.address, endpoint.port


def _service(entry: ServiceEntry, host: str) -> Service:
    return Service(
        id=ServiceName(entry.namespace, host),
        hostname=host,
        created=entry.created,
        addresses=entry.addresses or entry.allocated.get(host, ()),
        resolution=entry.resolution,
        ports=tuple(filter(None, map(_port, entry.ports))),
        selector=entry.selector or {},
        identities=entry.subject_alt_names,
        is_entry=True,
        is_external=entry.location is Location.MESH_EXTERNAL,
        export_to=entry.export_to,
    )


def _port(port: EntryPort) -> ServicePort | None:
    protocol = port_protocol(port.number, name=port.protocol, app_protocol="", transport="TCP")
    if protocol is Protocol.UDP:
        return None
    return ServicePort(number=port.number, name=port.name, protocol=protocol, target=port.target)


def _serving(
    one: EntryService, port: ServicePort, workloads: Iterable[Workload]
) -> Iterable[Endpoint]:
    entry, service = one.entry, one.service
    target = _number(port)
    if entry.selector is not None:
        for pod in workloads:
            if pod.namespace == entry.namespace and pod.address and _is_selected(entry, pod):
                yield Endpoint(pod.address, entry_target(port, pod), pod.ready, pod)
    elif entry.endpoints and entry.resolution is not Resolution.NONE:
        for place in entry.endpoints:
            number = place.ports.get(port.name, target)
            workload = _described(entry, place)
            yield Endpoint(place.address or service.hostname, number, ready=True, workload=workload)
    elif entry.resolution in {Resolution.DNS, Resolution.DNS_ROUND_ROBIN}:
        yield Endpoint(service.hostname, target, ready=True, workload=None)


def _is_selected(entry: ServiceEntry, pod: Workload) -> bool:
    return (entry.selector or {}).items() <= pod.labels.items()


def _described(entry: ServiceEntry, place: EntryEndpoint) -> Workload | None:
    """Return what an entry says about an endpoint; None when it says nothing.

    Without the label that says otherwise, an endpoint with an account has a sidecar
    (istio-semantics section 3.3).
    """
    if not place.labels and not place.service_account:
        return None
    labels = dict(place.labels)
    if place.service_account:
        labels.setdefault(TLS_MODE_LABEL, TLS_MODE_ISTIO)
    return Workload(
        uid="",
        namespace=entry.namespace,
        name=place.address,
        address=place.address,
        labels=labels,
        service_account=place.service_account,
        container_ports={},
    )
