"""From ServiceEntries to Services and who serves them."""

from collections.abc import Mapping
from typing import Any

import pytest

from mutua.api.object import PODS, SERVICE_ENTRIES, SERVICES, Object
from mutua.api.service_entry import Resolution
from mutua.model.build import build_snapshot
from mutua.model.service import Protocol, ServiceName
from mutua.model.snapshot import MeshSnapshot
from mutua.model.workload import Endpoint, InboundPort
from mutua.testing.mesh import pod, service, service_entry

API = ServiceName("shop", "api.com")
HTTP = {"number": 80, "name": "http", "protocol": "HTTP", "targetPort": 8080}
TCP = {"number": 90, "name": "tcp", "protocol": "TCP"}
ISTIO = {"security.istio.io/tlsMode": "istio"}


def snapshot(*entries: Object, pods: tuple[Object, ...] = (), **other: Any) -> MeshSnapshot:
    return build_snapshot({SERVICE_ENTRIES: entries, PODS: pods, **other})


def entry(*hosts: str, given: Mapping[str, str] | None = None, **spec: Any) -> Object:
    made = service_entry(
        "shop", "api.com", **{"ports": [HTTP], "hosts": list(hosts or ["api.com"])} | spec
    )
    addresses = [{"host": host, "value": value} for host, value in (given or {}).items()]
    return {**made, "status": {"addresses": addresses}}


def static(*places: Object, **spec: Any) -> Object:
    return entry(resolution="STATIC", endpoints=list(places), **spec)


def places(mesh: MeshSnapshot, port: int = 80) -> list[tuple[str, int]]:
    return [(one.address, one.port) for one in mesh.endpoints[API][port]]


def test_every_host_is_a_service_with_its_own_address() -> None:
    given = {"api.com": "240.240.0.1", "b.com": "240.240.0.2"}
    one = entry("API.com", "b.com", given=given, exportTo=["."], subjectAltNames=["spiffe://a"])

    first, second = snapshot(one).services

    assert (first.id, first.hostname, first.addresses) == (API, "api.com", ("240.240.0.1",))
    assert (second.hostname, second.addresses) == ("b.com", ("240.240.0.2",))
    assert (first.is_entry, first.is_external, first.headless) == (True, True, False)
    assert (first.export_to, first.identities) == ((".",), ("spiffe://a",))
    assert first.resolution is Resolution.NONE


def test_addresses_of_the_author_come_before_allocated_ones() -> None:
    written = ["10.0.0.7/24", "10.1.0.1/32", "10.2.0.1", "fd00::1", "fd00::/64"]
    one = entry(addresses=written, given={"api.com": "240.240.0.1"})

    assert snapshot(one).services[0].addresses == ("10.0.0.0/24", "10.1.0.1", "10.2.0.1")


@pytest.mark.parametrize(
    ("written", "number", "protocol"),
    [
        ("http", 80, Protocol.HTTP),
        ("GRPC-Web", 80, Protocol.GRPC_WEB),
        ("MONGO", 80, Protocol.MONGO),
        ("TLS", 443, Protocol.TLS),
        ("", 80, Protocol.AUTO),
        ("", 3306, Protocol.TCP),
    ],
)
def test_what_a_port_speaks(written: str, number: int, protocol: Protocol) -> None:
    one = entry(ports=[{"number": number, "name": "p", "protocol": written}])

    [port] = snapshot(one).services[0].ports

    assert (port.number, port.protocol) == (number, protocol)


def test_ports_for_udp_are_left_out() -> None:
    udp = {"number": 53, "name": "dns", "protocol": "UDP"}

    assert [port.number for port in snapshot(entry(ports=[udp, HTTP])).services[0].ports] == [80]


def test_endpoints_are_those_written_down() -> None:
    mesh = snapshot(
        static(
            {"address": "10.0.0.2"},
            {"address": "10.0.0.1", "ports": {"http": 8081}},
            ports=[HTTP, TCP],
        )
    )

    assert places(mesh) == [("10.0.0.1", 8081), ("10.0.0.2", 8080)]
    assert places(mesh, 90) == [("10.0.0.1", 90), ("10.0.0.2", 90)]


@pytest.mark.parametrize(
    ("place", "accepts", "account"),
    [
        ({}, None, None),
        ({"labels": ISTIO}, True, ""),
        ({"serviceAccount": "api"}, True, "api"),
        ({"serviceAccount": "api", "labels": {"app": "api"}}, True, "api"),
        (
            {"serviceAccount": "api", "labels": {"security.istio.io/tlsMode": "disabled"}},
            False,
            "api",
        ),
        ({"labels": {"app": "api"}}, False, ""),
    ],
)
def test_what_an_entry_says_about_an_endpoint(
    place: Object, accepts: bool | None, account: str | None
) -> None:
    mesh = snapshot(static({"address": "10.0.0.1", **place}))

    workload = mesh.endpoints[API][80][0].workload
    assert (workload and workload.accepts_mutual_tls) == accepts
    assert (workload and workload.service_account) == account


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"resolution": "DNS"}, [("api.com", 8080)]),
        ({"resolution": "DNS_ROUND_ROBIN"}, [("api.com", 8080)]),
        (
            {"resolution": "DNS", "endpoints": [{"address": "b.com"}, {"address": "10.0.0.1"}]},
            [("10.0.0.1", 8080), ("b.com", 8080)],
        ),
        ({"resolution": "NONE"}, []),
        ({"resolution": "STATIC"}, []),
        ({"resolution": "STATIC", "workloadSelector": {}}, []),
    ],
)
def test_where_a_host_is_served(spec: Object, expected: list[tuple[str, int]]) -> None:
    assert places(snapshot(entry(**spec))) == expected


def test_pods_that_an_entry_selects_serve_it_and_expect_it() -> None:
    named = [{"name": "c", "ports": [{"name": "http", "containerPort": 9090}]}]
    one = pod("shop", "one", "10.244.0.2", labels={"app": "api"})
    two = pod("shop", "two", "10.244.0.3", labels={"app": "api"}, containers=named)
    others = (pod("shop", "db", "10.244.0.4"), pod("bank", "api", "10.244.0.5"))
    selecting = entry(
        resolution="STATIC",
        location="MESH_INTERNAL",
        workloadSelector={"labels": {"app": "api"}},
    )

    two["status"]["conditions"] = [{"type": "Ready", "status": "True"}]

    mesh = snapshot(selecting, pods=(one, two, *others))

    assert mesh.endpoints[API][80] == (
        Endpoint("10.244.0.2", 8080, False, mesh.workloads["shop-one"]),
        Endpoint("10.244.0.3", 9090, True, mesh.workloads["shop-two"]),
    )
    assert mesh.inbound_ports["shop-one"] == (InboundPort(8080, Protocol.HTTP),)
    assert mesh.inbound_ports["shop-two"] == (InboundPort(9090, Protocol.HTTP),)
    assert mesh.inbound_ports["bank-api"] == ()


def test_a_host_that_a_kubernetes_service_has_is_not_an_entrys() -> None:
    web = service("shop", "web", {"name": "http", "port": 80})
    one = entry("web.shop.svc.cluster.local", "api.com")

    mesh = build_snapshot({SERVICE_ENTRIES: [one], SERVICES: [web]})

    assert [found.is_entry for found in mesh.services] == [True, False]
    assert mesh.endpoints[ServiceName("shop", "web")] == {80: ()}


def test_of_two_entries_for_one_host_the_older_has_its_ports_and_the_newer_the_rest() -> None:
    old = static({"address": "10.0.0.1"}, name="a", created="2026-01-01T00:00:00Z")
    new = static(
        {"address": "10.0.0.2"}, name="b", ports=[HTTP, TCP], created="2026-01-02T00:00:00Z"
    )

    mesh = snapshot(new, old)

    assert places(mesh) == [("10.0.0.1", 8080)]
    assert places(mesh, 90) == [("10.0.0.2", 90)]


def test_an_entry_of_a_foreign_store_that_is_none_is_left_out() -> None:
    broken = {"metadata": {"namespace": "shop", "name": "x"}, "spec": {"hosts": "api.com"}}

    assert snapshot(broken).services == ()
