"""The compiled clusters send what istio-semantics 3.5 and 6.3 to 6.5 say, row by row."""

import pytest

from mutua.policy.outbound import Sends, what_is_sent
from mutua.testing import truth_table_outbound as outbound
from mutua.testing import truth_table_rules as rules
from mutua.testing.transport_sockets import outbound_cluster
from mutua.xds.compile import compile_proxy

MODES = {
    Sends.PLAINTEXT: "DISABLE",
    Sends.SIMPLE: "SIMPLE",
    Sends.MUTUAL: "MUTUAL",
    Sends.ISTIO_MUTUAL: "ISTIO_MUTUAL",
}


@pytest.mark.parametrize(
    "row", [row for row in outbound.TABLE if row.client], ids=lambda row: row.name
)
def test_what_is_sent(row: outbound.Row) -> None:
    mesh = row.mesh()
    to = outbound.asked(mesh)

    compiled = compile_proxy(mesh, "x-client")

    name = f"outbound|{to.port.number}||{to.service.hostname}"
    cluster = outbound_cluster(compiled, name)
    assert cluster is not None
    wire = cluster.wire(to.endpoint.address, to.endpoint.port)
    sent = what_is_sent(mesh, mesh.workloads["x-client"], to)
    assert wire.mode == MODES[row.sends]
    assert (wire.sni, wire.identities) == (sent.sni, sent.identities)


@pytest.mark.parametrize("row", rules.TABLE, ids=lambda row: row.name)
def test_what_rules_ask_for(row: rules.Row) -> None:
    mesh = row.mesh()

    compiled = compile_proxy(mesh, f"{row.client}-client")

    cluster = outbound_cluster(compiled, f"outbound|{row.port}|{row.subset}|{rules.HOST}")
    assert (cluster is not None) is (row.tls is not None)
    if cluster is not None:
        assert cluster.infers is (row.tls == "")
        if row.tls:
            assert cluster.wire(rules.SERVER, row.port).mode == row.tls
        expected = row.tls if row.flag is None else row.flag
        (place,) = cluster.places()
        assert place.flagged is (expected in {"", "ISTIO_MUTUAL"})
