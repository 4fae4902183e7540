"""What a server's proxy does with connections, cell by cell of istio-semantics 2.4."""

import pytest

from mutua.policy.inbound import what_becomes_of
from mutua.testing.truth_table_inbound import Cell, cells


@pytest.mark.parametrize(
    "cell", list(cells()), ids=lambda cell: f"{cell.protocol.value} {cell.mode.value}: {cell.name}"
)
def test_what_becomes_of_a_connection(cell: Cell) -> None:
    assert what_becomes_of(cell.arrival, cell.mode, cell.protocol) is cell.expected
