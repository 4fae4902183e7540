"""Restarts, phases, addresses, Service routes: the decisions without the processes."""

from pathlib import Path
from typing import Any

import pytest

from mutua.api.object import Object
from mutua.cluster.node.addresses import PodAddresses
from mutua.cluster.node.adoption import recollect
from mutua.cluster.node.blueprint import Place, hosts_file, resolv_conf
from mutua.cluster.node.probing import port_number
from mutua.cluster.node.record import (
    Record,
    Role,
    Running,
    State,
    Terminated,
    Waiting,
    restarts,
)
from mutua.cluster.node.settings import NodeSettings
from mutua.cluster.node.status import phase_of, qos_class
from mutua.foundation.errors import Rejected
from mutua.foundation.layout import Layout
from mutua.runtime.spec import ContainerState

OK = Terminated(0, "Completed")
BAD = Terminated(1, "Error")
RUNS = Running(0.0)
NEW = Waiting("ContainerCreating")


def pod(**spec: Any) -> Object:
    return {
        "metadata": {"name": "web-1", "namespace": "shop", "uid": "u"},
        "spec": {"containers": [{"name": "app"}], **spec},
    }


def record(state: State, role: Role = Role.APP, last: Terminated | None = None) -> Record:
    return Record({"name": "c"}, role, "u", state=state, last=last)


PHASES = [
    pytest.param("Always", [record(NEW)], "Pending", id="nothing has started"),
    pytest.param("Always", [record(RUNS), record(NEW)], "Pending", id="one has never started"),
    pytest.param("Always", [record(RUNS), record(NEW, last=BAD)], "Running", id="one is looping"),
    pytest.param(
        "Always", [record(NEW, Role.SIDECAR), record(RUNS)], "Running", id="proxy restarts"
    ),
    pytest.param("Always", [record(BAD)], "Running", id="about to be restarted"),
    pytest.param("Never", [record(OK), record(OK)], "Succeeded", id="all went well"),
    pytest.param("Never", [record(OK), record(BAD)], "Failed", id="one did not"),
    pytest.param("Never", [record(OK), record(RUNS)], "Running", id="one still runs"),
    pytest.param("OnFailure", [record(BAD)], "Running", id="failure is retried"),
    pytest.param("OnFailure", [record(OK)], "Succeeded", id="success is not"),
    pytest.param(
        "Never",
        [record(OK), record(RUNS, Role.SIDECAR)],
        "Succeeded",
        id="the proxy does not count",
    ),
    pytest.param(
        "Never", [record(BAD, Role.INIT), record(NEW)], "Failed", id="init failed for good"
    ),
    pytest.param("Always", [record(BAD, Role.INIT), record(NEW)], "Pending", id="init is retried"),
    pytest.param("Always", [record(OK, Role.INIT), record(RUNS)], "Running", id="init is over"),
]


@pytest.mark.parametrize(("policy", "records", "phase"), PHASES)
def test_the_phase_of_a_pod(policy: str, records: list[Record], phase: str) -> None:
    assert phase_of(pod(restartPolicy=policy), records) == phase


@pytest.mark.parametrize(
    ("policy", "role", "how", "expected"),
    [
        ("Always", Role.APP, OK, True),
        ("OnFailure", Role.APP, OK, False),
        ("OnFailure", Role.APP, BAD, True),
        ("Never", Role.APP, BAD, False),
        ("Never", Role.SIDECAR, BAD, True),
        ("Always", Role.INIT, OK, False),
        ("Never", Role.INIT, BAD, False),
    ],
)
def test_who_is_restarted(policy: str, role: Role, how: Terminated, *, expected: bool) -> None:
    assert restarts(policy, role, how) is expected


def test_back_off_doubles_and_is_forgiven_after_ten_minutes() -> None:
    one = record(RUNS)
    waits = []
    for _ in range(8):
        one.end(Terminated(1, "Error", started_at=0.0, finished_at=1.0), now=0.0)
        waits.append(one.retry_at)
    one.end(Terminated(1, "Error", started_at=0.0, finished_at=600.0), now=0.0)

    assert waits == [0, 10, 20, 40, 80, 160, 300, 300]
    assert one.retry_at == 0


def test_addresses_are_not_reused_while_held_and_late_afterwards() -> None:
    addresses = PodAddresses()

    assert [addresses.allocate(uid) for uid in "abc"] == ["10.244.0.2", "10.244.0.3", "10.244.0.4"]
    addresses.release("b")
    assert addresses.allocate("d") == "10.244.0.5"
    assert not addresses.reserve("e", "10.244.0.5")
    assert addresses.reserve("e", "10.244.255.254")
    assert addresses.allocate("f") == "10.244.0.3"


def state(identifier: str, *, running: bool = True) -> ContainerState:
    return ContainerState(id=identifier, running=running, started_at=1.0, exit_code=None)


def test_recollection_prefers_what_the_shim_knows() -> None:
    stored = pod()
    stored["status"] = {"containerStatuses": [{"name": "app", "restartCount": 1, "ready": True}]}

    [found] = recollect(stored, [state("u/app/1", running=False), state("u/app/2")])

    assert (found.attempt, found.is_running, found.ready) == (2, True, True)


def test_what_ran_before_the_shim_died_is_lost_and_counts_as_a_restart() -> None:
    stored = pod()
    running = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
    stored["status"] = {"containerStatuses": [{"name": "app", "restartCount": 3, "state": running}]}

    [found] = recollect(stored, [])

    assert found.attempt == 3
    assert isinstance(found.state, Terminated)
    assert found.state.reason == "ContainerStatusUnknown"


def test_init_containers_of_a_pod_that_got_past_them_do_not_run_again() -> None:
    stored = pod(initContainers=[{"name": "init"}])

    init, _ = recollect(stored, [state("u/app/0")])

    assert init.succeeded


@pytest.mark.parametrize(
    ("resources", "qos"),
    [
        ({}, "BestEffort"),
        ({"requests": {"cpu": "1"}}, "Burstable"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}}, "Guaranteed"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}, "Burstable"),
    ],
)
def test_quality_of_service(resources: dict[str, Any], qos: str) -> None:
    assert qos_class(pod(containers=[{"name": "app", "resources": resources}])) == qos


def test_a_named_port_is_looked_up_in_the_container() -> None:
    container = {"name": "app", "ports": [{"name": "http", "containerPort": 8080}]}

    assert port_number("http", container) == 8080
    assert port_number("9090", container) == 9090
    with pytest.raises(Rejected, match="'grpc'"):
        port_number("grpc", container)


def place(**spec: Any) -> Place:
    layout = Layout("t", Path("/s"), Path("/r"))
    settings = NodeSettings(layout=layout, python="python3", path="/bin")
    return Place(
        settings=settings,
        pod=pod(**spec),
        ip="10.244.0.9",
        netns="",
        lookup=lambda *_: None,
        catalogue={},
    )


def test_names_resolve_in_the_cluster_first() -> None:
    assert resolv_conf(place()) == (
        "nameserver 10.96.0.10\n"
        "search shop.svc.cluster.local svc.cluster.local cluster.local\n"
        "options ndots:5\n"
    )


def test_dns_none_is_only_what_the_pod_says() -> None:
    config = {"nameservers": ["1.1.1.1"], "options": [{"name": "rotate"}]}

    text = resolv_conf(place(dnsPolicy="None", dnsConfig=config))

    assert text == "nameserver 1.1.1.1\noptions rotate\n"


def test_a_pod_knows_its_names_and_aliases() -> None:
    aliases = [{"ip": "1.2.3.4", "hostnames": ["old", "older"]}]

    text = hosts_file(place(hostname="db", subdomain="data", hostAliases=aliases))

    assert "10.244.0.9\tdb.data.shop.svc.cluster.local db\n" in text
    assert text.endswith("1.2.3.4\told older\n")
