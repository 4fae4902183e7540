"""The truth table of what clients send: what both opinions on it are held to.

Specification: istio-semantics section 3.5.  Every row asks about the same call, from pod
`x/client` to pod `x/web` at 10.0.0.2, through port 80 of Service `web`, which is 8080 there; or
through port 80 of `api.example.com`, when a ServiceEntry describes that.
"""

# ruff: noqa: E501 - a table

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from mutua.api.object import (
    DESTINATION_RULES,
    ENDPOINT_SLICES,
    PEER_AUTHENTICATIONS,
    PODS,
    SERVICE_ENTRIES,
    SERVICES,
    Object,
)
from mutua.model.build import build_snapshot
from mutua.model.settings import MeshSettings
from mutua.model.snapshot import MeshSnapshot
from mutua.model.workload import Endpoint
from mutua.policy.inbound import Outcome
from mutua.policy.outbound import Destination, Sends, Why
from mutua.testing.mesh import (
    destination_rule,
    endpoint_slice,
    peer_authentication,
    pod,
    service,
    service_entry,
)
from mutua.testing.truth_table import ROOT

SERVER: Final = "10.0.0.2"
PORT: Final = 80
TARGET: Final = 8080
API: Final = "api.example.com"
AUTO_MTLS_OFF: Final = MeshSettings(enable_auto_mtls=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row.

    Attributes:
        name: Its number and what it is about.
        sends: What is expected to be sent.
        why: The line that is expected to decide.
        outcome: What is expected to become of it, when HTTP is said.
        works: Whether that is an answer.
        policies: PeerAuthentications.
        rules: DestinationRules.
        entry: A ServiceEntry that describes the destination instead of the Service.
        meshed: Whether the server has a sidecar.
        client: Whether the client has one.
        mixed: Whether a second pod, without sidecar, stands behind the Service.
        headless: Whether the Service is.
        labels: Of the server.
        protocol: Of the Service's port.
        settings: Of the mesh.
    """

    name: str
    sends: Sends
    why: Why
    outcome: Outcome
    works: bool | None = True
    policies: tuple[Object, ...] = ()
    rules: tuple[Object, ...] = ()
    entry: Object | None = None
    meshed: bool = True
    client: bool = True
    mixed: bool = False
    headless: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    protocol: str = "http"
    settings: MeshSettings = field(default_factory=MeshSettings)

    def mesh(self) -> MeshSnapshot:
        """Return the mesh that the row is about."""
        web = pod("x", "web", SERVER, meshed=self.meshed, labels=self.labels)
        web["status"]["conditions"] = [{"type": "Ready", "status": "True"}]
        other = pod("x", "other", "10.0.0.3", meshed=False, labels={"app": "web"})
        # Without translation of ports, a headless Service has the pod's.
        number = TARGET if self.headless else PORT
        port = {"name": self.protocol, "port": number, "targetPort": TARGET}
        address = "None" if self.headless else "10.96.0.9"
        owner = service("x", "web", port, address=address)
        behind = [web, *([other] if self.mixed else [])]
        return build_snapshot(
            {
                PODS: [pod("x", "client", "10.0.0.1", meshed=self.client), *behind],
                SERVICES: [] if self.entry else [owner],
                ENDPOINT_SLICES: [] if self.entry else [endpoint_slice(owner, behind)],
                SERVICE_ENTRIES: [self.entry] if self.entry else [],
                PEER_AUTHENTICATIONS: self.policies,
                DESTINATION_RULES: self.rules,
            },
            self.settings,
        )


def asked(mesh: MeshSnapshot) -> Destination:
    """Return the call that every row asks about."""
    (called,) = mesh.services
    (port,) = called.ports
    found = mesh.endpoints[called.id][port.number]
    chosen = Endpoint(SERVER, port.number, ready=True, workload=None)
    endpoint = next((one for one in found if one.address == SERVER), (*found, chosen)[0])
    return Destination(service=called, port=port, endpoint=endpoint)


def ns(mode: str) -> Object:
    """Return a policy of the server's namespace."""
    return peer_authentication("x", mode, name="ns")


def mesh_wide(mode: str) -> Object:
    """Return a policy of the mesh."""
    return peer_authentication(ROOT, mode)


def work(mode: str, **spec: Any) -> Object:
    """Return a policy that selects the server."""
    selector = {"matchLabels": {"app": "web"}}
    return peer_authentication("x", mode, name="work", selector=selector, **spec)


def rule(mode: str | None, **policy: Any) -> Object:
    """Return a rule for the Service."""
    tls = {} if mode is None else {"tls": {"mode": mode}}
    return destination_rule("x", "web", {**tls, **policy})


def entry(location: str, resolution: str, **spec: Any) -> Object:
    """Return an entry for `api.example.com`."""
    port = {"number": PORT, "name": "http", "protocol": "HTTP", "targetPort": TARGET}
    return service_entry("x", API, port, location=location, resolution=resolution, **spec)


OTHER_LOAD_BALANCING: Final = {"loadBalancer": {"simple": "RANDOM"}}
BY_ADDRESS: Final = {"loadBalancer": {"simple": "PASSTHROUGH"}}
PORT_WITHOUT_TLS: Final = [{"port": {"number": PORT}, **OTHER_LOAD_BALANCING}]
PORT_OFF: Final = {str(TARGET): {"mode": "DISABLE"}}
AT: Final = {"address": SERVER}
STATIC_LABELLED: Final = [{**AT, "labels": {"security.istio.io/tlsMode": "istio"}}]
STATIC_ACCOUNT: Final = [{**AT, "serviceAccount": "web"}]
STATIC_NEITHER: Final = [AT]

MTLS, PLAIN, SIMPLE, MUTUAL = Sends.ISTIO_MUTUAL, Sends.PLAINTEXT, Sends.SIMPLE, Sends.MUTUAL
OK, CLOSED, TO_APP = Outcome.OK_HTTP, Outcome.CLOSED, Outcome.FORWARDED_TO_APP
BAD, REFUSED = Outcome.PROTOCOL_ERROR, Outcome.HANDSHAKE_FAILS

# fmt: off
TABLE: Final = (
    Row(name="1 no policy, sidecar",                    sends=MTLS,  why=Why.SERVER_ACCEPTS,       outcome=OK),
    Row(name="1 PERMISSIVE, sidecar",                   sends=MTLS,  why=Why.SERVER_ACCEPTS,       outcome=OK, policies=(ns("PERMISSIVE"),)),
    Row(name="2 no policy, no sidecar",                 sends=PLAIN, why=Why.NO_SIDECAR_AT_SERVER, outcome=OK, meshed=False),
    Row(name="2 custom tlsMode",                        sends=PLAIN, why=Why.NO_SIDECAR_AT_SERVER, outcome=OK, labels={"security.istio.io/tlsMode": "custom"}),
    Row(name="3 STRICT, sidecar",                       sends=MTLS,  why=Why.SERVER_ACCEPTS,       outcome=OK, policies=(ns("STRICT"),)),
    Row(name="4 STRICT, no sidecar",                    sends=PLAIN, why=Why.NO_SIDECAR_AT_SERVER, outcome=OK, policies=(ns("STRICT"),), meshed=False),
    Row(name="5 namespace DISABLE",                     sends=PLAIN, why=Why.NAMESPACE_DISABLED,   outcome=OK, policies=(ns("DISABLE"),)),
    Row(name="5 mesh DISABLE",                          sends=PLAIN, why=Why.NAMESPACE_DISABLED,   outcome=OK, policies=(mesh_wide("DISABLE"),)),
    Row(name="5 namespace UNSET inherits mesh DISABLE", sends=PLAIN, why=Why.NAMESPACE_DISABLED,   outcome=OK, policies=(mesh_wide("DISABLE"), ns("UNSET"))),
    Row(name="5 namespace PERMISSIVE over mesh DISABLE", sends=MTLS, why=Why.SERVER_ACCEPTS,       outcome=OK, policies=(mesh_wide("DISABLE"), ns("PERMISSIVE"))),
    Row(name="6 DISABLE with a STRICT workload",        sends=PLAIN, why=Why.NAMESPACE_DISABLED,   outcome=CLOSED, works=False, policies=(ns("DISABLE"), work("STRICT"))),
    Row(name="7 STRICT with port DISABLE",              sends=PLAIN, why=Why.SERVER_DISABLED,      outcome=OK, policies=(ns("STRICT"), work("UNSET", portLevelMtls=PORT_OFF))),
    Row(name="7 STRICT with workload DISABLE",          sends=PLAIN, why=Why.SERVER_DISABLED,      outcome=OK, policies=(ns("STRICT"), work("DISABLE"))),
    Row(name="8 headless, port DISABLE",                sends=MTLS,  why=Why.ALL_SIDECARS,         outcome=BAD, works=False, policies=(work("UNSET", portLevelMtls=PORT_OFF),), headless=True),
    Row(name="8 headless, no policy",                   sends=MTLS,  why=Why.ALL_SIDECARS,         outcome=OK, headless=True),
    Row(name="8 headless, namespace DISABLE",           sends=PLAIN, why=Why.NAMESPACE_DISABLED,   outcome=OK, policies=(ns("DISABLE"),), headless=True),
    Row(name="8 PASSTHROUGH, port DISABLE",             sends=MTLS,  why=Why.ALL_SIDECARS,         outcome=BAD, works=False, policies=(work("UNSET", portLevelMtls=PORT_OFF),), rules=(rule(None, **BY_ADDRESS),)),
    Row(name="9 headless, one without sidecar",         sends=PLAIN, why=Why.NOT_ALL_SIDECARS,     outcome=CLOSED, works=False, policies=(ns("STRICT"),), headless=True, mixed=True),
    Row(name="9 PASSTHROUGH, one without sidecar",      sends=PLAIN, why=Why.NOT_ALL_SIDECARS,     outcome=OK, rules=(rule(None, **BY_ADDRESS),), mixed=True),
    Row(name="9 ClusterIP, one without sidecar",        sends=MTLS,  why=Why.SERVER_ACCEPTS,       outcome=OK, policies=(ns("STRICT"),), mixed=True),
    Row(name="10 ISTIO_MUTUAL, sidecar",                sends=MTLS,  why=Why.RULE, outcome=OK, rules=(rule("ISTIO_MUTUAL"),)),
    Row(name="10 ISTIO_MUTUAL, namespace DISABLE, workload STRICT", sends=MTLS, why=Why.RULE, outcome=OK, rules=(rule("ISTIO_MUTUAL"),), policies=(ns("DISABLE"), work("STRICT"))),
    Row(name="10 ISTIO_MUTUAL, headless",               sends=MTLS,  why=Why.RULE, outcome=OK, rules=(rule("ISTIO_MUTUAL"),), headless=True, mixed=True),
    Row(name="11 ISTIO_MUTUAL, no sidecar",             sends=MTLS,  why=Why.RULE, outcome=TO_APP, works=False, rules=(rule("ISTIO_MUTUAL"),), meshed=False),
    Row(name="12 ISTIO_MUTUAL to DISABLE",              sends=MTLS,  why=Why.RULE, outcome=BAD, works=False, rules=(rule("ISTIO_MUTUAL"),), policies=(ns("DISABLE"),)),
    Row(name="12 ISTIO_MUTUAL to DISABLE, TCP",         sends=MTLS,  why=Why.RULE, outcome=TO_APP, works=False, rules=(rule("ISTIO_MUTUAL"),), policies=(ns("DISABLE"),), protocol="tcp"),
    Row(name="13 DISABLE to STRICT",                    sends=PLAIN, why=Why.RULE, outcome=CLOSED, works=False, rules=(rule("DISABLE"),), policies=(ns("STRICT"),)),
    Row(name="13 an empty tls block is DISABLE",        sends=PLAIN, why=Why.RULE, outcome=CLOSED, works=False, rules=(rule(None, tls={}),), policies=(ns("STRICT"),)),
    Row(name="14 DISABLE to PERMISSIVE",                sends=PLAIN, why=Why.RULE, outcome=OK, rules=(rule("DISABLE"),), policies=(ns("PERMISSIVE"),)),
    Row(name="14 DISABLE to DISABLE",                   sends=PLAIN, why=Why.RULE, outcome=OK, rules=(rule("DISABLE"),), policies=(ns("DISABLE"),)),
    Row(name="15 SIMPLE to STRICT",                     sends=SIMPLE, why=Why.RULE, outcome=REFUSED, works=False, rules=(rule("SIMPLE"),), policies=(ns("STRICT"),)),
    Row(name="15 SIMPLE to PERMISSIVE HTTP",            sends=SIMPLE, why=Why.RULE, outcome=CLOSED, works=False, rules=(rule("SIMPLE"),)),
    Row(name="15 SIMPLE to PERMISSIVE TCP",             sends=SIMPLE, why=Why.RULE, outcome=TO_APP, works=None, rules=(rule("SIMPLE"),), protocol="tcp"),
    Row(name="16 MUTUAL to STRICT",                     sends=MUTUAL, why=Why.RULE, outcome=REFUSED, works=None, rules=(rule(None, tls={"mode": "MUTUAL", "clientCertificate": "/c", "privateKey": "/k"}),), policies=(ns("STRICT"),)),
    Row(name="17 a rule without tls",                   sends=MTLS,  why=Why.SERVER_ACCEPTS, outcome=OK, rules=(rule(None, **OTHER_LOAD_BALANCING),)),
    Row(name="18 ISTIO_MUTUAL, port without tls",       sends=MTLS,  why=Why.RULE_INHERITED, outcome=OK, rules=(rule("ISTIO_MUTUAL", portLevelSettings=PORT_WITHOUT_TLS),)),
    Row(name="18b the same, no sidecar",                sends=MTLS,  why=Why.RULE_INHERITED, outcome=TO_APP, works=False, rules=(rule("ISTIO_MUTUAL", portLevelSettings=PORT_WITHOUT_TLS),), meshed=False),
    Row(name="18c the same, automatic mTLS off",        sends=PLAIN, why=Why.AUTO_MTLS_OFF, outcome=OK, rules=(rule("ISTIO_MUTUAL", portLevelSettings=PORT_WITHOUT_TLS),), settings=AUTO_MTLS_OFF),
    Row(name="18d the same, namespace DISABLE",         sends=PLAIN, why=Why.NAMESPACE_DISABLED, outcome=OK, rules=(rule("ISTIO_MUTUAL", portLevelSettings=PORT_WITHOUT_TLS),), policies=(ns("DISABLE"),)),
    Row(name="18e SIMPLE, port without tls",            sends=PLAIN, why=Why.RULE_INHERITED, outcome=OK, rules=(rule("SIMPLE", portLevelSettings=PORT_WITHOUT_TLS),)),
    Row(name="18f DISABLE, port without tls, STRICT",   sends=PLAIN, why=Why.RULE_INHERITED, outcome=CLOSED, works=False, rules=(rule("DISABLE", portLevelSettings=PORT_WITHOUT_TLS),), policies=(ns("STRICT"),)),
    Row(name="19 automatic mTLS off",                   sends=PLAIN, why=Why.AUTO_MTLS_OFF, outcome=OK, settings=AUTO_MTLS_OFF),
    Row(name="19 automatic mTLS off, ISTIO_MUTUAL",     sends=MTLS,  why=Why.RULE, outcome=OK, rules=(rule("ISTIO_MUTUAL"),), settings=AUTO_MTLS_OFF),
    Row(name="20 external entry",                       sends=PLAIN, why=Why.EXTERNAL, outcome=OK, entry=entry("MESH_EXTERNAL", "STATIC", endpoints=STATIC_LABELLED)),
    Row(name="21 internal entry, endpoint labelled",    sends=MTLS,  why=Why.SERVER_ACCEPTS, outcome=OK, entry=entry("MESH_INTERNAL", "STATIC", endpoints=STATIC_LABELLED)),
    Row(name="21 internal entry, endpoint with account", sends=MTLS, why=Why.SERVER_ACCEPTS, outcome=OK, entry=entry("MESH_INTERNAL", "STATIC", endpoints=STATIC_ACCOUNT)),
    Row(name="21 internal entry, endpoint with neither", sends=PLAIN, why=Why.NO_SIDECAR_AT_SERVER, outcome=OK, entry=entry("MESH_INTERNAL", "STATIC", endpoints=STATIC_NEITHER)),
    Row(name="21 internal entry that selects pods",     sends=MTLS,  why=Why.SERVER_ACCEPTS, outcome=OK, entry=entry("MESH_INTERNAL", "STATIC", workloadSelector={"labels": {"app": "web"}})),
    Row(name="22 internal entry, NONE",                 sends=PLAIN, why=Why.NO_ENDPOINTS, outcome=OK, entry=entry("MESH_INTERNAL", "NONE")),
    Row(name="22 internal entry, DNS",                  sends=PLAIN, why=Why.NO_SIDECAR_AT_SERVER, outcome=OK, entry=entry("MESH_INTERNAL", "DNS")),
    Row(name="25 client without sidecar to STRICT",     sends=PLAIN, why=Why.NO_SIDECAR_AT_CLIENT, outcome=CLOSED, works=False, client=False, policies=(ns("STRICT"),), rules=(rule("ISTIO_MUTUAL"),)),
    Row(name="25 client without sidecar to PERMISSIVE", sends=PLAIN, why=Why.NO_SIDECAR_AT_CLIENT, outcome=OK, client=False),
)
# fmt: on
"""Row by row.  Rows 23 and 24 are about other destinations."""
