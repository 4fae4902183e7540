"""Every connection worth making in a mesh, with what the evaluator says will be seen of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from mutua.model.service import Protocol
from mutua.model.snapshot import MeshSnapshot
from mutua.model.workload import Workload
from mutua.policy.connection import Verdict, judge, judge_address
from mutua.policy.inbound import Content, Outcome
from mutua.policy.outbound import Destination, Sends
from mutua.testing.loopback_mesh import Observed, speaks_first

OWN_NAME: Final = "asked.for.by.the.program"
"""Server name that client programs ask for in TLS of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One call.

    Attributes:
        client: Who calls.
        address: Where its program connects to.
        port: Likewise.
        host: What it calls the server.
        content: What it says.
        server: Address and port of the application it may reach.
        verdict: What the evaluator says.
        expected: What is therefore to be seen.
    """

    client: Workload
    address: str
    port: int
    host: str
    content: Content
    server: tuple[str, int]
    verdict: Verdict
    expected: Observed


def planned_calls(mesh: MeshSnapshot, undeclared: int) -> Iterator[Planned]:
    """Yield calls from every pod to every Service's port and to every pod's undeclared port.

    Args:
        mesh: Services in it have one endpoint at most, and do not translate ports.
        undeclared: A port that no Service exposes.
    """
    for client in mesh.workloads.values():
        for service in mesh.services:
            for port in service.ports:
                for endpoint in mesh.endpoints[service.id][port.number]:
                    to = Destination(service=service, port=port, endpoint=endpoint)
                    yield from _to_service(mesh, client, to)
        for server in mesh.workloads.values():
            if server is not client:
                yield from _to_pod(mesh, client, server, undeclared)


def _to_service(mesh: MeshSnapshot, client: Workload, to: Destination) -> Iterator[Planned]:
    address = next(iter(to.service.addresses), to.endpoint.address)
    if address == client.address:
        return  # does not pass the proxy, which loopback cannot show
    for content in _contents(to.port.number):
        verdict = judge(mesh, client, to, content)
        yield Planned(
            client=client,
            address=address,
            port=to.port.number,
            host=OWN_NAME if content is Content.TLS else to.service.hostname,
            content=content,
            server=(to.endpoint.address, to.endpoint.port),
            verdict=verdict,
            expected=_expected(verdict, client, to, content),
        )


def _to_pod(mesh: MeshSnapshot, client: Workload, server: Workload, port: int) -> Iterator[Planned]:
    for content in (Content.HTTP, Content.TLS):
        verdict = judge_address(mesh, client, server.address, port, content)
        host = OWN_NAME if content is Content.TLS else server.address
        yield Planned(
            client=client,
            address=server.address,
            port=port,
            host=host,
            content=content,
            server=(server.address, port),
            verdict=verdict,
            expected=_expected(verdict, client, None, content),
        )


def _contents(port: int) -> tuple[Content, ...]:
    if speaks_first(port):
        return (Content.SERVER_FIRST,)
    return (Content.HTTP, Content.CLIENT_FIRST, Content.TLS)


def _expected(
    verdict: Verdict, client: Workload, to: Destination | None, content: Content
) -> Observed:
    """Return what both ends see of an outcome."""
    outcome, sent = verdict.outcome, verdict.sent
    if outcome is Outcome.HANG:
        return Observed(silent=True)
    if outcome is Outcome.FORWARDED_TO_APP:
        names = {
            Sends.PLAINTEXT: OWN_NAME,
            Sends.ISTIO_MUTUAL: sent.sni,
        }
        name = names.get(sent.sends, sent.sni or _automatic_name(to, content))
        return Observed(handshakes=frozenset({name}))
    if outcome not in {Outcome.OK_HTTP, Outcome.OK_TCP}:
        return Observed()
    if content is Content.TLS:  # inside of mTLS
        return Observed(handshakes=frozenset({OWN_NAME}))
    identity = ""
    if outcome is Outcome.OK_HTTP and sent.mutual_tls:
        identity = f"spiffe://cluster.local/ns/{client.namespace}/sa/{client.service_account}"
    return Observed(answered=True, identity=identity)


def _automatic_name(to: Destination | None, content: Content) -> str:
    """Return the server name of TLS that a rule asks for without naming one."""
    if to is None or content is not Content.HTTP:
        return ""
    as_http = to.port.protocol.is_http or to.port.protocol is Protocol.AUTO
    return to.service.hostname if as_http else ""
