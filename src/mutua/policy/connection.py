"""Does a call from this client to that port work, and whom to ask if not?

    the client's program ── Content ──► its proxy ── Sent ──► the server's proxy ──► Outcome

One verdict names both ends: what is sent and why, what is demanded and by which policy, what
becomes of it, and the object to edit when it fails.  Specification: istio-semantics 2.4 and 3.5.
"""

from dataclasses import dataclass, replace
from typing import Final

from mutua.api.service_entry import Resolution
from mutua.model.service import Protocol
from mutua.model.snapshot import MeshSnapshot
from mutua.model.workload import Endpoint, Workload
from mutua.policy.inbound import (
    Arrival,
    Content,
    Outcome,
    Wrapping,
    declared_protocol,
    wait_for_first_bytes,
    what_becomes_of,
    what_becomes_of_direct,
    what_is_demanded,
)
from mutua.policy.outbound import (
    Destination,
    Sends,
    Sent,
    Why,
    elsewhere,
    is_exported,
    recognised,
    what_is_sent,
    what_is_sent_to_address,
)
from mutua.policy.peer_authentication import Decision

_WRAPPINGS: Final = {
    Sends.PLAINTEXT: Wrapping.NONE,
    Sends.ISTIO_MUTUAL: Wrapping.MESH,
    Sends.SIMPLE: Wrapping.OTHER,
    # Certificates of a rule's own are taken for ones that the mesh did not issue.
    Sends.MUTUAL: Wrapping.OTHER,
}

_USUAL: Final = {
    Protocol.HTTPS: Content.TLS,
    Protocol.TLS: Content.TLS,
    Protocol.TCP: Content.CLIENT_FIRST,
    Protocol.MONGO: Content.CLIENT_FIRST,
    Protocol.REDIS: Content.CLIENT_FIRST,
    Protocol.MYSQL: Content.SERVER_FIRST,
}
"""What programs say on ports that are not HTTP."""

_UNRECOGNISED: Final = frozenset(
    {Why.NO_SIDECAR_AT_CLIENT, Why.OWN_ADDRESS, Why.NOT_EXPORTED, Why.UNKNOWN_ADDRESS}
)
"""Calls that no listener or route of the client's proxy is made for."""

_OK: Final = frozenset({Outcome.OK_HTTP, Outcome.OK_TCP})

_FORWARDED_WORKS: Final = {
    Sends.PLAINTEXT: True,  # it is the client program's own TLS
    Sends.ISTIO_MUTUAL: False,  # no application holds a certificate of the mesh
    Sends.SIMPLE: None,
    Sends.MUTUAL: None,
}
"""Whether TLS that reaches the application gets its answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What becomes of a call, and why.

    Attributes:
        outcome: What becomes of it.
        works: Whether the client's program gets its answer; None when policies cannot tell: it
            depends on whether the application speaks TLS, or who issued a rule's certificate.
        sent: What the client sends.
        demanded: What the server's proxy demands; None when there is no proxy.
        wait: Seconds that proxies wait in vain for the client's first bytes before that.
    """

    outcome: Outcome
    works: bool | None
    sent: Sent
    demanded: Decision | None
    wait: float = 0.0

    @property
    def culprit(self) -> str:
        """The policy to edit when it does not work, `Kind namespace/name`; "" when it is none.

        The client's rule comes first: whoever wrote it can always say what the server accepts.
        """
        if self.works or self.outcome in {Outcome.NOTHING_SENT, Outcome.HANG}:
            return ""
        if self.sent.setting.source:
            return f"DestinationRule {self.sent.setting.source}"
        policy = self.sent.policy or (self.demanded.policy if self.demanded else "")
        return f"PeerAuthentication {policy}" if policy else ""

    def explain(self) -> str:
        """Return the verdict as one line."""
        demand = "the server has no sidecar"
        if self.demanded is not None:
            by = f"PeerAuthentication {self.demanded.policy}" if self.demanded.policy else "default"
            demand = f"the server's mode is {self.demanded.mode.value} ({by})"
        said = f"the client sends {self.sent.sends.value} ({self.sent.explain()}), {demand}"
        late = f", after {self.wait:g} s of waiting for the client to speak" if self.wait else ""
        return f"{said}: {self.outcome.value}{late}"


def judge(
    mesh: MeshSnapshot, client: Workload, to: Destination, content: Content | None = None
) -> Verdict:
    """Decide what becomes of a pod's call to a Service.

    Args:
        mesh: The mesh.
        client: Who calls.
        to: What is called.
        content: What the client's program says; None for what is usual on such a port.
    """
    content = content or usual_content(to.port.protocol)
    if to.service.headless:  # its listener may be that of an older one with the same endpoint
        found = recognised(mesh, client, to.endpoint.address, to.port.number)
        to = to if found is None or found.service is to.service else found
    protocol = to.port.protocol
    sent = what_is_sent(mesh, client, to)
    endpoint = _met(mesh, to)
    if sent.why in _UNRECOGNISED:
        return _passed_on(mesh, client, sent, endpoint, to.port.number, content)
    looks_first = protocol.is_http or protocol is Protocol.AUTO
    if protocol.is_http and content is not Content.HTTP:
        sent = elsewhere(mesh, Why.NOT_HTTP)
    if looks_first and content is Content.SERVER_FIRST:
        return _arrives_late(mesh, sent, endpoint)
    return _arrives(mesh, sent, endpoint, content, announced_http=looks_first)


def judge_address(
    mesh: MeshSnapshot,
    client: Workload,
    address: str,
    port: int,
    content: Content = Content.HTTP,
) -> Verdict:
    """Decide what becomes of a pod's call to another pod's address."""
    to = recognised(mesh, client, address, port)
    if to is not None and client.address != address:
        return judge(mesh, client, to, content)
    endpoint = Endpoint(address, port, ready=True, workload=_pod(mesh, address))
    sent = what_is_sent_to_address(mesh, client, address, port)
    return _passed_on(mesh, client, sent, endpoint, port, content)


def usual_content(protocol: Protocol) -> Content:
    """Return what programs usually say on a port that speaks this; HTTP when nothing is said."""
    return _USUAL.get(protocol, Content.HTTP)


def _met(mesh: MeshSnapshot, to: Destination) -> Endpoint:
    """Return who is met at an endpoint, whatever was said about it, and on which port."""
    endpoint = to.endpoint
    own = to.service.resolution is Resolution.NONE  # nobody translates its ports
    port = to.port.number if own else endpoint.port
    server = endpoint.workload
    if server is None or not server.uid:
        server = _pod(mesh, endpoint.address)
    return replace(endpoint, port=port, workload=server)


def _pod(mesh: MeshSnapshot, address: str) -> Workload | None:
    return next((one for one in mesh.workloads.values() if one.address == address), None)


def _passed_on(
    mesh: MeshSnapshot,
    client: Workload,
    sent: Sent,
    endpoint: Endpoint,
    port: int,
    content: Content,
) -> Verdict:
    """Judge a call that the client's proxy, if it is asked at all, takes for no Service's."""
    asked = sent.why not in {Why.NO_SIDECAR_AT_CLIENT, Why.OWN_ADDRESS}
    if asked and content is Content.SERVER_FIRST and _looks_first(mesh, client, port):
        return _arrives_late(mesh, sent, endpoint)
    return _arrives(mesh, sent, endpoint, content)


def _looks_first(mesh: MeshSnapshot, client: Workload, port: int) -> bool:
    """Tell whether a client's proxy waits for HTTP on a port whatever the address."""
    return any(
        one.number == port and one.protocol.is_http
        for service in mesh.services
        if is_exported(mesh, service, client.namespace)
        for one in service.ports
    )


def _arrives_late(mesh: MeshSnapshot, sent: Sent, endpoint: Endpoint) -> Verdict:
    """Judge a call whose client says nothing to a proxy that looks at its bytes first."""
    patience = mesh.settings.detection_timeout
    if not patience:
        return _verdict(mesh, sent, endpoint, Outcome.HANG)
    verdict = _arrives(mesh, sent, endpoint, Content.SERVER_FIRST)
    return replace(verdict, wait=patience + verdict.wait)


def _arrives(
    mesh: MeshSnapshot,
    sent: Sent,
    endpoint: Endpoint,
    content: Content,
    *,
    announced_http: bool = False,
) -> Verdict:
    if sent.sends is Sends.NOTHING:
        return _verdict(mesh, sent, endpoint, Outcome.NOTHING_SENT)
    http = announced_http and content is Content.HTTP
    arrival = Arrival(wrapping=_WRAPPINGS[sent.sends], content=content, announced_http=http)
    demanded = what_is_demanded(mesh, endpoint)
    if demanded is None or sent.why is Why.OWN_ADDRESS:
        return _verdict(mesh, sent, endpoint, what_becomes_of_direct(arrival))
    protocol = declared_protocol(mesh, endpoint)
    outcome = what_becomes_of(arrival, demanded.mode, protocol)
    if outcome in _OK and not _is_expected(mesh, sent, endpoint):
        outcome = Outcome.HANDSHAKE_FAILS
    wait = wait_for_first_bytes(arrival, demanded.mode, protocol, mesh.settings)
    return replace(_verdict(mesh, sent, endpoint, outcome), wait=wait)


def _is_expected(mesh: MeshSnapshot, sent: Sent, endpoint: Endpoint) -> bool:
    """Tell whether the server can prove to be whom the client expects."""
    server = endpoint.workload
    if not sent.mutual_tls or not sent.identities or server is None:
        return True
    path = f"ns/{server.namespace}/sa/{server.service_account}"
    return f"spiffe://{mesh.settings.trust_domain}/{path}" in sent.identities


def _verdict(mesh: MeshSnapshot, sent: Sent, endpoint: Endpoint, outcome: Outcome) -> Verdict:
    return Verdict(
        outcome=outcome,
        works=_works(outcome, sent),
        sent=sent,
        demanded=what_is_demanded(mesh, endpoint),
    )


def _works(outcome: Outcome, sent: Sent) -> bool | None:
    if outcome in _OK:
        return True
    if outcome is Outcome.FORWARDED_TO_APP:
        return _FORWARDED_WORKS[sent.sends]
    if outcome is Outcome.HANDSHAKE_FAILS and sent.sends is Sends.MUTUAL:
        return None
    return False
