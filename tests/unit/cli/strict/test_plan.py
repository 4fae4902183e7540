"""Who would be refused, who would not, and why: plans of meshes on paper."""

from datetime import timedelta
from typing import Any

import pytest

from mutua.api.object import PLAINTEXT_CALLERS, Object
from mutua.cli.duration import parse_duration
from mutua.cli.strict import show
from mutua.cli.strict.judge import State
from mutua.cli.strict.survey import READ, Plan, Survey, Verdict
from mutua.cli.strict.target import scopes, title
from mutua.controlplane.ledger.cause import Finding, Reason
from mutua.controlplane.ledger.ledger import Entry, Key
from mutua.controlplane.ledger.party import ADDRESS, Party
from mutua.controlplane.ledger.record import to_object
from mutua.controlplane.ledger.watch import Watched, resumed
from mutua.controlplane.strict.change import Scope
from mutua.foundation.errors import Rejected
from mutua.testing.clock import START
from mutua.testing.mesh import (
    by_resource,
    deployment,
    destination_rule,
    endpoint_slice,
    namespace,
    peer_authentication,
    pod,
    service,
)

NOW = START + timedelta(hours=1)
HTTP = {"name": "http", "port": 80, "targetPort": 8080}
SHOP = Scope(namespace="shop")
OFF = {"tls": {"mode": "DISABLE"}}
RULE = Finding(
    reason=Reason.DESTINATION_RULE, message="…", object="DestinationRule shop/rule", detail="RULE"
)
DIALLED = Finding(reason=Reason.POD_ADDRESS, message="…")
BARE = Finding(reason=Reason.NO_SIDECAR, message="…")
CLIENTS = Party("Deployment", "shop", "client")


def of(name: str, number: str = "x", *, at: str = "shop", **more: Any) -> Object:
    """Return a pod of a Deployment."""
    made = pod(at, f"{name}-5d4c-{number}", **more)
    made["metadata"]["labels"] |= {"app": name, "pod-template-hash": "5d4c"}
    made["metadata"]["ownerReferences"] = [
        {"kind": "ReplicaSet", "name": f"{name}-5d4c", "controller": True}
    ]
    return made


WEB = of("web", address="10.244.0.2")
SERVICE = service("shop", "web", HTTP)
SERVED = (
    namespace("shop"), deployment("shop", "web"), WEB, SERVICE, endpoint_slice(SERVICE, [WEB])
)  # fmt: skip


def seen(
    finding: Finding = BARE,
    *,
    caller: Party = CLIENTS,
    pods: tuple[str, ...] = ("shop-client-5d4c-x",),
    port: int = 8080,
    ago: timedelta = timedelta(minutes=1),
    **more: Any,
) -> Entry:
    key = Key(Party("Deployment", "shop", "web"), port, caller)
    entry = Entry(key=key, first_seen=START, last_seen=NOW - ago, count=1, pods=pods, **more)
    entry.finding = finding
    return entry


def survey(*objects: Object, ledger: tuple[Entry, ...] = (), **more: Any) -> Survey:
    known = {resource: [] for resource in READ} | by_resource(*SERVED, *objects)
    return Survey(known | {PLAINTEXT_CALLERS: [to_object(one) for one in ledger]}, NOW, **more)


def plan(*objects: Object, ledger: tuple[Entry, ...] = (), **more: Any) -> Plan:
    return survey(*objects, ledger=ledger, **more).plan([SHOP])


CLIENT = of("client", address="10.244.0.7")
PLAIN = of("client", address="10.244.0.7", meshed=False)
OTHER = of("client", "y", address="10.244.0.8")
JOB = Party("Job", "shop", "nightly")

STATES: dict[str, tuple[tuple[Object, ...], Entry, State]] = {
    # what is there now, what was seen, what would become of it
    "a pod without sidecar is still there": ((PLAIN,), seen(), State.BLOCKS),
    "its Deployment is still there, without pods": (
        (deployment("shop", "client"),), seen(), State.BLOCKS,
    ),
    "its Deployment and pods are gone": ((), seen(), State.GONE),
    "nobody knows whether a job will come again": ((), seen(caller=JOB), State.BLOCKS),
    "its pods have a sidecar by now": ((OTHER,), seen(), State.FIXED),
    "the rule is still there": (
        (CLIENT, destination_rule("shop", "web", OFF)), seen(RULE), State.BLOCKS,
    ),
    "the rule is gone": ((CLIENT,), seen(RULE), State.FIXED),
    "another rule has come": (
        (CLIENT, destination_rule("shop", "web", OFF)), seen(BARE), State.BLOCKS,
    ),
    "a pod that dialled addresses is still there": ((CLIENT,), seen(DIALLED), State.BLOCKS),
    "a pod that dialled addresses was replaced": ((OTHER,), seen(DIALLED), State.FIXED),
    "an address that is no pod": (
        (), seen(caller=Party(ADDRESS, "", "10.0.0.1"), pods=()), State.BLOCKS,
    ),
    "the server disabled it, until it is STRICT": (
        (CLIENT, peer_authentication("shop", "DISABLE")),
        seen(Finding(reason=Reason.MODE_DISABLED, message="…")),
        State.FOLLOWS,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", STATES)
def test_what_would_become_of_a_caller(case: str) -> None:
    objects, entry, state = STATES[case]

    [port] = [one for one in plan(*objects, ledger=(entry,)).ports if one.number == 8080]

    [found] = port.callers
    assert found.state is state
    assert port.verdict is (Verdict.NOT_READY if state is State.BLOCKS else Verdict.READY)
    assert bool(found.remedy) is (state is State.BLOCKS)


def test_callers_that_are_silent_for_long_can_be_left_out() -> None:
    old = seen(ago=timedelta(minutes=30))

    assert not plan(PLAIN, ledger=(old,)).is_ready
    assert plan(PLAIN, ledger=(old,), patience=timedelta(minutes=10)).is_ready
    assert not plan(PLAIN, ledger=(old,), patience=timedelta(minutes=40)).is_ready


def test_a_port_that_a_workload_policy_excepts_blocks_nobody() -> None:
    exception = peer_authentication(
        "shop",
        "UNSET",
        name="exception",
        selector={"matchLabels": {"app": "web"}},
        portLevelMtls={"8080": {"mode": "PERMISSIVE"}},
    )

    found = plan(PLAIN, exception, ledger=(seen(), seen(port=9000)))

    verdicts = {one.number: one.verdict for one in found.ports if one.server.name == "web"}
    assert verdicts == {8080: Verdict.KEPT, 9000: Verdict.NOT_READY}
    assert [one.entry.key.port for one in found.blockers] == [9000]


def test_what_is_strict_already_blocks_nothing_but_says_who_is_refused() -> None:
    entry = seen(refused=3, last_refused=NOW)

    found = plan(PLAIN, peer_authentication("shop", "STRICT"), ledger=(entry,))

    assert found.is_ready
    assert not found.changes
    assert [one.entry.refused for one in found.refused] == [3]
    assert "1 caller already refused" in show.verdict(found)


def test_a_workload_wave_that_touches_others_plans_for_them_too() -> None:
    """Its policy selects two workloads; changing it refuses callers of both."""
    api = of("api", address="10.244.0.9", labels={"team": "blue"})
    api["metadata"]["labels"]["team"] = "blue"
    web = of("web", address="10.244.0.2")
    web["metadata"]["labels"]["team"] = "blue"
    shared = peer_authentication(
        "shop", "PERMISSIVE", name="team", selector={"matchLabels": {"team": "blue"}}
    )
    known = {resource: [] for resource in READ} | by_resource(
        namespace("shop"), deployment("shop", "api"), deployment("shop", "web"), api, web,
        PLAIN, shared,
    )  # fmt: skip
    whole = Survey(known | {PLAINTEXT_CALLERS: [to_object(seen())]}, NOW)

    [scope] = scopes(whole, namespace="shop", workload="deploy/api", root_namespace="istio-system")
    found = whole.plan([scope])

    assert {one.server.name for one in found.ports} == {"api", "web"}
    assert not found.is_ready


def test_ports_and_workloads_that_no_policy_reaches_are_named() -> None:
    web = of("web", address="10.244.0.2")
    web["metadata"]["annotations"] = {"traffic.sidecar.istio.io/excludeInboundPorts": "9090"}
    known = {resource: [] for resource in READ} | by_resource(namespace("shop"), web, PLAIN)

    found = Survey(known, NOW).plan([SHOP])

    assert [(party.name, port) for party, port in found.unprotected] == [("web", 9090)]
    assert [party.name for party in found.outside] == ["client"]
    told = "\n".join(show.notes(found, None, NOW))
    assert "9090" in told
    assert "deploy/client.shop has no sidecar" in told


def test_waves_are_namespaces_or_workloads_and_never_the_whole_mesh_by_accident() -> None:
    gate = of("gate", at="istio-system", address="10.244.0.20")
    whole = survey(CLIENT, gate, namespace("istio-system"))
    root = "istio-system"

    def titles(**how: Any) -> list[str]:
        found = scopes(whole, **{"namespace": "", "root_namespace": root} | how)
        return [title(one, root) for one in found]

    assert titles() == ["namespace shop"]
    assert titles(by_workload=True) == ["workload client.shop", "workload web.shop"]
    assert titles(namespace="istio-system") == ["the whole mesh"]
    assert titles(workload="deploy/web.shop") == ["workload web.shop"]
    assert titles(workload="web", namespace="shop") == ["workload web.shop"]
    for unknown in ("deploy/nobody.shop", "sts/web.shop"):
        with pytest.raises(Rejected, match="no workload"):
            titles(workload=unknown)
    for how in ({"namespace": "shpo"}, {"workload": "web.shpo"}, {"workload": "web"}):
        with pytest.raises(Rejected, match=r"namespaces .* not found"):
            titles(**how)


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("10m", 600), ("24h", 86400), ("7d", 604800)]
)
def test_durations(text: str, seconds: int) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "5", "s", "-1s", "1.5h", "1w", "9" * 20 + "s", "\u0661s"])
def test_no_durations(text: str) -> None:
    with pytest.raises(Rejected):
        parse_duration(text)


def test_gaps_in_the_watch_are_added_up_and_short_ones_forgiven() -> None:
    minute = timedelta(minutes=1)
    first = resumed(None, START)
    again = resumed(Watched(START, START + minute), START + 3 * minute)
    short = resumed(again, again.until + timedelta(seconds=1))

    assert (first.since, first.missed) == (START, timedelta())
    assert (again.since, again.missed) == (START, 2 * minute)
    assert short.gaps == again.gaps
    assert "but not for 2m in between" in "\n".join(show.notes(Plan(ports=()), again, again.until))


def test_a_document_has_what_the_table_has() -> None:
    found = plan(PLAIN, ledger=(seen(),))

    document = show.document(found, Watched(START, NOW))

    assert document["verdict"] == "NOT READY"
    [port] = [one for one in document["ports"] if one["port"] == 8080]
    [caller] = port["callers"]
    assert (caller["name"], caller["state"], caller["reason"]) == ("client", "blocks", "NoSidecar")
    [row] = show.caller_rows(found, NOW, wide=True)
    assert row[:7] == (
        "deploy/web.shop", "8080", "deploy/client.shop", "blocks", "NoSidecar", "1", "60s",
    )  # fmt: skip
    assert len(row) == len(show.caller_header(wide=True))
