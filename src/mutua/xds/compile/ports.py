"""Every Service port of the mesh with what clients need to know about it, derived once.

A namespace that is switched off changes its clusters, not only its endpoints, as in Istio: Envoy
then replaces a cluster with all its connections.  With the endpoints' flags alone, pooled plaintext
connections would stay in use after the way back to STRICT until the server had drained them.
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
        endpoints: Who serves it, ready or not.
        shape: What its cluster depends on.
    """

    service: Service
    number: int
    protocol: Protocol
    endpoints: tuple[Endpoint, ...]
    shape: OutboundShape


def port_views(snapshot: MeshSnapshot, modes: ModeIndex) -> Iterator[PortView]:
    """Yield every port of every Service, oldest Service first."""
    for service in snapshot.services:
        by_port = snapshot.endpoints.get(service.id, {})
        expected = _identities(service, by_port.values(), snapshot.settings)
        wanted = _wants_mutual_tls(service, modes, snapshot.settings)
        for port in service.ports:
            found = by_port.get(port.number, ())
            shape = OutboundShape(
                hostname=service.hostname,
                port=port.number,
                protocol=port.protocol,
                headless=service.headless,
                mutual_tls=wanted and (not service.headless or _all_accept(found)),
                identities=expected,
            )
            yield PortView(
                service=service,
                number=port.number,
                protocol=port.protocol,
                endpoints=found,
                shape=shape,
            )


def _wants_mutual_tls(service: Service, modes: ModeIndex, settings: MeshSettings) -> bool:
    """Apply the Service's hint (istio-semantics 3.3): mesh and namespace policies, no others."""
    if not settings.enable_auto_mtls:
        return False
    return modes.namespace(service.id.namespace) is not MutualTlsMode.DISABLE


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
