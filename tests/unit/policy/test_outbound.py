"""What clients send, row by row of istio-semantics 3.5, and whom they expect (3.6)."""

import pytest

from mutua.policy.connection import judge
from mutua.policy.outbound import what_is_sent
from mutua.testing.truth_table_outbound import TABLE, Row, asked


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_what_is_sent(row: Row) -> None:
    mesh = row.mesh()

    sent = what_is_sent(mesh, mesh.workloads["x-client"], asked(mesh))

    assert (sent.sends, sent.why) == (row.sends, row.why)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_what_becomes_of_it(row: Row) -> None:
    mesh = row.mesh()

    verdict = judge(mesh, mesh.workloads["x-client"], asked(mesh))

    assert (verdict.outcome, verdict.works) == (row.outcome, row.works)
