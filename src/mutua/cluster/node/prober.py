"""Probes over the real network: from the node, or from inside a meshed pod past its sidecar."""

import socket

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
        request = HttpTarget(
            address=target.host,
            port=target.port,
            path=target.path,
            scheme="https" if target.tls else "http",
            headers=dict(target.headers),
        )
        try:
            result = await http_probe(await self._socket(target), request, target.timeout)
        except OSError as error:
            return str(error)
        return "" if result.success else result.message or "failed"

    @override
    async def tcp(self, target: Target) -> str:
        try:
            sock = await self._socket(target)
            result = await tcp_probe(sock, target.host, target.port, target.timeout)
        except OSError as error:
            return str(error)
        return "" if result.success else result.message or "failed"

    async def _socket(self, target: Target) -> socket.socket:
        return await pod_socket(self._network, target.uid) if target.inside else node_socket()
