"""What does a client's proxy send to this endpoint, and why?  The reference semantics.

Clients are never configured by PeerAuthentication directly.  Their proxy does what a
DestinationRule says; where none speaks of TLS, it infers what the server will accept:

    the client has no sidecar                                     plaintext
    the Service is not exported to the client's namespace         plaintext, as to any address
    the subset is not defined                                     nothing
    a DestinationRule says so                                     what it says

    the Service is outside the mesh (MESH_EXTERNAL)               plaintext
    automatic mTLS is switched off for the mesh                   plaintext
    (addressed) it has no endpoints, or one without sidecar       plaintext to all
    the Service's namespace, or the mesh, says DISABLE            plaintext to all
    (addressed) otherwise                                         mTLS to all

    a rule says something, though not for the port's own entry    mTLS if it says ISTIO_MUTUAL
    the endpoint has no sidecar                                   plaintext to it
    the server's own mode for this port is DISABLE                plaintext to it
    otherwise                                                     mTLS

"Addressed" are headless Services, ServiceEntries with resolution NONE and rules with load balancing
PASSTHROUGH: the client chose the endpoint by its address, and its proxy cannot tell them apart.
The DISABLE of a namespace or the mesh looks at no workload: one that insists on STRICT in such a
namespace is unreachable from sidecars, as in Istio.  Specification: istio-semantics 3.3 to 3.6.
"""

from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from mutua.api.destination import ClientTls, TlsMode
from mutua.api.security import MutualTlsMode
from mutua.api.service_entry import Resolution
from mutua.foundation.errors import Rejected
from mutua.foundation.spiffe import SpiffeId, parse_spiffe_id
from mutua.model.service import Service, ServicePort
from mutua.model.snapshot import MeshSnapshot
from mutua.model.workload import Endpoint, Workload
from mutua.policy.destination_rule import (
    NO_SETTING,
    PRIVATE,
    PUBLIC,
    MergedRule,
    Setting,
    chooses_endpoint_by_address,
    cluster_setting,
    find_rule,
    flag_setting,
)
from mutua.policy.inbound import what_is_demanded
from mutua.policy.peer_authentication import Subject, effective_mode


class Sends(Enum):
    """What arrives at an endpoint; the TLS modes are called as in a DestinationRule."""

    NOTHING = "nothing"
    PLAINTEXT = "plaintext"
    SIMPLE = "TLS (SIMPLE)"
    MUTUAL = "TLS with its own certificate (MUTUAL)"
    ISTIO_MUTUAL = "mTLS"


class Why(Enum):
    """Which line of the table above decided."""

    NO_SIDECAR_AT_CLIENT = "it has no sidecar"
    OWN_ADDRESS = "a pod's calls to its own address do not pass its proxy"
    UNKNOWN_ADDRESS = "no Service has this address"
    NOT_EXPORTED = "the Service is not exported to its namespace"
    NOT_HTTP = "its proxy passes on what is no HTTP on an HTTP port"
    NO_SUBSET = "no DestinationRule defines the subset"
    RULE = "a DestinationRule says so"
    EXTERNAL = "the host is outside the mesh"
    AUTO_MTLS_OFF = "automatic mTLS is switched off"
    NO_ENDPOINTS = "it is called by address and has no endpoints"
    NOT_ALL_SIDECARS = "it is called by address and not every endpoint has a sidecar"
    NAMESPACE_DISABLED = "mTLS is disabled for the namespace"
    ALL_SIDECARS = "every endpoint has a sidecar"
    RULE_INHERITED = "the endpoint inherits what the port's entry leaves out"
    NO_SIDECAR_AT_SERVER = "the endpoint has no sidecar"
    SERVER_DISABLED = "the server disabled mTLS on this port"
    SERVER_ACCEPTS = "the server accepts it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A verdict on the client's side that can explain itself.

    Attributes:
        sends: What is sent.
        why: Which line decided.
        setting: What a DestinationRule says about it: the level, and the rule's name.
        policy: `namespace/name` of the PeerAuthentication that decided, "" when none did.
        sni: The server name that is asked for, "" for none or for the request's own.
        identities: Whom the server may prove to be, sorted; without any, somebody of the trust
            domain for ISTIO_MUTUAL, anybody with a good certificate otherwise.
    """

    sends: Sends
    why: Why
    setting: Setting = NO_SETTING
    policy: str = ""
    sni: str = ""
    identities: tuple[str, ...] = ()

    @property
    def mutual_tls(self) -> bool:
        """Whether it is mTLS of the mesh."""
        return self.sends is Sends.ISTIO_MUTUAL

    def explain(self) -> str:
        """Return the reason as the part of a sentence that follows "because"."""
        if self.setting.source and self.why in {Why.RULE, Why.RULE_INHERITED}:
            mode = self.setting.tls.mode.value if self.setting.tls else ""
            return (
                f"DestinationRule {self.setting.source} says {mode} in {self.setting.level.value}"
            )
        policy = f" (PeerAuthentication {self.policy})" if self.policy else ""
        return f"{self.why.value}{policy}"


_MODES: Final = {
    TlsMode.DISABLE: Sends.PLAINTEXT,
    TlsMode.SIMPLE: Sends.SIMPLE,
    TlsMode.MUTUAL: Sends.MUTUAL,
    TlsMode.ISTIO_MUTUAL: Sends.ISTIO_MUTUAL,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """Where a connection is meant to go.

    Attributes:
        service: The Service that is called.
        port: Its port.
        endpoint: The endpoint that is chosen.
        subset: Subset of a DestinationRule, "" for none.
    """

    service: Service
    port: ServicePort
    endpoint: Endpoint
    subset: str = ""


def what_is_sent(mesh: MeshSnapshot, client: Workload, to: Destination) -> Sent:
    """Decide what reaches an endpoint when a pod calls a Service."""
    if not client.accepts_mutual_tls:
        return Sent(sends=Sends.PLAINTEXT, why=Why.NO_SIDECAR_AT_CLIENT)
    if to.service.headless and to.endpoint.address == client.address:
        return Sent(sends=Sends.PLAINTEXT, why=Why.OWN_ADDRESS)
    if not is_exported(mesh, to.service, client.namespace):
        return elsewhere(mesh, Why.NOT_EXPORTED)
    rule = find_rule(mesh.destination_rules, client, to.service, mesh.settings)
    if to.subset and (rule is None or to.subset not in rule.subsets):
        return Sent(sends=Sends.NOTHING, why=Why.NO_SUBSET)
    setting = cluster_setting(rule, to.port.number, to.subset)
    if setting.tls is not None:
        return _ruled(mesh, to, setting, setting.tls)
    return _inferred_for_all(mesh, to, rule) or endpoint_flag(mesh, to, rule)


def what_is_sent_to_address(mesh: MeshSnapshot, client: Workload, address: str, port: int) -> Sent:
    """Decide what reaches a pod that is called by its address, no Service's name or address."""
    if not client.accepts_mutual_tls:
        return Sent(sends=Sends.PLAINTEXT, why=Why.NO_SIDECAR_AT_CLIENT)
    if client.address == address:
        return Sent(sends=Sends.PLAINTEXT, why=Why.OWN_ADDRESS)
    to = recognised(mesh, client, address, port)
    return what_is_sent(mesh, client, to) if to else elsewhere(mesh, Why.UNKNOWN_ADDRESS)


def recognised(mesh: MeshSnapshot, client: Workload, address: str, port: int) -> Destination | None:
    """Return the headless Service that a proxy takes a pod's address and port for, if any.

    Only ports that are not HTTP have a listener for every endpoint's address; on an HTTP port the
    name in the request decides, and an address is none.  Of several Services the oldest counts.
    """
    for service in mesh.services:
        if not service.headless or not is_exported(mesh, service, client.namespace):
            continue
        for one in service.ports:
            if one.number != port or one.protocol.is_http:
                continue
            for endpoint in mesh.endpoints[service.id].get(port, ()):
                if endpoint.address == address and endpoint.ready:
                    return Destination(service=service, port=one, endpoint=endpoint)
    return None


def elsewhere(mesh: MeshSnapshot, why: Why) -> Sent:
    """Return what becomes of connections that a client's proxy knows no Service for."""
    allowed = mesh.settings.allow_any_outbound
    return Sent(sends=Sends.PLAINTEXT if allowed else Sends.NOTHING, why=why)


def is_exported(mesh: MeshSnapshot, service: Service, namespace: str) -> bool:
    """Tell whether clients in a namespace see a Service."""
    written = service.export_to or mesh.settings.default_service_export_to
    visible = {service.id.namespace if one == PRIVATE else one for one in written}
    return bool(visible & {PUBLIC, namespace})


def endpoint_flag(mesh: MeshSnapshot, to: Destination, rule: MergedRule | None) -> Sent:
    """Decide whether one endpoint is known to take mTLS, where its Service as a whole does not.

    Args:
        mesh: The mesh.
        to: The endpoint, and how it is reached.
        rule: What the client follows.
    """
    setting = flag_setting(rule, to.port.number, to.subset)
    if setting.tls is not None:
        if setting.tls.mode is TlsMode.ISTIO_MUTUAL:
            return _mesh_mtls(mesh, to, Why.RULE_INHERITED, setting=setting)
        return Sent(sends=Sends.PLAINTEXT, why=Why.RULE_INHERITED, setting=setting)
    demanded = what_is_demanded(mesh, to.endpoint)
    if demanded is None:
        return Sent(sends=Sends.PLAINTEXT, why=Why.NO_SIDECAR_AT_SERVER)
    if demanded.mode is MutualTlsMode.DISABLE:
        return Sent(sends=Sends.PLAINTEXT, why=Why.SERVER_DISABLED, policy=demanded.policy)
    return _mesh_mtls(mesh, to, Why.SERVER_ACCEPTS)


def is_addressed(to: Destination, rule: MergedRule | None) -> bool:
    """Tell whether the client chooses the endpoint by its address."""
    if to.service.resolution is Resolution.NONE:
        return True
    return chooses_endpoint_by_address(rule, to.port.number, to.subset)


def expected_identities(mesh: MeshSnapshot, service: Service) -> tuple[str, ...]:
    """Return whom the servers of a Service may prove to be, sorted.

    Everybody who serves any of its ports, ready or not, and whom it names itself; in the mesh's
    trust domain and all its aliases.
    """
    settings = mesh.settings
    known = set(service.identities)
    for endpoints in mesh.endpoints.get(service.id, {}).values():
        for server in (one.workload for one in endpoints):
            if server is not None and server.service_account:
                path = f"ns/{server.namespace}/sa/{server.service_account}"
                known.add(f"spiffe://{settings.trust_domain}/{path}")
    aliases = {
        str(replace(identity, trust_domain=alias))
        for identity in filter(None, map(_spiffe_id, known))
        for alias in settings.trust_domain_aliases
    }
    return tuple(sorted(known | aliases))


def _spiffe_id(text: str) -> SpiffeId | None:
    try:
        return parse_spiffe_id(text)
    except Rejected:
        return None


def _inferred_for_all(mesh: MeshSnapshot, to: Destination, rule: MergedRule | None) -> Sent | None:
    """Decide what the Service as a whole decides; None when each endpoint decides for itself."""
    if to.service.is_external:
        return Sent(sends=Sends.PLAINTEXT, why=Why.EXTERNAL)
    if not mesh.settings.enable_auto_mtls:
        return Sent(sends=Sends.PLAINTEXT, why=Why.AUTO_MTLS_OFF)
    addressed = is_addressed(to, rule)
    servers = [one.workload for one in mesh.endpoints[to.service.id].get(to.port.number, ())]
    if addressed and not servers:
        return Sent(sends=Sends.PLAINTEXT, why=Why.NO_ENDPOINTS)
    if addressed and not all(one is not None and one.accepts_mutual_tls for one in servers):
        return Sent(sends=Sends.PLAINTEXT, why=Why.NOT_ALL_SIDECARS)
    # A pod without labels, on no port: only mesh and namespace policies speak about it.
    anybody = Subject(namespace=to.service.id.namespace, labels={}, port=0)
    root = mesh.settings.root_namespace
    hint = effective_mode(mesh.peer_authentications, anybody, root_namespace=root)
    if hint.mode is MutualTlsMode.DISABLE:
        return Sent(sends=Sends.PLAINTEXT, why=Why.NAMESPACE_DISABLED, policy=hint.policy)
    return _mesh_mtls(mesh, to, Why.ALL_SIDECARS) if addressed else None


def _ruled(mesh: MeshSnapshot, to: Destination, setting: Setting, tls: ClientTls) -> Sent:
    if tls.mode is TlsMode.ISTIO_MUTUAL:
        return _mesh_mtls(mesh, to, Why.RULE, setting=setting)
    if tls.mode is TlsMode.DISABLE:
        return Sent(sends=Sends.PLAINTEXT, why=Why.RULE, setting=setting)
    names = tls.subject_alt_names
    if names is None and to.service.is_entry:
        names = to.service.identities
    return Sent(
        sends=_MODES[tls.mode],
        why=Why.RULE,
        setting=setting,
        sni=tls.sni,
        identities=() if tls.insecure_skip_verify else tuple(sorted(names or ())),
    )


def _mesh_mtls(
    mesh: MeshSnapshot, to: Destination, why: Why, setting: Setting = NO_SETTING
) -> Sent:
    """Return mTLS of the mesh; SNI and identities of a rule count only where it is followed."""
    sni = f"outbound_.{to.port.number}_.{to.subset}_.{to.service.hostname}"
    identities = None
    if why is Why.RULE and setting.tls is not None:
        sni = setting.tls.sni or sni
        identities = setting.tls.subject_alt_names
    if identities is None:
        identities = expected_identities(mesh, to.service)
    return Sent(
        sends=Sends.ISTIO_MUTUAL,
        why=why,
        setting=setting,
        sni=sni,
        identities=tuple(sorted(identities)),
    )
