"""What the status of a DestinationRule says of others for its host is what the evaluator does."""

from collections.abc import Iterator, Sequence
from itertools import product

from hypothesis import given

from mutua.api.destination import DestinationRule, parse_destination_rule
from mutua.controlplane.enforcement import Condition, Reason
from mutua.controlplane.rule_status import rule_conditions
from mutua.model.service import Service, ServiceName
from mutua.model.settings import MeshSettings
from mutua.model.snapshot import MeshSnapshot
from mutua.model.workload import Workload
from mutua.policy.destination_rule import MergedRule, find_rule, followed_instead
from mutua.testing.generated_meshes import NAMESPACES, generated_meshes
from mutua.testing.mesh import destination_rule

ELSEWHERE = "elsewhere"
"""A namespace that no rule names."""

OFF = {"tls": {"mode": "DISABLE"}}
PRIVATE_BY_DEFAULT = MeshSettings(default_destination_rule_export_to=(".",))


def written(name: str, policy: object = OFF, **spec: object) -> DestinationRule:
    """Return a rule for one host; their names tell their ages."""
    created = f"2026-01-01T00:00:0{ord(name) - ord('a')}Z"
    return parse_destination_rule(
        destination_rule("shop", "web", policy, name=name, created=created, **spec)
    )


def said_of(
    rule: DestinationRule,
    others: Sequence[DestinationRule],
    settings: MeshSettings = MeshSettings(),  # noqa: B008 - immutable
) -> dict[str, Condition]:
    host = rule.hostname(settings.dns_domain)
    found = rule_conditions(
        rule,
        hostname=host,
        services=[called(host, rule.namespace)],
        beside=followed_instead(rule, others, settings),
        clients=[],
        somebody=False,
    )
    return {one.type: one for one in found}


def called(host: str, namespace: str) -> Service:
    return Service(
        id=ServiceName(namespace, "web"),
        hostname=host,
        created="",
        addresses=(),
        ports=(),
        selector={},
    )


def test_no_export_and_the_default_written_out_are_the_same() -> None:
    older, younger = written("a"), written("b", exportTo=["*"])

    said = said_of(younger, [older, younger])

    assert said["Accepted"].reason is Reason.SUPERSEDED
    assert said["Accepted"].message == "the older rule shop/a speaks for the same host"


def test_a_wider_rule_counts_where_the_older_one_is_not_exported() -> None:
    older, younger = written("a"), written("b", exportTo=["*"])

    said = said_of(younger, [older, younger], PRIVATE_BY_DEFAULT)

    assert said["InForce"].holds
    assert said["Ignored"].message == (
        "trafficPolicy: that of the older rule shop/a counts for clients in shop"
    )


def test_a_rule_between_two_that_leave_it_nobody_is_superseded() -> None:
    rules = [
        written("a", exportTo=["shop"]),
        written("b", exportTo=["bank"]),
        written("c", exportTo=["shop", "bank"]),
    ]

    assert said_of(rules[2], rules)["Accepted"].reason is Reason.SUPERSEDED


def test_a_rule_for_some_clients_is_not_superseded_by_one_for_all() -> None:
    some = written("b", workloadSelector={"matchLabels": {"tier": "a"}})

    said = said_of(some, [written("a"), some])

    assert (said["InForce"].holds, said["Ignored"].holds) == (True, False)


@given(generated_meshes())
def test_status_and_evaluator_agree(mesh: MeshSnapshot) -> None:
    for rule in mesh.destination_rules:
        agrees(rule, mesh)


def agrees(rule: DestinationRule, mesh: MeshSnapshot) -> None:
    """Compare with what every kind of client makes of all rules of a namespace for one host."""
    own, domain = f"{rule.namespace}/{rule.name}", mesh.settings.dns_domain
    others = [
        one
        for one in mesh.destination_rules
        if (one.namespace, one.hostname(domain)) == (rule.namespace, rule.hostname(domain))
    ]
    followed = list(followed_by_clients(rule, others, mesh.settings))
    taken = {
        "trafficPolicy": any(one.source == own and one.policy for one in followed),
        **{
            f"subset {subset.name}": any(
                subset.name in one.subsets and one.subsets[subset.name].source == own
                for one in followed
            )
            for subset in rule.subsets
        },
    }
    if rule.policy is None:
        del taken["trafficPolicy"]
    leads = any(one.sources[0] == own for one in followed)

    said = said_of(rule, others, mesh.settings)

    is_superseded = said["Accepted"].reason is Reason.SUPERSEDED
    assert is_superseded is not (leads or any(taken.values()))
    if not is_superseded:
        lines = said["Ignored"].message.split("; ")
        for part, counts in taken.items():
            about = [line for line in lines if line.startswith(f"{part}: ")]
            assert counts is (not about or all(" for clients in " in line for line in about))


def followed_by_clients(
    rule: DestinationRule, others: Sequence[DestinationRule], settings: MeshSettings
) -> Iterator[MergedRule]:
    service = called(rule.hostname(settings.dns_domain), rule.namespace)
    for namespace, labels in product((*NAMESPACES, ELSEWHERE), ({}, {"tier": "a"})):
        client = Workload(
            uid="client",
            namespace=namespace,
            name="client",
            address="",
            labels=labels,
            service_account="",
            container_ports={},
        )
        if (found := find_rule(others, client, service, settings)) is not None:
            yield found
