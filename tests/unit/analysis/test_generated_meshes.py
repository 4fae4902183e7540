"""What analysis says is true, and nothing that fails goes unsaid, on meshes nobody thought of."""

from collections.abc import Iterator

from hypothesis import given

from mutua.analysis.analyze import analyze
from mutua.analysis.mesh import Mesh
from mutua.analysis.message import Message
from mutua.api.object import PEER_AUTHENTICATIONS, Object
from mutua.api.security import MutualTlsMode
from mutua.model.snapshot import MeshSnapshot
from mutua.policy.connection import Verdict, judge
from mutua.policy.destination_rule import find_rule, is_in_subset
from mutua.policy.outbound import Destination, Why
from mutua.policy.peer_authentication import Subject, effective_mode
from mutua.testing.generated_meshes import TARGETS, UNDECLARED, generated_objects

STRICT = MutualTlsMode.STRICT


def modes(mesh: MeshSnapshot, *ports: int) -> dict[tuple[str, int], MutualTlsMode]:
    """Return the mode of every pod's ports."""
    return {
        (pod.uid, port): effective_mode(
            mesh.peer_authentications,
            Subject(namespace=pod.namespace, labels=pod.labels, port=port),
            root_namespace=mesh.settings.root_namespace,
        ).mode
        for pod in mesh.workloads.values()
        for port in (0, *ports)
    }


def without(policies: list[Object], message: Message) -> list[Object]:
    return [one for one in policies if one["metadata"]["name"] != message.origin.name]


@given(generated_objects())
def test_a_policy_without_effect_can_be_taken_away(drawn) -> None:
    objects, settings = drawn
    mesh = Mesh(objects, settings)

    for message in analyze(mesh):
        is_total = "no effect there" not in message.text and "keeps" not in message.text
        if message.code.code in {"IST0127", "IST0167"} and is_total:
            fewer = without(objects[PEER_AUTHENTICATIONS], message)
            after = Mesh({**objects, PEER_AUTHENTICATIONS: fewer}, settings)
            assert modes(after.snapshot, *TARGETS, UNDECLARED) == modes(
                mesh.snapshot, *TARGETS, UNDECLARED
            ), message


@given(generated_objects())
def test_an_entry_for_a_port_that_changes_nothing_can_be_taken_away(drawn) -> None:
    objects, settings = drawn
    mesh = Mesh(objects, settings)

    for message in analyze(mesh):
        if message.code.code == "MUT0101":
            port = message.path.partition("[")[2].rstrip("]")
            fewer = [
                _without_port(one, port) if one["metadata"]["name"] == message.origin.name else one
                for one in objects[PEER_AUTHENTICATIONS]
            ]
            after = Mesh({**objects, PEER_AUTHENTICATIONS: fewer}, settings)
            assert modes(after.snapshot, *TARGETS) == modes(mesh.snapshot, *TARGETS), message


def _without_port(policy: Object, port: str) -> Object:
    spec = dict(policy["spec"])
    ports = {number: mode for number, mode in spec.pop("portLevelMtls").items() if number != port}
    return {**policy, "spec": {**spec, **({"portLevelMtls": ports} if ports else {})}}


@given(generated_objects())
def test_every_call_that_a_rule_or_a_policy_breaks_is_told_to_its_author(drawn) -> None:
    objects, settings = drawn
    mesh = Mesh(objects, settings)
    told = {(one.code.code, str(one.origin)) for one in analyze(mesh)}

    for to, verdict in broken_calls(mesh.snapshot):
        sent, demanded = verdict.sent, verdict.demanded
        where = f"{to.service.id} {to.port.number} {to.subset}: {verdict.explain()}"
        if sent.setting.source:
            assert ("IST0113", f"DestinationRule {sent.setting.source}") in told, where
        elif demanded is None:
            continue
        elif sent.why in {Why.NAMESPACE_DISABLED, Why.AUTO_MTLS_OFF} and demanded.mode is STRICT:
            assert ("MUT0103", f"PeerAuthentication {demanded.policy}") in told, where
        elif sent.why is Why.NOT_ALL_SIDECARS and demanded.mode is STRICT:
            assert ("MUT0105", f"Service {'/'.join(_address(to))}") in told, where


def _address(to: Destination) -> tuple[str, str]:
    return to.service.id.namespace, to.service.id.name


def broken_calls(snapshot: MeshSnapshot) -> Iterator[tuple[Destination, Verdict]]:
    """Yield what does not work for the clients there are, and what becomes of it."""
    for client in snapshot.workloads.values():
        if client.name != "client":
            continue
        for service in snapshot.services:
            rule = find_rule(snapshot.destination_rules, client, service, snapshot.settings)
            if service.is_entry or not service.selector:
                continue
            for port in service.ports:
                for endpoint in snapshot.endpoints[service.id][port.number]:
                    for subset in ("", *(rule.subsets if rule else ())):
                        if not is_in_subset(rule, subset, endpoint):
                            continue
                        to = Destination(
                            service=service, port=port, endpoint=endpoint, subset=subset
                        )
                        verdict = judge(snapshot, client, to)
                        if verdict.works is False:
                            yield to, verdict
