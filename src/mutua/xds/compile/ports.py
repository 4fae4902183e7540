"""Every Service port of the mesh with what clients need to know about it, derived once.

What is here is the same for all clients; what a client's DestinationRules make of it is a `shape`.

A namespace that is switched off changes its clusters, not only its endpoints, as in Istio: Envoy
then replaces a cluster with all its connections.  With the endpoints' flags alone, pooled plaintext
connections would stay in use after the way back to STRICT until the server had drained them.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from mutua.api.destination import ClientTls
from mutua.api.security import MutualTlsMode
from mutua.api.service_entry import Resolution
from mutua.foundation.errors import Rejected
from mutua.foundation.spiffe import SpiffeId, parse_spiffe_id
from mutua.model.service import Protocol, Service
from mutua.model.settings import MeshSettings
from mutua.model.workload import Endpoint
from mutua.xds.compile.clusters import FOREIGN, OutboundShape
from mutua.xds.compile.endpoints import Target, targets
from mutua.xds.compile.modes import ModeIndex
from mutua.xds.compile.rules import NO_RULE, Rule

RESOLVED: Final = frozenset({Resolution.DNS, Resolution.DNS_ROUND_ROBIN})
"""Resolutions whose endpoints are part of the cluster."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PortView:
    """One port of one Service, as clients see it.

    Attributes:
        service: The Service.
        number: The port clients dial.
        protocol: What it speaks.
        endpoints: Who serves it, ready or not.
        expected: Whom servers may prove to be, sorted.
        hinted: Whether the Service's namespace lets clients use automatic mTLS.
    """

    service: Service
    number: int
    protocol: Protocol
    endpoints: tuple[Endpoint, ...]
    expected: tuple[str, ...]
    hinted: bool


def port_views(
    service: Service,
    by_port: Mapping[int, tuple[Endpoint, ...]],
    modes: ModeIndex,
    settings: MeshSettings,
) -> Iterator[PortView]:
    """Yield every port of a Service.

    Args:
        service: The Service.
        by_port: Its endpoints, by Service port.
        modes: What policies say.
        settings: Mesh-wide settings.
    """
    expected = _identities(service, by_port.values(), settings)
    hinted = _hinted(service, modes, settings)
    for port in service.ports:
        yield PortView(
            service=service,
            number=port.number,
            protocol=port.protocol,
            endpoints=by_port.get(port.number, ()),
            expected=expected,
            hinted=hinted,
        )


def subsets_of(rule: Rule | None) -> tuple[str, ...]:
    """Return the subsets of a Service for which clients have clusters; "" is all of it."""
    return ("", *rule.subsets) if rule is not None else ("",)


def shape_of(
    view: PortView, rule: Rule | None, subset: str, *, modes: ModeIndex, settings: MeshSettings
) -> OutboundShape:
    """Return what the cluster for a port depends on.

    Args:
        view: The port.
        rule: The DestinationRule that its clients follow, None without one.
        subset: One of the rule's subsets, or "".
        modes: What servers accept.
        settings: Mesh-wide settings.
    """
    says = NO_RULE if rule is None else rule.effective(view.number, subset)
    resolution = Resolution.NONE if says.passthrough else view.service.resolution
    chosen = resolution is Resolution.NONE
    return OutboundShape(
        hostname=view.service.hostname,
        port=view.number,
        subset=subset,
        protocol=view.protocol,
        http2=_upgrades(view.protocol, says.pool.h2_upgrade if says.pool else "", settings),
        resolution=resolution,
        tls=says.tls,
        automatic=view.hinted and (not chosen or _all_accept(view.endpoints)),
        identities=_expected(view, says.tls),
        servers=servers_of(view, rule, subset, modes) if resolution in RESOLVED else (),
        balancer=says.balancer,
        pool=says.pool,
        outliers=says.outliers,
        origins=() if rule is None else rule.origins,
    )


def servers_of(
    view: PortView, rule: Rule | None, subset: str, modes: ModeIndex
) -> tuple[Target, ...]:
    """Return where a port, or a subset of it, is served, and how each place is dialled."""
    if rule is None:
        return targets(view.endpoints, modes)
    flag = rule.effective(view.number, subset).flag
    labels = rule.subsets[subset].labels if subset else None
    return targets(view.endpoints, modes, flag=flag, labels=labels)


def _expected(view: PortView, tls: ClientTls | None) -> tuple[str, ...]:
    """Return whom servers may prove to be; those that are not the mesh's have no accounts."""
    if tls is None or tls.mode not in FOREIGN:
        return view.expected
    return view.service.identities if view.service.is_entry else ()


def _upgrades(protocol: Protocol, policy: str, settings: MeshSettings) -> bool:
    if protocol is not Protocol.HTTP:
        return False
    return policy == "UPGRADE" or (settings.h2_upgrade and policy != "DO_NOT_UPGRADE")


def _hinted(service: Service, modes: ModeIndex, settings: MeshSettings) -> bool:
    """Apply the Service's hint (istio-semantics 3.3): mesh and namespace policies, no others."""
    if service.is_external or not settings.enable_auto_mtls:
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
    accounts = {
        str(SpiffeId(settings.trust_domain, pod.namespace, pod.service_account))
        for group in endpoints
        for pod in (endpoint.workload for endpoint in group)
        if pod is not None and pod.service_account
    }
    named = accounts.union(service.identities)
    return tuple(sorted(named.union(_aliases(named, settings))))


def _aliases(names: Iterable[str], settings: MeshSettings) -> Iterator[str]:
    """Yield what workload identities are called in the mesh's other trust domains."""
    for name in names:
        try:
            identity = parse_spiffe_id(name)
        except Rejected:
            continue  # a name of another kind
        for domain in settings.trust_domain_aliases:
            yield str(replace(identity, trust_domain=domain))
