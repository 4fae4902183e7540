"""The compiled listener does what istio-semantics 2.4 says, cell by cell."""

import pytest

from mutua.api.security import MutualTlsMode, PeerAuthentication
from mutua.model.service import Protocol
from mutua.model.settings import MeshSettings
from mutua.model.snapshot import MeshSnapshot
from mutua.model.workload import InboundPort, Workload
from mutua.testing.filter_chains import InboundListener
from mutua.testing.truth_table_inbound import Cell, cells
from mutua.xds.compile import compile_proxy

PORT, UNDECLARED = 8080, 9090


def listener(mode: MutualTlsMode, protocol: Protocol) -> InboundListener:
    web = Workload(
        uid="u",
        namespace="x",
        name="web",
        address="",
        labels={},
        service_account="web",
        container_ports={},
    )
    snapshot = MeshSnapshot(
        settings=MeshSettings(),
        services=(),
        workloads={"u": web},
        endpoints={},
        inbound_ports={"u": (InboundPort(PORT, protocol),)},
        peer_authentications=(PeerAuthentication(namespace="x", name="ns", mode=mode),),
    )
    return InboundListener(compile_proxy(snapshot, "u"))


@pytest.mark.parametrize(
    "cell", list(cells()), ids=lambda cell: f"{cell.protocol.value} {cell.mode.value}: {cell.name}"
)
def test_a_declared_port(cell: Cell) -> None:
    compiled = listener(cell.mode, cell.protocol)

    assert compiled.outcome(PORT, cell.arrival) is cell.expected


@pytest.mark.parametrize(
    "cell",
    [cell for cell in cells() if cell.protocol is Protocol.AUTO],
    ids=lambda cell: f"{cell.mode.value}: {cell.name}",
)
def test_an_undeclared_port_is_one_without_protocol(cell: Cell) -> None:
    compiled = listener(cell.mode, Protocol.HTTP)

    assert compiled.outcome(UNDECLARED, cell.arrival) is cell.expected
