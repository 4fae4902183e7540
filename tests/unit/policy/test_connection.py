"""Calls from end to end: to addresses, to oneself, to what is not there, and who is to blame."""

# ruff: noqa: E501 - tables

from typing import Any

import pytest

from mutua.api.object import (
    DESTINATION_RULES,
    ENDPOINT_SLICES,
    PEER_AUTHENTICATIONS,
    PODS,
    SERVICES,
    Object,
)
from mutua.model.build import build_snapshot
from mutua.model.settings import MeshSettings
from mutua.model.snapshot import MeshSnapshot
from mutua.policy.connection import Verdict, judge, judge_address
from mutua.policy.inbound import Content, Outcome
from mutua.policy.outbound import Destination, Sends, Why, expected_identities
from mutua.testing.mesh import destination_rule, endpoint_slice, peer_authentication, pod, service

CLIENT, WEB = "10.0.0.1", "10.0.0.2"
REGISTRY_ONLY = MeshSettings(allow_any_outbound=False)
PORTS = (
    {"name": "http", "port": 8080},
    {"name": "tcp", "port": 8081},
    {"name": "any", "port": 8082},
    {"name": "smtp", "port": 8083, "appProtocol": "tcp"},
)


def mesh(
    *others: Object,
    address: str = "10.96.0.9",
    exported: str = "*",
    meshed: bool = True,
    settings: MeshSettings | None = None,
) -> MeshSnapshot:
    """Return a client in `a` and a Service with one pod in `b`."""
    web = pod("b", "web", WEB, meshed=meshed)
    owner = service("b", "web", *PORTS, address=address)
    owner["metadata"]["annotations"] = {"networking.istio.io/exportTo": exported}
    kinds = {"PeerAuthentication": PEER_AUTHENTICATIONS, "DestinationRule": DESTINATION_RULES}
    objects: dict[Any, list[Object]] = {
        PODS: [pod("a", "client", CLIENT), web],
        SERVICES: [owner],
        ENDPOINT_SLICES: [endpoint_slice(owner, [web])],
    }
    for one in others:
        objects.setdefault(kinds[one["kind"]], []).append(one)
    return build_snapshot(objects, settings)


def call(
    snapshot: MeshSnapshot,
    port: int,
    content: Content | None = None,
    *,
    client: str = "a-client",
    subset: str = "",
) -> Verdict:
    (called,) = snapshot.services
    (to,) = (
        Destination(service=called, port=one, endpoint=endpoint, subset=subset)
        for one in called.ports
        for endpoint in snapshot.endpoints[called.id][one.number]
        if one.number == port
    )
    return judge(snapshot, snapshot.workloads[client], to, content)


def call_address(snapshot: MeshSnapshot, address: str, port: int) -> Verdict:
    return judge_address(snapshot, snapshot.workloads["a-client"], address, port)


STRICT, OFF = peer_authentication("b", "STRICT"), peer_authentication("b", "DISABLE")
FIRST, LATER = Content.CLIENT_FIRST, Content.SERVER_FIRST
PLAIN, MTLS, NOTHING = Sends.PLAINTEXT, Sends.ISTIO_MUTUAL, Sends.NOTHING
OK, TCP, CLOSED = Outcome.OK_HTTP, Outcome.OK_TCP, Outcome.CLOSED

# fmt: off
ADDRESSES = [
    #            mesh                                     address  port  sends    why                  outcome
    pytest.param(mesh(),                                  WEB,     8080, PLAIN,   Why.UNKNOWN_ADDRESS, OK,      id="23 a pod's address: passed through"),
    pytest.param(mesh(STRICT),                            WEB,     8080, PLAIN,   Why.UNKNOWN_ADDRESS, CLOSED,  id="23 which STRICT refuses"),
    pytest.param(mesh(STRICT, meshed=False),              WEB,     8080, PLAIN,   Why.UNKNOWN_ADDRESS, OK,      id="a pod without sidecar takes anything"),
    pytest.param(mesh(settings=REGISTRY_ONLY),            WEB,     8080, NOTHING, Why.UNKNOWN_ADDRESS, Outcome.NOTHING_SENT, id="unless only Services may be called"),
    pytest.param(mesh(STRICT, address="None"),            WEB,     8081, MTLS,    Why.ALL_SIDECARS,    TCP,     id="a headless Service's TCP port is recognised"),
    pytest.param(mesh(STRICT, address="None"),            WEB,     8082, MTLS,    Why.ALL_SIDECARS,    OK,      id="and one without protocol"),
    pytest.param(mesh(STRICT, address="None"),            WEB,     8080, PLAIN,   Why.UNKNOWN_ADDRESS, CLOSED,  id="but on an HTTP port the name decides"),
    pytest.param(mesh(STRICT, address="None", exported="."), WEB,  8081, PLAIN,   Why.UNKNOWN_ADDRESS, CLOSED,  id="nor is one that the client does not see"),
    pytest.param(mesh(peer_authentication("a", "STRICT")), CLIENT, 8080, PLAIN,   Why.OWN_ADDRESS,     OK,      id="a pod's own address passes no proxy"),
]
# fmt: on


@pytest.mark.parametrize(("snapshot", "address", "port", "sends", "why", "outcome"), ADDRESSES)
def test_calls_to_addresses(
    snapshot: MeshSnapshot, address: str, port: int, sends: Sends, why: Why, outcome: Outcome
) -> None:
    verdict = call_address(snapshot, address, port)

    assert (verdict.sent.sends, verdict.sent.why) == (sends, why)
    assert verdict.outcome is outcome


# fmt: off
SERVICES_CALLED = [
    #            mesh                                        port  content  outcome
    pytest.param(mesh(),                                     8080, LATER,   Outcome.HANG, id="the client's proxy waits for HTTP"),
    pytest.param(mesh(OFF),                                  8082, LATER,   Outcome.HANG, id="or for anything, to see what it is"),
    pytest.param(mesh(STRICT),                               8083, LATER,   TCP,          id="not on a TCP port"),
    pytest.param(mesh(),                                     8080, FIRST,   Outcome.PROTOCOL_ERROR, id="no HTTP on an HTTP port"),
    pytest.param(mesh(STRICT),                               8080, FIRST,   CLOSED,       id="is passed on in plaintext"),
    pytest.param(mesh(settings=REGISTRY_ONLY),               8080, FIRST,   Outcome.NOTHING_SENT, id="or not at all"),
    pytest.param(mesh(STRICT),                               8081, Content.TLS, TCP,      id="TLS inside of mTLS"),
    pytest.param(mesh(OFF),                                  8081, Content.TLS, Outcome.FORWARDED_TO_APP, id="TLS of the application"),
    pytest.param(mesh(STRICT, exported="."),                 8082, None,    CLOSED,       id="a Service not exported is an unknown address"),
    pytest.param(mesh(exported=".", settings=REGISTRY_ONLY), 8082, None,    Outcome.NOTHING_SENT, id="refused where those are"),
    pytest.param(mesh(exported="."),                         8082, LATER,   TCP,          id="whose proxy looks first, for a while"),
    pytest.param(mesh(STRICT, exported="."),                 8082, LATER,   CLOSED,       id="and wants TLS in the end"),
    pytest.param(mesh(OFF, exported="."),                    8081, LATER,   TCP,          id="unless it does not"),
]
# fmt: on


@pytest.mark.parametrize(("snapshot", "port", "content", "outcome"), SERVICES_CALLED)
def test_calls_to_services(
    snapshot: MeshSnapshot, port: int, content: Content | None, outcome: Outcome
) -> None:
    assert call(snapshot, port, content).outcome is outcome


QUICK = MeshSettings(detection_timeout=0.25)
HANG = Outcome.HANG

# fmt: off
WAITING = [
    #            mesh                                     port  outcome  wait
    pytest.param(mesh(settings=QUICK),                    8083, TCP,     0.0,   id="mTLS on a TCP port: nobody looks"),
    pytest.param(mesh(meshed=False),                      8083, TCP,     0.0,   id="nor at a server without a proxy"),
    pytest.param(mesh(exported="."),                      8083, TCP,     5.0,   id="plaintext: the server's proxy gives up by itself"),
    pytest.param(mesh(exported=".", settings=QUICK),      8083, TCP,     0.25,  id="or when the mesh says so"),
    pytest.param(mesh(OFF, exported="."),                 8082, TCP,     5.0,   id="DISABLE on a port without protocol: it looks for HTTP"),
    pytest.param(mesh(STRICT, exported="."),              8083, CLOSED,  5.0,   id="STRICT: it was no TLS"),
    pytest.param(mesh(),                                  8082, HANG,    0.0,   id="the client's proxy waits for ever"),
    pytest.param(mesh(settings=QUICK),                    8082, TCP,     0.25,  id="or until it gives up, and mTLS follows at once"),
    pytest.param(mesh(OFF, settings=QUICK),               8082, TCP,     0.5,   id="or plaintext, and the server's proxy waits as well"),
    pytest.param(mesh(settings=QUICK),                    8080, HANG,    0.5,   id="on an HTTP port the server's proxy wants a request"),
    pytest.param(mesh(STRICT, settings=QUICK),            8080, CLOSED,  0.5,   id="unless it wants TLS: what is no HTTP is passed on as it is"),
    pytest.param(mesh(meshed=False, settings=QUICK),      8080, TCP,     0.25,  id="and without a server's proxy nobody minds"),
]
# fmt: on


@pytest.mark.parametrize(("snapshot", "port", "outcome", "wait"), WAITING)
def test_who_waits_for_the_server_waits_until_proxies_give_up(
    snapshot: MeshSnapshot, port: int, outcome: Outcome, wait: float
) -> None:
    verdict = call(snapshot, port, LATER)

    assert (verdict.outcome, verdict.wait) == (outcome, wait)
    assert ("of waiting for the client to speak" in verdict.explain()) is bool(wait)


def test_a_pod_may_call_itself_through_its_service() -> None:
    verdict = call(mesh(STRICT), 8080, client="b-web")

    assert (verdict.sent.sends, verdict.outcome) == (Sends.ISTIO_MUTUAL, Outcome.OK_HTTP)


def test_a_pods_call_to_itself_through_a_headless_service_passes_no_proxy() -> None:
    verdict = call(mesh(STRICT, address="None"), 8081, client="b-web")

    assert (verdict.sent.why, verdict.works) == (Why.OWN_ADDRESS, True)


def test_a_subset_that_nobody_defines_gets_nothing() -> None:
    verdict = call(mesh(destination_rule("b", "web", {"tls": {}})), 8080, subset="v1")

    assert (verdict.sent.why, verdict.outcome) == (Why.NO_SUBSET, Outcome.NOTHING_SENT)


def test_a_server_must_be_one_of_those_that_a_rule_names() -> None:
    tls = {"mode": "ISTIO_MUTUAL", "subjectAltNames": ["spiffe://cluster.local/ns/b/sa/other"]}

    verdict = call(mesh(destination_rule("b", "web", {"tls": tls})), 8080)

    assert (verdict.outcome, verdict.works) == (Outcome.HANDSHAKE_FAILS, False)


def test_a_verdict_names_both_ends_and_the_policy_to_edit() -> None:
    verdict = call(mesh(STRICT, destination_rule("b", "web", {"tls": {}})), 8080)

    assert verdict.explain() == (
        "the client sends plaintext (DestinationRule b/rule says DISABLE in trafficPolicy), the "
        "server's mode is STRICT (PeerAuthentication b/default): the server's proxy closes the "
        "connection"
    )
    assert verdict.culprit == "DestinationRule b/rule"


# fmt: off
CULPRITS = [
    pytest.param(call(mesh(), 8080),                         "",                              id="nobody, when it works"),
    pytest.param(call_address(mesh(STRICT), WEB, 8080),      "PeerAuthentication b/default",  id="the server's policy"),
    pytest.param(call(mesh(STRICT), 8080, LATER),            "",                              id="no policy makes a proxy wait"),
    pytest.param(call(mesh(exported=".", settings=REGISTRY_ONLY), 8080), "",                  id="no policy hides a Service"),
]
# fmt: on


@pytest.mark.parametrize(("verdict", "expected"), CULPRITS)
def test_who_is_to_blame(verdict: Verdict, expected: str) -> None:
    assert verdict.culprit == expected


def test_identities_are_expected_under_every_trust_domain() -> None:
    snapshot = mesh(settings=MeshSettings(trust_domain="new", trust_domain_aliases=("old",)))

    assert expected_identities(snapshot, snapshot.services[0]) == (
        "spiffe://new/ns/b/sa/web",
        "spiffe://old/ns/b/sa/web",
    )
