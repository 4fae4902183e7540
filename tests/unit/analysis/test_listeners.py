"""Which servers listen where their sidecar does not reach them?"""

import socket
from contextlib import closing
from pathlib import Path

import pytest

from mutua.analysis.analyze import analyze
from mutua.analysis.listeners import analyzer, exposed_pods, listening
from mutua.analysis.mesh import Mesh
from mutua.model.settings import MeshSettings
from mutua.testing.mesh import by_resource, deployment, namespace, pod, service

SHOP = namespace("shop")
WEB = pod("shop", "web", "10.0.0.1", containers=[{"name": "app"}])
PLAIN = pod("shop", "web", "10.0.0.1", meshed=False)
SERVICE = service("shop", "web", {"name": "http", "port": 80, "targetPort": 8080})

HEADER = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid"


def table(*bound: str, state: str = "0A") -> str:
    rows = [
        f"   {n}: {one} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000  1000"
        for n, one in enumerate(bound)
    ]
    return "\n".join([HEADER, *rows, ""])


LOOPBACK = "0100007F:1F90"
EVERYWHERE = "00000000:1F90"
LOOPBACK_6 = "00000000000000000000000001000000:1F90"
MAPPED_LOOPBACK = "0000000000000000FFFF00000100007F:1F90"
EVERYWHERE_6 = "00000000000000000000000000000000:1F90"


def said(text: str, *objects) -> list[str]:
    mesh = Mesh(by_resource(SHOP, SERVICE, *(objects or (WEB,))))
    return [one.text for one in analyze(mesh, [analyzer({"shop-web": text})])]


@pytest.mark.parametrize(
    ("bound", "where"),
    [(LOOPBACK, "127.0.0.1"), (LOOPBACK_6, "::1"), (MAPPED_LOOPBACK, "127.0.0.1")],
)
def test_a_server_on_loopback_is_named(bound, where) -> None:
    (text,) = said(table(bound))

    assert text == (
        f"port 8080 of Service web is listened on at {where} only, where the sidecar does not "
        "reach it: listen on 0.0.0.0"
    )


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing is known"),
        pytest.param(table(), id="nothing listens"),
        pytest.param(table(EVERYWHERE), id="everywhere"),
        pytest.param(table(EVERYWHERE_6), id="everywhere, IPv6"),
        pytest.param(table("0100000A:1F90"), id="the pod's address"),
        pytest.param(table(LOOPBACK, EVERYWHERE), id="on loopback too"),
        pytest.param(table("0100007F:3A98"), id="a port that no Service leads to"),
        pytest.param(table(LOOPBACK, state="01"), id="a connection, not a server"),
    ],
)
def test_others_are_not(text) -> None:
    assert said(text) == []


def test_the_kernel_writes_what_is_read_here() -> None:
    with (
        closing(socket.create_server(("127.0.0.1", 0))) as near,
        closing(socket.create_server(("0.0.0.0", 0))) as far,
    ):
        found = listening(Path("/proc/net/tcp").read_text())

        assert found[near.getsockname()[1]] == {"127.0.0.1"}
        assert found[far.getsockname()[1]] == {"0.0.0.0"}


def test_one_running_pod_of_each_workload_with_sidecar_and_service_is_asked() -> None:
    alone = pod("shop", "job", "10.0.0.2")
    mesh = Mesh(by_resource(SHOP, SERVICE, WEB, alone, deployment("shop", "cart")))

    assert [one["metadata"]["name"] for one in exposed_pods(mesh)] == ["web"]
    assert list(exposed_pods(Mesh(by_resource(SHOP, SERVICE, PLAIN)))) == []


def test_nobody_is_asked_where_proxies_hand_connections_to_loopback() -> None:
    mesh = Mesh(by_resource(SHOP, SERVICE, WEB), MeshSettings(inbound_to_localhost=True))

    assert list(exposed_pods(mesh)) == []
