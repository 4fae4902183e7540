"""ServiceEntry as a typed value: a service that Kubernetes does not know.

One entry names hosts, their ports, and where they are served: endpoints written down (STATIC),
names that the client's proxy resolves (DNS), or wherever the client was going anyway (NONE).
Admission judges the content; this module reads what has the right shape.
Specification: istio-semantics sections 3.2, 3.3 and 3.5.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Network
from typing import Any, Final

from mutua.api.object import Object
from mutua.api.shape import misshapen
from mutua.api.tables.istio import SERVICE_ENTRY
from mutua.api.verdict import Invalid

ALLOCATED_RANGE: Final = IPv4Network("240.240.0.0/16")
"""Where hosts without an address get one from (Istio's range; nobody else uses class E)."""

NO_ALLOCATION: Final = "networking.istio.io/enable-autoallocate-ip"
"""Label that, when it is "false", leaves an entry's hosts without an address (Istio)."""


class Location(Enum):
    """Whether the service is part of the mesh; MESH_EXTERNAL when the author does not say."""

    MESH_EXTERNAL = "MESH_EXTERNAL"
    MESH_INTERNAL = "MESH_INTERNAL"


class Resolution(Enum):
    """How the client's proxy finds endpoints; NONE when the author does not say."""

    NONE = "NONE"
    STATIC = "STATIC"
    DNS = "DNS"
    DNS_ROUND_ROBIN = "DNS_ROUND_ROBIN"


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryPort:
    """One port.

    Attributes:
        number: The port clients dial.
        name: Its name; endpoints refer to it.
        protocol: As written.
        target: The port endpoints listen on unless they say otherwise.
    """

    number: int
    name: str
    protocol: str
    target: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryEndpoint:
    """One place where the service is served.

    Attributes:
        address: IP address or, with resolution DNS, a name; "" for the host itself.
        ports: Port name to port number, where it differs from the entry's.
        labels: For subsets and policies.
        service_account: Whom it can prove to be, "" for nobody.
    """

    address: str
    ports: Mapping[str, int]
    labels: Mapping[str, str]
    service_account: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceEntry:
    """One entry as its author wrote it.

    Attributes:
        namespace: Where it lives.
        name: Its name; without meaning.
        created: creationTimestamp, RFC 3339 in UTC; "" before it was stored.
        hosts: DNS names, perhaps with a wildcard.
        addresses: Virtual IPv4 addresses and networks, each in the one way to write it; without
            any, those allocated to its hosts.
        allocated: Host to the addresses allocated to it.
        ports: In the order written.
        location: Inside or outside of the mesh.
        resolution: How endpoints are found.
        endpoints: As written.
        selector: Labels of the pods that serve it; None when endpoints are written down.
        export_to: Namespaces whose clients see it, as written; () for the default.
        subject_alt_names: Whom servers must prove to be.
    """

    namespace: str
    name: str
    created: str = ""
    hosts: tuple[str, ...]
    addresses: tuple[str, ...] = ()
    allocated: Mapping[str, tuple[str, ...]]
    ports: tuple[EntryPort, ...] = ()
    location: Location = Location.MESH_EXTERNAL
    resolution: Resolution = Resolution.NONE
    endpoints: tuple[EntryEndpoint, ...] = ()
    selector: Mapping[str, str] | None = None
    export_to: tuple[str, ...] = ()
    subject_alt_names: tuple[str, ...] = ()


def parse_service_entry(obj: Object) -> ServiceEntry:
    """Read a ServiceEntry of any version.

    Raises:
        Invalid: Its shape is wrong; carries every error found.
    """
    errors = list(misshapen(SERVICE_ENTRY, obj))
    if errors:
        raise Invalid(errors)
    metadata, spec = obj.get("metadata") or {}, obj.get("spec") or {}
    allocated: dict[str, tuple[str, ...]] = {}
    for one in (obj.get("status") or {}).get("addresses") or ():
        host = (one.get("host") or "").lower()
        allocated[host] = (*allocated.get(host, ()), one.get("value") or "")
    labels = (spec.get("workloadSelector") or {}).get("labels") or {}
    return ServiceEntry(
        namespace=metadata.get("namespace") or "",
        name=metadata.get("name") or "",
        created=metadata.get("creationTimestamp") or "",
        hosts=tuple(host.lower() for host in spec.get("hosts") or ()),
        addresses=tuple(_networks(spec.get("addresses") or ())),
        allocated=allocated,
        ports=tuple(_port(port) for port in spec.get("ports") or ()),
        location=Location(spec.get("location") or "MESH_EXTERNAL"),
        resolution=Resolution(spec.get("resolution") or "NONE"),
        endpoints=tuple(_endpoint(one) for one in spec.get("endpoints") or ()),
        selector=dict(labels) if labels else None,
        export_to=tuple(spec.get("exportTo") or ()),
        subject_alt_names=tuple(spec.get("subjectAltNames") or ()),
    )


def hosts_without_address(obj: Object) -> tuple[str, ...]:
    """Return the hosts of a ServiceEntry that are given an address, in lower case.

    None with resolution NONE, which goes where the client was going anyway; no host with a
    wildcard, which nobody can ask for.
    """
    labels, spec = (obj.get("metadata") or {}).get("labels") or {}, obj.get("spec") or {}
    is_unwanted = labels.get(NO_ALLOCATION, "").lower() == "false"
    if is_unwanted or spec.get("addresses") or (spec.get("resolution") or "NONE") == "NONE":
        return ()
    hosts = (host.lower() for host in spec.get("hosts") or ())
    return tuple(dict.fromkeys(host for host in hosts if not host.startswith("*")))


def _networks(texts: Iterable[str]) -> Iterator[str]:
    """Yield addresses and networks in canonical form; pods have no IPv6."""
    for text in texts:
        try:
            network = IPv4Network(text, strict=False)
        except ValueError:
            continue
        yield str(network).removesuffix("/32")


def _port(port: Mapping[str, Any]) -> EntryPort:
    return EntryPort(
        number=port["number"],
        name=port.get("name") or "",
        protocol=port.get("protocol") or "",
        target=port.get("targetPort") or port["number"],
    )


def _endpoint(endpoint: Mapping[str, Any]) -> EntryEndpoint:
    return EntryEndpoint(
        address=endpoint.get("address") or "",
        ports=endpoint.get("ports") or {},
        labels=endpoint.get("labels") or {},
        service_account=endpoint.get("serviceAccount") or "",
    )
