"""Every Service port of the mesh with what clients need to know about it, derived once.

Deviates from Istio, in form only: a namespace that is switched off leaves its clusters as they
are and takes the flag from every endpoint.  Clients send plaintext all the same, and no cluster
is rebuilt, with all its connections, on every proxy of the mesh.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mutua.api.security import MutualTlsMode
from mutua.model.service import Protocol, Service
from mutua.model.settings import MeshSettings
from mutua.model.snapshot import MeshSnapshot
from mutua.model.workload import Endpoint
from mutua.xds.compile.clusters import OutboundShape
from mutua.xds.compile.modes import ModeIndex


@dataclass(frozen=True, slots=True, kw_only=True)
class PortView:
    """One port of one Service, as clients see it.

    Attributes:
        service: The Service.
        number: The port clients dial.
        protocol: What it speaks.
        disabled: Whether mesh and namespace policies switch mTLS off for its clients, whatever
            policies of workloads say (istio-semantics 3.3, "service hint").
        endpoints: Who serves it, ready or not.
        shape: What its cluster depends on.
    """

    service: Service
    number: int
    protocol: Protocol
    disabled: bool
    endpoints: tuple[Endpoint, ...]
    shape: OutboundShape


def port_views(snapshot: MeshSnapshot, modes: ModeIndex) -> Iterator[PortView]:
    """Yield every port of every Service, oldest Service first."""
    for service in snapshot.services:
        by_port = snapshot.endpoints.get(service.id, {})
        expected = _identities(service, by_port.values(), snapshot.settings)
        disabled = modes.namespace(service.id.namespace) is MutualTlsMode.DISABLE
        for port in service.ports:
            found = by_port.get(port.number, ())
            of_all = not disabled and _all_accept(found)
            shape = OutboundShape(
                hostname=service.hostname,
                port=port.number,
                protocol=port.protocol,
                headless=service.headless,
                mutual_tls=snapshot.settings.enable_auto_mtls
                and (of_all if service.headless else True),
                identities=expected,
            )
            yield PortView(
                service=service,
                number=port.number,
                protocol=port.protocol,
                disabled=disabled,
                endpoints=found,
                shape=shape,
            )


def _all_accept(endpoints: tuple[Endpoint, ...]) -> bool:
    """Tell whether every endpoint has a sidecar: a headless cluster cannot tell them apart."""
    return bool(endpoints) and all(
        endpoint.workload is not None and endpoint.workload.accepts_mutual_tls
        for endpoint in endpoints
    )


def _identities(
    service: Service, endpoints: Iterable[tuple[Endpoint, ...]], settings: MeshSettings
) -> tuple[str, ...]:
    """Return whom clients may meet: the accounts behind all ports, in every trust domain.

    Endpoints that are not ready count too, so that the cluster does not change when one becomes
    ready.
    """
    paths = {
        f"/ns/{endpoint.workload.namespace}/sa/{endpoint.workload.service_account}"
        for group in endpoints
        for endpoint in group
        if endpoint.workload is not None
    }
    domains = {settings.trust_domain, *settings.trust_domain_aliases}
    expected = {f"spiffe://{domain}{path}" for domain in domains for path in paths}
    return tuple(sorted(expected.union(service.identities)))
