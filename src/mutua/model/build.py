"""From the objects users wrote to the mesh they mean.

`build_snapshot` is a pure function of its objects.  A `BuildMemo` makes the next call cheap: an
object that is the same Python object as last time is not read again, a value that reads equal to
last time stays the same object, and maps whose inputs did not change are reused whole.  So a
policy change costs one pass over a list of pointers, and everything downstream may compare by `is`.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeVar

from mutua.api.destination import DestinationRule, parse_destination_rule
from mutua.api.object import (
    DESTINATION_RULES,
    ENDPOINT_SLICES,
    PEER_AUTHENTICATIONS,
    PODS,
    SERVICE_ENTRIES,
    SERVICES,
    Object,
    Resource,
)
from mutua.api.security import PeerAuthentication, parse_peer_authentication
from mutua.foundation.errors import Rejected
from mutua.model.entry import (
    EntryService,
    entry_endpoints,
    merge_entries,
    merged_service,
    parse_entry,
)
from mutua.model.inbound import inbound_ports
from mutua.model.parse import Slice, parse_service, parse_slice, parse_workload
from mutua.model.service import Service, ServiceName
from mutua.model.settings import MeshSettings
from mutua.model.snapshot import MeshSnapshot
from mutua.model.workload import Endpoint, Workload

INPUTS: Final = (
    PODS,
    SERVICES,
    ENDPOINT_SLICES,
    SERVICE_ENTRIES,
    PEER_AUTHENTICATIONS,
    DESTINATION_RULES,
)
"""The kinds that a snapshot is built from."""

T = TypeVar("T")
K = TypeVar("K")


class BuildMemo:
    """What `build_snapshot` remembers from its last call."""

    def __init__(self) -> None:
        self.settings: MeshSettings | None = None
        self.read: dict[Resource, dict[tuple[str, str], tuple[Object, Any]]] = {}
        self.tuples: dict[Resource, tuple[Any, ...]] = {}
        self.values: dict[str, tuple[tuple[Any, ...], Any]] = {}

    def use(self, settings: MeshSettings) -> None:
        """Forget everything that was made under other settings."""
        if settings != self.settings:
            self.read, self.tuples, self.values = {}, {}, {}
            self.settings = settings


def build_snapshot(
    objects: Mapping[Resource, Iterable[Object]],
    settings: MeshSettings | None = None,
    *,
    memo: BuildMemo | None = None,
) -> MeshSnapshot:
    """Return the mesh that these objects describe.

    Args:
        objects: All objects of the kinds in `INPUTS`, by resource; other resources are ignored,
            absent ones are empty.  Order does not matter.  Objects must not be mutated after they
            were given.
        settings: Mesh-wide settings; None for the defaults.
        memo: The caller's memory of the previous call.
    """
    settings = settings or MeshSettings()
    memo = memo or BuildMemo()
    memo.use(settings)
    pods = _read(memo, objects, PODS, parse_workload)
    slices = _read(memo, objects, ENDPOINT_SLICES, parse_slice)
    own = _read(memo, objects, SERVICES, lambda obj: parse_service(obj, settings))
    hosts = _read(memo, objects, SERVICE_ENTRIES, _hosts)
    policies = _read(memo, objects, PEER_AUTHENTICATIONS, _policy)
    rules = _read(memo, objects, DESTINATION_RULES, _rule)
    entries = _remember(memo, "entries", (own, hosts), lambda: _entries(own, hosts))
    services = _remember(memo, "services", (own, entries), lambda: _oldest_first(own, entries))
    workloads = _remember(memo, "workloads", (pods,), lambda: {pod.uid: pod for pod in pods})
    return MeshSnapshot(
        settings=settings,
        services=services,
        workloads=workloads,
        endpoints=_remember(
            memo,
            "endpoints",
            (own, entries, slices, workloads),
            lambda: {
                **_endpoints(own, slices, workloads),
                **{name: entry_endpoints(one, pods) for name, one in entries.items()},
            },
        ),
        inbound_ports=_remember(
            memo, "inbound", (services, pods), lambda: inbound_ports(services, pods)
        ),
        peer_authentications=policies,
        destination_rules=rules,
    )


def _read(
    memo: BuildMemo,
    objects: Mapping[Resource, Iterable[Object]],
    resource: Resource,
    parse: Callable[[Object], T | None],
) -> tuple[T, ...]:
    """Return the typed values of one kind; the same tuple as last time when nothing changed."""
    before, now = memo.read.get(resource, {}), {}
    for obj in objects.get(resource, ()):
        meta = obj["metadata"]
        key = (meta.get("namespace") or "", meta["name"])
        known = before.get(key)
        if known is not None and known[0] is obj:
            now[key] = known
            continue
        value = parse(obj)
        now[key] = (obj, known[1] if known is not None and known[1] == value else value)
    memo.read[resource] = now
    values: tuple[T, ...] = tuple(value for _, value in now.values() if value is not None)
    previous: tuple[T, ...] = memo.tuples.get(resource, ())
    if len(previous) == len(values) and all(map(_is, previous, values)):
        return previous
    memo.tuples[resource] = values
    return values


def _is(left: object, right: object) -> bool:
    return left is right


def _remember(memo: BuildMemo, name: str, inputs: tuple[Any, ...], make: Callable[[], T]) -> T:
    """Return `make()`, or last time's value when the inputs are the same objects.

    In a mapping, entries that are equal to last time's are replaced by last time's objects.
    """
    known = memo.values.get(name)
    if known is not None and all(map(_is, known[0], inputs)):
        return known[1]  # type: ignore[no-any-return]  # stored under this name by this function
    value = make()
    if known is not None and isinstance(value, dict):
        _keep_equal(value, known[1])
        if len(value) == len(known[1]) and all(known[1].get(k) is v for k, v in value.items()):
            value = known[1]
    memo.values[name] = (inputs, value)
    return value


def _keep_equal(new: dict[K, Any], old: Mapping[K, Any]) -> None:
    for key, value in new.items():
        before = old.get(key)
        if before is not value and before == value:
            new[key] = before


def _policy(obj: Object) -> PeerAuthentication | None:
    try:
        return parse_peer_authentication(obj)
    except Rejected:
        # Admission refuses these, so one can only come from a foreign API server without the
        # schema.  Ignoring it keeps the rest of the mesh configurable.
        return None


def _rule(obj: Object) -> DestinationRule | None:
    try:
        return parse_destination_rule(obj)
    except Rejected:
        return None  # as a policy


def _hosts(obj: Object) -> tuple[EntryService, ...] | None:
    try:
        return parse_entry(obj)
    except Rejected:
        return None  # as a policy


_Entries = dict[ServiceName, tuple[EntryService, ...]]


def _entries(
    services: tuple[Service, ...], hosts: tuple[tuple[EntryService, ...], ...]
) -> _Entries:
    """Return the hosts of ServiceEntries; those that Kubernetes Services own are theirs."""
    taken = {service.hostname for service in services}
    return merge_entries(
        one for group in hosts for one in group if one.service.hostname not in taken
    )


def _oldest_first(services: tuple[Service, ...], entries: _Entries) -> tuple[Service, ...]:
    everything = (*services, *map(merged_service, entries.values()))
    return tuple(sorted(everything, key=lambda s: (s.created, s.id.name, s.id.namespace)))


def _endpoints(
    services: tuple[Service, ...], slices: tuple[Slice, ...], workloads: Mapping[str, Workload]
) -> dict[ServiceName, Mapping[int, tuple[Endpoint, ...]]]:
    by_service: dict[ServiceName, list[Slice]] = defaultdict(list)
    for piece in slices:
        by_service[piece.service].append(piece)
    by_address = {workload.address: workload for workload in workloads.values()}
    by_address.pop("", None)

    def join(piece: Slice, name: str) -> Iterable[Endpoint]:
        if (number := piece.ports.get(name)) is None:
            return
        for endpoint in piece.endpoints:
            pod = workloads.get(endpoint.pod) or by_address.get(endpoint.address)
            if pod is None and endpoint.pod:
                # It has ended, and its slice has yet to follow.  As an endpoint without a sidecar
                # it would switch a headless Service to plaintext for that moment.
                continue
            yield Endpoint(endpoint.address, number, endpoint.ready, pod)

    return {
        service.id: {
            port.number: tuple(
                sorted(
                    {
                        (endpoint.address, endpoint.port): endpoint
                        for piece in by_service.get(service.id, ())
                        for endpoint in join(piece, port.name)
                    }.values(),
                    key=lambda endpoint: (endpoint.address, endpoint.port),
                )
            )
            for port in service.ports
        }
        for service in services
    }
