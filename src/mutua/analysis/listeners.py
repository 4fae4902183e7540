"""Servers that listen where their sidecar does not reach them (IST0143).

The proxy of a pod hands connections to the pod's own address.  What listens on 127.0.0.1 only is
reached by its neighbours in the pod, and by nobody through the Service.  The sockets of a pod are
in its /proc/net/tcp and tcp6; reading them is left to the caller.  Source: proc_pid_net(5).
"""

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from mutua.analysis.analyze import Analyzer
from mutua.analysis.codes import LOOPBACK_ONLY
from mutua.analysis.mesh import Mesh
from mutua.analysis.message import Message
from mutua.analysis.pods import PodGroup
from mutua.api.object import Object

LISTEN: Final = "0A"
"""TCP_LISTEN, as the kernel writes it (include/net/tcp_states.h)."""

WORD: Final = 8
"""Hexadecimal digits of an address that the kernel writes together, in the machine's byte order."""


def exposed_pods(mesh: Mesh) -> Iterator[Object]:
    """Yield a running pod with a sidecar for each workload that a Service leads to."""
    if mesh.settings.inbound_to_localhost:
        return  # there the proxy hands connections to 127.0.0.1
    for group in mesh.groups():
        if group.is_meshed and any(mesh.exposing(group)):
            running = [one for one in group.pods if _runs(one)]
            yield from running[:1]


def analyzer(sockets: Mapping[str, str]) -> Analyzer:
    """Return the analyzer of what pods listen on.

    Args:
        sockets: By uid of a pod: the text of its /proc/net/tcp and tcp6, one after the other.
    """

    def analyze(mesh: Mesh) -> Iterator[Message]:
        for group in mesh.groups():
            for pod in group.pods:
                yield from _of(mesh, group, listening(sockets.get(pod["metadata"]["uid"], "")))

    return analyze


def listening(text: str) -> dict[int, set[str]]:
    """Return on which addresses each port is listened on."""
    found: dict[int, set[str]] = {}
    for line in text.splitlines():
        fields = line.split()
        if len(fields) > 3 and fields[3] == LISTEN:
            address, _, port = fields[1].partition(":")
            found.setdefault(int(port, 16), set()).add(_address(address))
    return found


def _of(mesh: Mesh, group: PodGroup, bound: Mapping[int, set[str]]) -> Iterator[Message]:
    exposed = {target: service.id.name for service, _, target in mesh.exposing(group)}
    for port, service in sorted(exposed.items()):
        addresses = sorted(bound.get(port, ()))
        if addresses and all(ip_address(one).is_loopback for one in addresses):
            text = (
                f"port {port} of Service {service} is listened on at {addresses[0]} only, where "
                "the sidecar does not reach it: listen on 0.0.0.0"
            )
            yield Message(code=LOOPBACK_ONLY, origin=group.origin, text=text)


def _runs(pod: Object) -> bool:
    return (pod.get("status") or {}).get("phase") == "Running"


def _address(digits: str) -> str:
    words = [digits[start : start + WORD] for start in range(0, len(digits), WORD)]
    packed = b"".join(bytes.fromhex(word)[::-1] for word in words)
    if len(packed) == len(IPv4Address(0).packed):
        return str(IPv4Address(packed))
    address = IPv6Address(packed)
    return str(address.ipv4_mapped or address)
