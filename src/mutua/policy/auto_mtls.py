"""Will a client's sidecar use mutual TLS towards this endpoint?  The reference semantics.

A client is never configured by PeerAuthentication directly; its sidecar infers what the server
will accept.  Without a DestinationRule, and for a Service with a cluster IP:

    1. automatic mTLS is switched off for the mesh               -> plaintext
    2. the Service's namespace (or, through it, the mesh) says DISABLE  -> plaintext to all
    3. the endpoint has no sidecar                               -> plaintext to it
    4. the server's own mode for this port is DISABLE            -> plaintext to it
    5. otherwise                                                 -> mTLS

Line 2 looks only at mesh and namespace policies: a workload that insists on STRICT in a DISABLE
namespace is unreachable from sidecars, as in Istio.  Specification: istio-semantics 3.3 to 3.5.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from mutua.api.security import MutualTlsMode, PeerAuthentication
from mutua.model.settings import MeshSettings
from mutua.model.workload import Endpoint
from mutua.policy.peer_authentication import Subject, effective_mode


class ClientReason(Enum):
    """Which line of the table above decided."""

    AUTO_MTLS_OFF = 1
    NAMESPACE_DISABLED = 2
    NO_SIDECAR = 3
    SERVER_DISABLED = 4
    SERVER_ACCEPTS = 5


@dataclass(frozen=True, slots=True)
class ClientDecision:
    """What a client's sidecar sends, and why."""

    mutual_tls: bool
    reason: ClientReason


def client_decision(
    policies: Iterable[PeerAuthentication],
    endpoint: Endpoint,
    *,
    service_namespace: str,
    settings: MeshSettings,
) -> ClientDecision:
    """Decide how a sidecar dials one endpoint of a Service that has a cluster IP.

    Args:
        policies: Every PeerAuthentication of the mesh, in any order.
        endpoint: Where the connection goes.
        service_namespace: The namespace of the Service that was called.
        settings: Mesh-wide settings.
    """
    known = tuple(policies)
    if not settings.enable_auto_mtls:
        return ClientDecision(mutual_tls=False, reason=ClientReason.AUTO_MTLS_OFF)
    # A pod without labels, on no port: only mesh and namespace policies speak about it.
    anybody = Subject(namespace=service_namespace, labels={}, port=0)
    hint = effective_mode(known, anybody, root_namespace=settings.root_namespace)
    if hint.mode is MutualTlsMode.DISABLE:
        return ClientDecision(mutual_tls=False, reason=ClientReason.NAMESPACE_DISABLED)
    pod = endpoint.workload
    if pod is None or not pod.accepts_mutual_tls:
        return ClientDecision(mutual_tls=False, reason=ClientReason.NO_SIDECAR)
    server = Subject(namespace=pod.namespace, labels=pod.labels, port=endpoint.port)
    decision = effective_mode(known, server, root_namespace=settings.root_namespace)
    if decision.mode is MutualTlsMode.DISABLE:
        return ClientDecision(mutual_tls=False, reason=ClientReason.SERVER_DISABLED)
    return ClientDecision(mutual_tls=True, reason=ClientReason.SERVER_ACCEPTS)
