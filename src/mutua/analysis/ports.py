"""What ports speak, and what that means before anybody waits for it (istio-semantics 2.2, 2.4).

A proxy that must learn a protocol waits for the client's first bytes.  Where the server speaks
first, both wait:

    port AUTO                        every client's proxy waits, for ever or, with
                                     protocolDetectionTimeout, for so long
    port TCP, server PERMISSIVE      the server's proxy waits some seconds for clients without a
                                     sidecar
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from mutua.analysis.codes import PORT_NAME, SPEAKS_FIRST, TWO_PORTS, TWO_PROTOCOLS
from mutua.analysis.mesh import Mesh
from mutua.analysis.message import Message
from mutua.analysis.peer_authentication import named
from mutua.analysis.pods import PodGroup
from mutua.analysis.wording import listed
from mutua.api.security import MutualTlsMode
from mutua.model.service import Protocol, Service, ServicePort
from mutua.policy.injection import SYSTEM_NAMESPACES

SERVER_FIRST_PORTS: Final[Mapping[int, str]] = {
    21: "FTP", 22: "SSH", 25: "SMTP", 110: "POP3", 119: "NNTP", 143: "IMAP", 587: "SMTP",
    3306: "MySQL", 4222: "NATS", 5900: "VNC",
}  # fmt: skip
"""Well-known ports on which the server speaks first (IANA's registry; the protocols' own texts).

Not among them although often taken for it: PostgreSQL, MongoDB, Redis, Kafka and AMQP, whose
clients speak first.
"""

SERVER_FIRST_NAMES: Final[Mapping[str, str]] = {
    "ftp": "FTP", "ssh": "SSH", "sftp": "SSH", "smtp": "SMTP", "submission": "SMTP",
    "pop3": "POP3", "nntp": "NNTP", "imap": "IMAP", "mysql": "MySQL", "mariadb": "MySQL",
    "nats": "NATS", "vnc": "VNC", "rfb": "VNC",
}  # fmt: skip
"""The same in port names, as a part between dashes."""


def analyze(mesh: Mesh) -> Iterator[Message]:
    """Yield what is to be said about the ports of Services and workloads."""
    for service in mesh.snapshot.services:
        for port in service.ports if service.id.namespace not in SYSTEM_NAMESPACES else ():
            if not service.is_entry:
                yield from _naming(mesh, service, port)
            yield from _silence(mesh, service, port)
    for group in mesh.groups():
        yield from _disagreements(mesh, group)


def _naming(mesh: Mesh, service: Service, port: ServicePort) -> Iterator[Message]:
    if port.protocol is Protocol.AUTO:
        name = f"name {port.name!r}" if port.name else "a missing name"
        text = (
            f"port {port.number}: {name} does not begin with a protocol, so proxies wait for the "
            f"first bytes to guess it; call it http-…, tcp-… or the like, or set appProtocol"
        )
        yield Message(code=PORT_NAME, origin=mesh.origin(service), text=text, path="spec.ports")


def server_first(port: ServicePort) -> str:
    """Return the protocol of a port on which servers speak first, "" for all others.

    A port that is declared to be something else is believed.
    """
    if port.protocol is Protocol.MYSQL:
        return "MySQL"
    if port.protocol not in {Protocol.AUTO, Protocol.TCP}:
        return ""
    for part in port.name.lower().split("-"):
        if part in SERVER_FIRST_NAMES:
            return SERVER_FIRST_NAMES[part]
    target = port.target if isinstance(port.target, int) else 0
    return SERVER_FIRST_PORTS.get(port.number) or SERVER_FIRST_PORTS.get(target, "")


def _silence(mesh: Mesh, service: Service, port: ServicePort) -> Iterator[Message]:
    speaks = server_first(port)
    if not speaks:
        return
    if port.protocol is Protocol.AUTO:
        patience = mesh.settings.detection_timeout
        text = (
            f"port {port.number}: {speaks} servers speak first, and proxies wait for the client's "
            "first bytes to learn the protocol, so connections "
            f"{f'are held up for {patience:g} s' if patience else 'hang'}; "
        )
        text += (
            "set protocol: TCP"
            if service.is_entry
            else f"call the port tcp-{port.name or speaks.lower()}, or set appProtocol: tcp"
        )
        yield Message(code=SPEAKS_FIRST, origin=mesh.origin(service), text=text, path="spec.ports")
        return
    waiting, policies, targets = set(), set(), set()
    for group in mesh.behind(service):
        for exposing, exposed, target in mesh.exposing(group):
            if exposing.id != service.id or exposed.number != port.number:
                continue
            decision = mesh.demanded(group, target)
            if group.is_meshed and decision.mode is MutualTlsMode.PERMISSIVE:
                waiting.add(group.name)
                targets.add(target)
                policies |= {decision.policy} - {""}
    if waiting:
        text = (
            f"port {port.number}: {speaks} servers speak first, and under PERMISSIVE the proxy of "
            f"{listed(sorted(waiting))} waits for the client's first bytes to tell TLS from "
            "plaintext, so clients without a sidecar are held up; set STRICT or DISABLE for port "
            f"{listed([str(one) for one in sorted(targets)])} with portLevelMtls"
        )
        related = tuple(map(named, sorted(policies)))
        yield Message(
            code=SPEAKS_FIRST,
            origin=mesh.origin(service),
            text=text,
            path="spec.ports",
            related=related,
        )


def _disagreements(mesh: Mesh, group: PodGroup) -> Iterator[Message]:
    """Yield container ports to which several Services lead in ways that do not fit together."""
    leading: dict[int, list[tuple[Service, ServicePort]]] = defaultdict(list)
    for service, port, target in mesh.exposing(group):
        leading[target].append((service, port))
    for target, found in sorted(leading.items()):
        related = tuple({mesh.origin(service): None for service, _ in found})
        protocols = {port.protocol for _, port in found}
        if len(protocols) > 1:
            said = ", ".join(sorted(protocol.value for protocol in protocols))
            oldest = found[0]  # the model's Services come oldest first
            text = (
                f"Service ports {_places(found)} lead to port {target} and disagree on its "
                f"protocol ({said}); {oldest[1].protocol.value} of {_places([oldest])}, the "
                "oldest, is what counts"
            )
            yield Message(code=TWO_PROTOCOLS, origin=group.origin, text=text, related=related)
        if len({port.number for _, port in found}) > 1 and len(related) > 1:
            text = f"Service ports {_places(found)} lead to port {target} under different numbers"
            yield Message(code=TWO_PORTS, origin=group.origin, text=text, related=related)


def _places(found: Sequence[tuple[Service, ServicePort]]) -> str:
    return listed([f"{service.id.name}:{port.number}" for service, port in found])
