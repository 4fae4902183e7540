"""From Services and EndpointSlices to DNS names, as Kubernetes' DNS specification has them.  Pure.

    <svc>.<ns>.svc.cluster.local                   the cluster IP; headless: the pods' addresses
    <host>.<svc>.<ns>.svc.cluster.local            one pod of a headless Service
    _<port>._<protocol>.<svc>.<ns>.svc.cluster.local   where a named port is (SRV)
    <1-2-3-4>.<ns>.pod.cluster.local               the address 1.2.3.4
    <host of a ServiceEntry>                       its addresses, given or allocated

A name above an existing one exists too, with no records, so that resolvers go on to their next
search domain.  Source: kubernetes/dns, docs/specification.md (version 1.1.0).

A Service's name stays its own; of several entries for one host the oldest answers, those that all
namespaces see before the others.

Deviates from Istio: everybody gets the same answer, whichever entries their namespace sees.
"""

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import AddressValueError, IPv4Address
from typing import Any, Final

from mutua.api.object import Object
from mutua.api.service_entry import ServiceEntry, parse_service_entry
from mutua.api.verdict import Invalid
from mutua.cluster.dns_wire import ZONE, Answer, Target
from mutua.runtime.network.service_objects import (
    SlicesByService,
    group_by_service,
    has_cluster_ip,
    usable,
)

SERVICES: Final = f"svc.{ZONE}"
PODS: Final = f".pod.{ZONE}"

EMPTY: Final = Answer()


class Records:
    """All names of the cluster at one moment.

    Replace the whole value when a Service or EndpointSlice changes: building it takes
    milliseconds for hundreds of Services.
    """

    def __init__(
        self,
        services: Iterable[Object] = (),
        slices: Iterable[Object] = (),
        entries: Iterable[Object] = (),
    ) -> None:
        self._names: dict[str, Answer] = {ZONE: EMPTY, SERVICES: EMPTY, PODS[1:]: EMPTY}
        grouped = group_by_service(slices)
        taken: set[str] = set()
        for service in services:
            for name, answer in _service_names(service, grouped):
                self._add(name.lower(), answer)
                taken.add(name.lower())
        for host, answer in _entry_names(entries):
            if host not in taken:
                self._names[host] = answer
                taken.add(host)

    @classmethod
    def of(cls, names: Mapping[str, Answer]) -> "Records":
        """Return the names that another `Records` had."""
        records = cls()
        records._names = dict(names)
        return records

    @property
    def names(self) -> Mapping[str, Answer]:
        """Every name, in full and lower case, without a final dot."""
        return self._names

    def lookup(self, name: str) -> Answer | None:
        """Return what is known about a lower-case name without final dot; None: no such name."""
        found = self._names.get(name)
        if found is None and name.endswith(PODS):
            return _pod(name)
        while found is None and name:
            name = name.partition(".")[2]
            found = self._names.get(f"*.{name}")
        return found

    def _add(self, name: str, answer: Answer) -> None:
        self._names[name] = answer
        parent = name.partition(".")[2]
        while parent and parent not in self._names:
            self._names[parent] = EMPTY
            parent = parent.partition(".")[2]


def _pod(name: str) -> Answer | None:
    """Read the address out of <1-2-3-4>.<namespace>.pod.cluster.local."""
    label, _, namespace = name.removesuffix(PODS).partition(".")
    if not namespace:
        return EMPTY
    try:
        return Answer((str(IPv4Address(label.replace("-", "."))),))
    except AddressValueError:
        return None


def _service_names(service: Object, grouped: SlicesByService) -> Iterator[tuple[str, Answer]]:
    metadata, spec = service["metadata"], service.get("spec") or {}
    namespace = metadata.get("namespace") or ""
    name = f"{metadata['name']}.{namespace}.{SERVICES}"
    if spec.get("type") == "ExternalName":
        yield name, Answer(alias=spec.get("externalName") or "")
    elif has_cluster_ip(service):
        yield name, Answer(_addresses([spec["clusterIP"]]))
        for port in spec.get("ports") or ():
            if port.get("name"):
                label = _port_label(port["name"], port.get("protocol"))
                yield f"{label}.{name}", Answer(targets=(Target(name, port["port"]),))
    else:
        slices = grouped.get((namespace, metadata["name"]), [])
        even_unready = bool(spec.get("publishNotReadyAddresses"))
        yield from _headless_names(name, list(usable(slices, even_unready=even_unready)))


def _headless_names(name: str, endpoints: list[tuple[Object, Any]]) -> Iterator[tuple[str, Answer]]:
    hosts: dict[str, list[str]] = {}
    ports: dict[str, list[Target]] = {}
    for part, endpoint in endpoints:
        for address in _addresses((endpoint.get("addresses") or [])[:1]):
            host = f"{endpoint.get('hostname') or address.replace('.', '-')}.{name}"
            hosts.setdefault(host, []).append(address)
            for port in part.get("ports") or ():
                if port.get("name") and port.get("port"):
                    label = _port_label(port["name"], port.get("protocol"))
                    ports.setdefault(f"{label}.{name}", []).append(Target(host, port["port"]))
    yield name, Answer(_addresses(address for behind in hosts.values() for address in behind))
    for host, behind in hosts.items():
        yield host, Answer(_addresses(behind))
    for label, targets in ports.items():
        yield label, Answer(targets=tuple(targets))


def _entry_names(entries: Iterable[Object]) -> Iterator[tuple[str, Answer]]:
    """Yield the hosts of ServiceEntries that have an address, those that win first."""
    parsed = filter(None, map(_entry, entries))
    for entry in sorted(parsed, key=lambda e: (_is_private(e), e.created, e.namespace, e.name)):
        for host in entry.hosts:
            found = entry.addresses or entry.allocated.get(host, ())
            if addresses := _addresses(found):
                yield host, Answer(addresses)


def _entry(obj: Object) -> ServiceEntry | None:
    try:
        return parse_service_entry(obj)
    except Invalid:
        return None


def _is_private(entry: ServiceEntry) -> bool:
    return bool(entry.export_to) and "*" not in entry.export_to


def _addresses(texts: Iterable[str]) -> tuple[str, ...]:
    """Return the IPv4 addresses among `texts`, once each: anybody may have written a slice."""
    return tuple(dict.fromkeys(text for text in texts if _is_address(text)))


def _is_address(text: str) -> bool:
    try:
        IPv4Address(text)
    except AddressValueError:
        return False
    return True


def _port_label(name: str, protocol: str | None) -> str:
    return f"_{name}._{(protocol or 'TCP').lower()}"
