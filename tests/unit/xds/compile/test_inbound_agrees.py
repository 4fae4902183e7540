"""The compiled listener does what istio-semantics 1.6 and 2.4 say, row by row and cell by cell."""

from collections.abc import Iterable, Mapping

import pytest

from mutua.api.security import MutualTlsMode, PeerAuthentication
from mutua.model.service import Protocol
from mutua.model.settings import MeshSettings
from mutua.model.snapshot import MeshSnapshot
from mutua.model.workload import InboundPort, Workload
from mutua.policy.inbound import Outcome, wait_for_first_bytes
from mutua.testing.filter_chains import InboundListener
from mutua.testing.truth_table import LABELS, TABLE, Row
from mutua.testing.truth_table_inbound import ARRIVALS, Cell, cells
from mutua.xds.compile import compile_proxy

PORT, UNDECLARED = 8080, 9090
DEFAULT = MeshSettings()


def listener(
    policies: Iterable[PeerAuthentication],
    ports: Mapping[int, Protocol],
    settings: MeshSettings = DEFAULT,
) -> InboundListener:
    web = Workload(
        uid="u",
        namespace="x",
        name="web",
        address="",
        labels=LABELS,
        service_account="web",
        container_ports={},
    )
    snapshot = MeshSnapshot(
        settings=settings,
        services=(),
        workloads={"u": web},
        endpoints={},
        inbound_ports={"u": tuple(InboundPort(*port) for port in ports.items())},
        peer_authentications=tuple(policies),
    )
    return InboundListener(compile_proxy(snapshot, "u"))


def namespace_wide(mode: MutualTlsMode) -> PeerAuthentication:
    return PeerAuthentication(namespace="x", name="ns", mode=mode)


def demanded(compiled: InboundListener, port: int) -> MutualTlsMode:
    plain, mesh = (
        compiled.outcome(port, ARRIVALS[name]) is Outcome.OK_HTTP
        for name in ("plain HTTP", "mesh HTTP")
    )
    if plain:
        return MutualTlsMode.PERMISSIVE if mesh else MutualTlsMode.DISABLE
    assert mesh
    return MutualTlsMode.STRICT


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
@pytest.mark.parametrize("declared", [True, False])
def test_the_truth_table(row: Row, declared: bool) -> None:
    compiled = listener(row.policies, {row.port: Protocol.HTTP} if declared else {})

    assert demanded(compiled, row.port) is row.expected


@pytest.mark.parametrize(
    "cell", list(cells()), ids=lambda cell: f"{cell.protocol.value} {cell.mode.value}: {cell.name}"
)
def test_a_declared_port(cell: Cell) -> None:
    compiled = listener([namespace_wide(cell.mode)], {PORT: cell.protocol})

    assert compiled.outcome(PORT, cell.arrival) is cell.expected


@pytest.mark.parametrize("settings", [DEFAULT, MeshSettings(detection_timeout=0.25)])
def test_the_wait_for_a_client_that_waits_for_the_server(settings: MeshSettings) -> None:
    for cell in cells():
        compiled = listener([namespace_wide(cell.mode)], {PORT: cell.protocol}, settings)
        says = wait_for_first_bytes(cell.arrival, cell.mode, cell.protocol, settings)

        assert compiled.wait(PORT, cell.arrival) == says, cell
        assert (says > 0) is cell.waits, cell


@pytest.mark.parametrize(
    "cell",
    [cell for cell in cells() if cell.protocol is Protocol.AUTO],
    ids=lambda cell: f"{cell.mode.value}: {cell.name}",
)
def test_an_undeclared_port_is_one_without_protocol(cell: Cell) -> None:
    compiled = listener([namespace_wide(cell.mode)], {PORT: Protocol.HTTP})

    assert compiled.outcome(UNDECLARED, cell.arrival) is cell.expected
