"""What ports speak, and who waits for whom."""

import pytest

from mutua.analysis.analyze import analyze
from mutua.analysis.mesh import Mesh
from mutua.analysis.ports import server_first
from mutua.model.service import ServicePort, port_protocol
from mutua.model.settings import MeshSettings
from mutua.testing.mesh import by_resource, deployment, namespace, peer_authentication, service

SHOP = namespace("shop")


def port(name: str, number: int, target: int | None = None):
    return {"name": name, "port": number, "targetPort": target or number}


def mesh(*ports, workload=True, extra=(), settings=None):
    owner = [deployment("shop", "db", *(one["targetPort"] for one in ports))] if workload else []
    return Mesh(by_resource(SHOP, service("shop", "db", *ports), *owner, *extra), settings)


def codes(found):
    return [f"{one.code.code} {one.origin}" for one in found]


SPEAKS = [
    # name, number, target -> protocol whose server speaks first
    ("mysql", 3306, 3306, "MySQL"),
    ("tcp-mysql", 33306, 3306, "MySQL"),
    ("db", 3306, 3306, "MySQL"),
    ("smtp", 2525, 2525, "SMTP"),
    ("mail", 25, 2525, "SMTP"),
    ("tcp", 587, 587, "SMTP"),
    ("client", 4222, 4222, "NATS"),
    ("ssh", 2222, 22, "SSH"),
    ("tcp-postgres", 5432, 5432, ""),
    ("mongo", 27017, 27017, ""),
    ("http-smtp", 25, 25, ""),
    ("tls-smtp", 25, 25, ""),
    ("web", 8000, 80, ""),
]


@pytest.mark.parametrize(("name", "number", "target", "expected"), SPEAKS)
def test_which_servers_speak_first(name, number, target, expected) -> None:
    protocol = port_protocol(number, name=name, app_protocol="", transport="TCP")

    found = server_first(ServicePort(number=number, name=name, protocol=protocol, target=target))

    assert found == expected


def test_a_server_first_port_that_proxies_would_guess_is_named_whatever_the_mode() -> None:
    for mode in ("STRICT", "PERMISSIVE", "DISABLE"):
        found = analyze(mesh(port("nats", 4222), extra=[peer_authentication("shop", mode)]))

        assert codes(found) == ["MUT0109 Service shop/db", "IST0118 Service shop/db"]
        assert "NATS servers speak first" in found[0].text
        assert "so connections hang; " in found[0].text
        assert "call the port tcp-nats" in found[0].text


def test_where_proxies_guess_for_a_time_it_is_said_for_how_long() -> None:
    (found, *_) = analyze(mesh(port("nats", 4222), settings=MeshSettings(detection_timeout=1.5)))

    assert "so connections are held up for 1.5 s; " in found.text


@pytest.mark.parametrize(
    ("mode", "expected"),
    [("PERMISSIVE", ["MUT0109 Service shop/db"]), ("STRICT", []), ("DISABLE", [])],
)
def test_a_declared_server_first_port_waits_under_permissive_only(mode, expected) -> None:
    policy = peer_authentication(
        "shop",
        None,
        selector={"matchLabels": {"app": "db"}},
        portLevelMtls={"3306": {"mode": mode}},
    )

    found = analyze(mesh(port("tcp-mysql", 13306, 3306), extra=[policy]))

    assert codes(found) == expected
    if found:
        assert "set STRICT or DISABLE for port 3306 with portLevelMtls" in found[0].text
        assert [str(one) for one in found[0].related] == ["PeerAuthentication shop/default"]


def test_without_a_sidecar_nobody_waits_at_the_server() -> None:
    objects = [namespace("shop", "disabled"), deployment("shop", "db", 3306)]
    served = service("shop", "db", port("tcp-mysql", 3306))

    assert analyze(Mesh(by_resource(served, *objects))) == []


@pytest.mark.parametrize(
    ("name", "number", "protocol", "is_named"),
    [
        ("", 8000, None, True),
        ("web", 8000, None, True),
        ("http", 8000, None, False),
        ("grpc-web", 8000, None, False),
        ("web", 8000, "http", False),
        ("web", 27017, None, False),
    ],
)
def test_a_port_that_does_not_say_its_protocol_is_named(name, number, protocol, is_named) -> None:
    said = {} if protocol is None else {"appProtocol": protocol}

    found = analyze(mesh(port(name, number) | said))

    assert codes(found) == (["IST0118 Service shop/db"] if is_named else [])


def test_services_that_disagree_about_one_port_of_a_workload() -> None:
    second = service("shop", "second", port("tcp", 81, 80), created="2026-02-02T00:00:00Z")
    second["spec"]["selector"] = {"app": "db"}

    found = analyze(mesh(port("http", 80), extra=[second]))

    assert codes(found) == ["IST0116 Deployment shop/db", "IST0137 Deployment shop/db"]
    assert found[0].text == (
        "Service ports db:80 and second:81 lead to port 80 and disagree on its protocol (HTTP, "
        "TCP); HTTP of db:80, the oldest, is what counts"
    )
    assert found[1].text.endswith("lead to port 80 under different numbers")
    assert {str(one) for one in found[0].related} == {"Service shop/db", "Service shop/second"}


def test_services_that_agree_are_not_spoken_about() -> None:
    second = service("shop", "second", port("http", 80))
    second["spec"]["selector"] = {"app": "db"}

    assert analyze(mesh(port("http", 80), port("http-2", 81, 80), extra=[second]))[:1] != []
    assert analyze(mesh(port("http", 80), extra=[second])) == []
