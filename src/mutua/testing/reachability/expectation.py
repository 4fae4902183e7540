"""What must become of a call?  The evaluator's verdict, in terms of what a client experiences.

The evaluator says what becomes of a connection between two proxies; two facts are added here:
what a client's own proxy makes of a failure (503 where it speaks HTTP), and that the applications
of the landscape terminate TLS, with a certificate that nobody trusts who does not know them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import inf
from typing import Final

from mutua.foundation.spiffe import SpiffeId
from mutua.model.service import Protocol, ServiceName
from mutua.model.snapshot import MeshSnapshot
from mutua.model.workload import Workload
from mutua.policy.connection import Verdict, judge, judge_address
from mutua.policy.inbound import Content
from mutua.policy.inbound import Outcome as Fate
from mutua.policy.outbound import Destination, Sends, Why, recognised
from mutua.testing.reachability.landscape import CLIENT_NAME, NAMESPACE, Call
from mutua.testing.reachability.probe import SERVER_NAME, Answer, Outcome, Says

CONTENT: Final = {
    Says.HTTP: Content.HTTP,
    Says.HTTP2: Content.HTTP,
    Says.TEXT: Content.CLIENT_FIRST,
    Says.TLS: Content.TLS,
    Says.NOTHING: Content.SERVER_FIRST,
}

AROUND: Final = frozenset(
    {Why.NO_SIDECAR_AT_CLIENT, Why.OWN_ADDRESS, Why.UNKNOWN_ADDRESS, Why.NOT_HTTP}
)
"""Why a connection takes no Service's cluster."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What must become of a call.

    Attributes:
        outcome: What the client experiences.
        identity: The SPIFFE ID that an HTTP/1.1 application must be told, "" for none.
        proved: Whom the client's proxy must prove to the application to be, "" for nobody.
        cluster: The cluster of the client's proxy that carries it, "" when none of a Service does.
        encrypted: Whether that cluster makes TLS connections; None when it tries to and fails.
        because: The verdict, explained.
        wait: Seconds without an answer before that.
    """

    outcome: Outcome
    identity: str
    proved: str
    cluster: str
    encrypted: bool | None
    because: str
    wait: float = 0.0

    def met_by(self, answer: Answer, call: Call, patience: float = inf) -> bool:
        """Tell whether this is what happened to somebody with so many seconds of patience."""
        if patience < self.wait:
            return answer.outcome is Outcome.SILENCE or answer.after > patience
        if answer.outcome is not self.outcome:
            return False
        if answer.outcome is not Outcome.OK:
            return True
        if answer.identity is not None and _uri(answer.identity) != self.identity:
            return False
        return (answer.pod, answer.proved) == (call.server, self.proved)


def expected(mesh: MeshSnapshot, call: Call) -> Expected:
    """Return what must become of a call."""
    client = _pod(mesh, call.client)
    to = _destination(mesh, client, call)
    content = CONTENT[call.says]
    if to is not None:
        verdict = judge(mesh, client, to, content)
    else:
        verdict = judge_address(mesh, client, call.host, call.port, content)
    around = to is None or verdict.sent.why in AROUND
    outcome = _outcome(mesh, client, call, verdict)
    encrypted = verdict.sent.sends is not Sends.PLAINTEXT
    vouched = verdict.outcome is Fate.OK_HTTP and verdict.sent.mutual_tls
    return Expected(
        outcome=outcome,
        identity=str(_identity(mesh, client)) if vouched else "",
        proved=_proved(outcome, verdict),
        cluster="" if around or to is None else f"outbound|{to.port.number}||{to.service.hostname}",
        encrypted=None if encrypted and outcome is not Outcome.OK else encrypted,
        because=verdict.explain(),
        wait=verdict.wait,
    )


def wrongly_protected(
    expectations: Iterable[Expected], clusters: Mapping[str, tuple[int, int]]
) -> list[str]:
    """Return the clusters of a client's proxy that used TLS where they must not, or did not.

    Args:
        expectations: Of all calls that were made.
        clusters: What the proxy has counted: connections and TLS handshakes.
    """
    wrong = []
    known = {(one.cluster, one.encrypted) for one in expectations if one.encrypted is not None}
    for cluster, encrypted in sorted(known):
        connections, handshakes = clusters.get(cluster, (0, 0))
        # Without a new connection a pooled one was used, or none.
        if connections and encrypted is not bool(handshakes):
            must = "TLS" if encrypted else "plaintext"
            wrong.append(f"{cluster} must use {must}: {connections=}, {handshakes=}")
    return wrong


def _outcome(mesh: MeshSnapshot, client: Workload, call: Call, verdict: Verdict) -> Outcome:
    if verdict.works or (verdict.works is None and _application_answers(call, verdict)):
        return Outcome.OK
    if verdict.outcome is Fate.HANG:
        return Outcome.SILENCE
    if verdict.outcome is Fate.PROTOCOL_ERROR and call.says is Says.TEXT:
        return Outcome.BAD_REQUEST
    if CONTENT[call.says] is Content.HTTP and _is_read_as_http(mesh, client, call):
        return Outcome.UNAVAILABLE
    return Outcome.CLOSED


def _application_answers(call: Call, verdict: Verdict) -> bool:
    """Tell whether an application answers inside of TLS that a client's proxy began."""
    tls = verdict.sent.setting.tls
    if tls is None or verdict.outcome is not Fate.FORWARDED_TO_APP:
        return False
    # The landscape's rules either verify nothing or name what the applications show.
    if not tls.insecure_skip_verify and tls.subject_alt_names != (SERVER_NAME,):
        return False
    # It does not greet inside of TLS, and reads no TLS inside of TLS.
    return call.says not in {Says.NOTHING, Says.TLS}


def _proved(outcome: Outcome, verdict: Verdict) -> str:
    own = outcome is Outcome.OK and verdict.sent.sends is Sends.MUTUAL
    return CLIENT_NAME if own else ""


def _is_read_as_http(mesh: MeshSnapshot, client: Workload, call: Call) -> bool:
    """Tell whether the client's own proxy reads the call as HTTP."""
    if not client.accepts_mutual_tls:
        return False
    if (to := _destination(mesh, client, call)) is not None:
        return to.port.protocol.is_http or to.port.protocol is Protocol.AUTO
    # A port on which any Service speaks HTTP is read as HTTP, whatever the address.
    return any(
        port.protocol.is_http
        for one in mesh.services
        for port in one.ports
        if port.number == call.port
    )


def _destination(mesh: MeshSnapshot, client: Workload, call: Call) -> Destination | None:
    """Return the Service that a call goes to, None when it goes to an address of none."""
    if not call.service:
        return recognised(mesh, client, call.host, call.port)
    service = next(one for one in mesh.services if one.id == ServiceName(NAMESPACE, call.service))
    port = next(port for port in service.ports if port.number == call.port)
    endpoints = mesh.endpoints[service.id][port.number]
    endpoint = next(one for one in endpoints if one.workload and one.workload.name == call.server)
    return Destination(service=service, port=port, endpoint=endpoint)


def _pod(mesh: MeshSnapshot, name: str) -> Workload:
    return next(
        one for one in mesh.workloads.values() if (one.namespace, one.name) == (NAMESPACE, name)
    )


def _identity(mesh: MeshSnapshot, client: Workload) -> SpiffeId:
    return SpiffeId(mesh.settings.trust_domain, client.namespace, client.service_account)


def _uri(header: str) -> str:
    """Return the peer's SPIFFE ID in an X-Forwarded-Client-Cert header, "" for an empty one."""
    fields = dict(part.split("=", 1) for part in header.split(";") if "=" in part)
    return fields.get("URI", "")
