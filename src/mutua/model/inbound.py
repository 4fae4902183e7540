"""Which container ports of a pod do Services expose, and what do they speak?

One entry per distinct container port over all Services that select the pod; when two Services
target the same port, the oldest wins entirely.  Specification: istio-semantics section 2.2.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from mutua.model.entry import entry_target
from mutua.model.service import Service, ServiceName, ServicePort
from mutua.model.workload import InboundPort, Workload


def inbound_ports(
    services: Sequence[Service], workloads: Iterable[Workload]
) -> dict[str, tuple[InboundPort, ...]]:
    """Return each workload's exposed ports, by uid.

    Args:
        services: Oldest first.
        workloads: The pods in question.
    """
    index = _Index(services)
    return {workload.uid: _ports(index.selecting(workload), workload) for workload in workloads}


class _Index:
    """Finds the services that select a pod without asking every service.

    A service is filed under its rarest label: a pod that it selects has that label, and few other
    services do.
    """

    def __init__(self, services: Sequence[Service]) -> None:
        self._filed: dict[tuple[str, str, str], list[tuple[int, Service]]] = defaultdict(list)
        usage = Counter(label for service in services for label in _labels(service))
        for age, service in enumerate(services):
            if service.selector:
                rarest = min(_labels(service), key=lambda label: (usage[label], label))
                self._filed[rarest].append((age, service))

    def selecting(self, workload: Workload) -> list[Service]:
        """Return the services that select a pod, oldest first."""
        found = [
            (age, service)
            for key, value in workload.labels.items()
            for age, service in self._filed.get((workload.namespace, key, value), ())
            if service.selector.items() <= workload.labels.items()
        ]
        return [service for _, service in sorted(found, key=lambda pair: pair[0])]


def _labels(service: Service) -> list[tuple[str, str, str]]:
    return [(service.id.namespace, key, value) for key, value in service.selector.items()]


def _ports(services: Iterable[Service], workload: Workload) -> tuple[InboundPort, ...]:
    ports: dict[int, InboundPort] = {}
    for service in services:
        for port in service.ports:
            number = target_port(service, port, workload)
            if number is not None and number not in ports:
                ports[number] = InboundPort(number, port.protocol)
    return tuple(ports[number] for number in sorted(ports))


@dataclass(frozen=True, slots=True, order=True)
class PortConflict:
    """A container port to which two Services lead in ways that do not fit together.

    Attributes:
        service: The younger Service.
        port: Its port.
        older: The Service that counts.
        older_port: Its port.
        target: The container port.
        protocols: What the younger and the older say it speaks, when they disagree.
    """

    service: ServiceName
    port: int
    older: ServiceName
    older_port: int
    target: int
    protocols: tuple[str, str] | tuple[()]


def port_conflicts(
    services: Sequence[Service], workloads: Iterable[Workload]
) -> frozenset[PortConflict]:
    """Return the conflicts between Services that lead to the same port of a workload.

    Args:
        services: Oldest first.
        workloads: The pods in question.
    """
    index = _Index(services)
    return frozenset(
        conflict
        for workload in workloads
        if len(selecting := index.selecting(workload)) > 1
        for conflict in _conflicts(selecting, workload)
    )


def _conflicts(services: Iterable[Service], workload: Workload) -> Iterator[PortConflict]:
    first: dict[int, tuple[Service, ServicePort]] = {}
    for service in services:
        for port in service.ports:
            number = target_port(service, port, workload)
            if number is None:
                continue
            older, counting = first.setdefault(number, (service, port))
            disagree = port.protocol is not counting.protocol
            if older is not service and (disagree or port.number != counting.number):
                said = (port.protocol.value, counting.protocol.value) if disagree else ()
                yield PortConflict(service.id, port.number, older.id, counting.number, number, said)


def target_port(service: Service, port: ServicePort, workload: Workload) -> int | None:
    """Return the container port that a Service port leads to, None when the pod has none."""
    if isinstance(port.target, str):
        return workload.container_ports.get(port.target)
    return entry_target(port, workload) if service.is_entry else port.target
