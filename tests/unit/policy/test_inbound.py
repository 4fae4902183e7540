"""What a server's proxy does with connections, cell by cell of istio-semantics 2.4."""

import pytest

from mutua.model.settings import MeshSettings
from mutua.policy.inbound import PATIENCE, wait_for_first_bytes, what_becomes_of
from mutua.testing.truth_table_inbound import Cell, cells


@pytest.mark.parametrize(
    "cell", list(cells()), ids=lambda cell: f"{cell.protocol.value} {cell.mode.value}: {cell.name}"
)
def test_what_becomes_of_a_connection(cell: Cell) -> None:
    assert what_becomes_of(cell.arrival, cell.mode, cell.protocol) is cell.expected


@pytest.mark.parametrize(("timeout", "wait"), [(0.0, PATIENCE), (0.25, 0.25)])
def test_how_long_a_proxy_waits_for_a_client_that_waits_for_the_server(
    timeout: float, wait: float
) -> None:
    mesh = MeshSettings(detection_timeout=timeout)

    for cell in cells():
        found = wait_for_first_bytes(cell.arrival, cell.mode, cell.protocol, mesh)
        assert found == (wait if cell.waits else 0.0), cell
