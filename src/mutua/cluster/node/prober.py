"""Probes over the real network: from the node, or from inside a meshed pod past its sidecar."""

from typing_extensions import override

from mutua.cluster.node.ports import Prober, Target
from mutua.runtime.network.node import NodeNetwork
from mutua.runtime.network.probe import (
    HttpTarget,
    http_probe,
    node_socket,
    pod_socket,
    tcp_probe,
)


class NetworkProber(Prober):
    """Asks from where a kubelet would ask, or an Istio agent."""

    def __init__(self, network: NodeNetwork) -> None:
        self._network = network

    @override
    async def http(self, target: Target) -> str:
        sock = await pod_socket(self._network, target.uid) if target.inside else node_socket()
        request = HttpTarget(
            address=target.host,
            port=target.port,
            path=target.path,
            scheme="https" if target.tls else "http",
            headers=dict(target.headers),
        )
        result = await http_probe(sock, request, target.timeout)
        return "" if result.success else result.message or "failed"

    @override
    async def tcp(self, target: Target) -> str:
        sock = await pod_socket(self._network, target.uid) if target.inside else node_socket()
        result = await tcp_probe(sock, target.host, target.port, target.timeout)
        return "" if result.success else result.message or "failed"
