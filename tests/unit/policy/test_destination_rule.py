"""Which rule speaks to a client, and what it says: istio-semantics 6.3 to 6.5, row by row."""

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mutua.policy.destination_rule import Level, cluster_setting, find_rule, flag_setting
from mutua.testing.truth_table_rules import IM, OFF, TABLE, Row, rule, subset, top


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_truth_table(row: Row) -> None:
    mesh = row.mesh()
    client, (service,) = mesh.workloads[f"{row.client}-client"], mesh.services

    found = find_rule(mesh.destination_rules, client, service, mesh.settings)

    setting = cluster_setting(found, row.port, row.subset)
    flagged = flag_setting(found, row.port, row.subset)
    exists = not row.subset or (found is not None and row.subset in found.subsets)
    assert exists is (row.tls is not None)
    if row.tls is not None:
        assert (setting.tls.mode.value if setting.tls else "") == row.tls
        expected = row.tls if row.flag is None else row.flag
        assert (flagged.tls.mode.value if flagged.tls else "") == expected


@given(st.sampled_from(TABLE), st.randoms())
def test_the_order_of_rules_does_not_matter(row: Row, random: Random) -> None:
    mesh = row.mesh()
    client, (service,) = mesh.workloads[f"{row.client}-client"], mesh.services
    shuffled = random.sample(mesh.destination_rules, len(mesh.destination_rules))

    found = [
        find_rule(rules, client, service, mesh.settings)
        for rules in (mesh.destination_rules, shuffled)
    ]

    assert found[0] == found[1]


LEVELS = [
    pytest.param(top(IM), "", Level.RULE, "s/r0", id="rule"),
    pytest.param(top(OFF, p80=IM), "", Level.PORT, "s/r0", id="port"),
    pytest.param({"subsets": [subset(mode=IM)]}, "v1", Level.SUBSET, "s/r0", id="subset"),
    pytest.param(
        {"subsets": [subset(**top(None, p80=IM)["trafficPolicy"])]},
        "v1",
        Level.SUBSET_PORT,
        "s/r0",
        id="port of a subset",
    ),
    pytest.param({"subsets": [subset()]}, "v1", Level.RULE, "s/r1", id="rule that supplies it"),
]


@pytest.mark.parametrize(("spec", "name", "level", "source"), LEVELS)
def test_a_setting_names_its_rule_and_where_to_look(
    spec: dict[str, Any], name: str, level: Level, source: str
) -> None:
    mesh = Row("", (rule("s", **spec), rule("s", IM, at=1)), "").mesh()
    client, (service,) = mesh.workloads["c-client"], mesh.services

    setting = cluster_setting(
        find_rule(mesh.destination_rules, client, service, mesh.settings), 80, name
    )

    assert (setting.level, setting.source) == (level, source)
