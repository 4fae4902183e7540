"""Ports that STRICT means and that callers reach otherwise than its author may think.

excluded from capture     the connection does not pass the sidecar: nothing is enforced
behind no Service         clients know only the pod's address: plaintext, which is refused
"""

from collections.abc import Iterator

from mutua.analysis.codes import NO_SERVICE, NOT_CAPTURED
from mutua.analysis.mesh import Mesh
from mutua.analysis.message import Message
from mutua.analysis.peer_authentication import named
from mutua.analysis.pods import PodGroup
from mutua.analysis.wording import listed
from mutua.api.annotations import READERS, TRAFFIC, annotations
from mutua.api.security import MutualTlsMode


def analyze(mesh: Mesh) -> Iterator[Message]:
    """Yield the ports of meshed workloads that are not what they seem."""
    for group in mesh.groups():
        if group.is_meshed:
            yield from _ports(mesh, group)


def _ports(mesh: Mesh, group: PodGroup) -> Iterator[Message]:
    exposed = {target for _, _, target in mesh.exposing(group)}
    bare: dict[str, list[int]] = {}
    lonely: dict[str, list[int]] = {}
    for port in sorted(group.ports | exposed):
        decision = mesh.demanded(group, port)
        if decision.mode is not MutualTlsMode.STRICT:
            continue
        if not _is_captured(group, port):
            bare.setdefault(decision.policy, []).append(port)
        elif port not in exposed:
            lonely.setdefault(decision.policy, []).append(port)
    for policy, ports in bare.items():
        text = (
            f"port {_numbers(ports)} is excluded from the sidecar by an annotation, so STRICT of "
            f"PeerAuthentication {policy} is not enforced on it"
        )
        yield Message(code=NOT_CAPTURED, origin=group.origin, text=text, related=(named(policy),))
    for policy, ports in lonely.items():
        text = (
            f"no Service leads to port {_numbers(ports)}: callers have only the pod's address, to "
            f"which sidecars send plaintext, and STRICT of PeerAuthentication {policy} refuses it"
        )
        yield Message(code=NO_SERVICE, origin=group.origin, text=text, related=(named(policy),))


def _is_captured(group: PodGroup, port: int) -> bool:
    given = annotations(group.pods[0])
    included = _read(given, f"{TRAFFIC}includeInboundPorts", None)
    excluded = _read(given, f"{TRAFFIC}excludeInboundPorts", ())
    return (included is None or port in included) and port not in (excluded or ())


def _read(
    given: dict[str, str], name: str, default: tuple[int, ...] | None
) -> tuple[int, ...] | None:
    try:
        found: tuple[int, ...] | None = READERS[name](given[name]) if name in given else default
    except ValueError:
        return default  # the pod is refused, and another message says why
    return found


def _numbers(ports: list[int]) -> str:
    return listed([str(port) for port in ports])
