"""Who gets connections on ports that HTTP, TLS by name and networks share: with a real Envoy."""

import os
import socket
import threading
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from mutua.model.build import build_snapshot
from mutua.model.settings import MeshSettings
from mutua.model.snapshot import MeshSnapshot
from mutua.model.workload import Workload
from mutua.policy.inbound import Content
from mutua.testing.client_hello import client_hello, read_client_hello
from mutua.testing.generated_meshes import generated_meshes
from mutua.testing.mesh import by_resource, pod, service, service_entry
from mutua.testing.shared_ports import (
    ELSEWHERE,
    HTTP,
    HTTP_PROXY,
    NO_SERVICE,
    OPENED,
    Opened,
    meant,
)
from mutua.xds.compile import compile_proxy

PATIENCE = 20.0
TLS_HANDSHAKE = b"\x16\x03"
QUICK, DEEP = 3, 300
PORTS = (80, 81, 443)
DIRECT_RESPONSE = "type.googleapis.com/envoy.extensions.filters.network.direct_response.v3.Config"


def say(envoy: Any, address: str, port: int, text: bytes) -> bytes:
    """Open a captured connection to an address and return the first bytes of the answer."""
    outbound = envoy.ports["virtualOutbound"]
    with socket.create_connection(("127.0.0.1", outbound), PATIENCE) as connection:
        own = connection.getsockname()[1]
        header = f"PROXY TCP4 127.0.0.1 {address} {own} {port}\r\n".encode()
        connection.sendall(header + text)
        try:
            return connection.recv(4096)
        except ConnectionResetError:
            return b""


@pytest.fixture
def stranger_server() -> Iterator[tuple[int, list[str]]]:
    """Yield the port of a server that is in no mesh, and the server names that it was asked for."""
    names: list[str] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                first = connection.recv(4096)
                if first.startswith(TLS_HANDSHAKE):
                    names.append(read_client_hello(first)[0])
                    connection.sendall(b"it is me")
                elif first:
                    connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield listener.getsockname()[1], names
    listener.shutdown(socket.SHUT_RDWR)
    thread.join()
    listener.close()


@pytest.mark.parametrize("kind", ["HTTP", ""], ids=["HTTP", "detected"])
@pytest.mark.parametrize("allowed", [True, False], ids=["ALLOW_ANY", "REGISTRY_ONLY"])
def test_tls_for_an_unknown_name_is_passed_through_beside_http(
    tmp_path: Path,
    run_envoy: Any,
    issuer: Any,
    stranger_server: tuple[int, list[str]],
    kind: str,
    allowed: bool,
) -> None:
    port, asked_for = stranger_server
    http = {"number": port, "name": "one", **({"protocol": kind} if kind else {})}
    tls = {"number": port, "name": "tls", "protocol": "TLS"}
    mesh = build_snapshot(
        by_resource(
            pod("shop", "client", "127.0.0.1"),
            service_entry("shop", "one.example", http, name="one", resolution="NONE"),
            service_entry("shop", "known.example", tls, name="known", resolution="NONE"),
        ),
        MeshSettings(allow_any_outbound=allowed),
    )
    compiled = compile_proxy(mesh, "shop-client")
    envoy = run_envoy(tmp_path, compiled, issuer.issue("client").secrets())

    hello = client_hello("unknown.example", "h2", "http/1.1")
    answer = say(envoy, "127.0.0.1", port, hello)

    # An AUTO port without address takes everything that is nobody else's.
    is_taken = allowed or not kind
    assert (answer, asked_for) == ((b"it is me", ["unknown.example"]) if is_taken else (b"", []))
    assert say(envoy, "127.0.0.1", port, b"GET / HTTP/1.1\r\nHost: no\r\n\r\n").startswith(
        b"HTTP/1.1"
    )


def test_a_proxy_of_a_client_does_not_take_http_1_0_for_http(
    tmp_path: Path, run_envoy: Any, issuer: Any, stranger_server: tuple[int, list[str]]
) -> None:
    port, _ = stranger_server
    web = service("shop", "web", {"name": "http", "port": port}, address="10.96.0.20")
    mesh = build_snapshot(by_resource(pod("shop", "client", "127.0.0.1"), web))
    envoy = run_envoy(
        tmp_path, compile_proxy(mesh, "shop-client"), issuer.issue("client").secrets()
    )

    # The Service has no endpoints: whoever is taken for its client is answered 503.
    host = b"Host: web.shop.svc.cluster.local\r\n\r\n"
    assert say(envoy, "127.0.0.1", port, b"GET / HTTP/1.1\r\n" + host).startswith(b"HTTP/1.1 503")
    assert say(envoy, "127.0.0.1", port, b"GET / HTTP/1.0\r\n" + host).startswith(b"HTTP/1.1 204")


def test_a_proxy_of_a_server_refuses_http_1_0_on_an_http_port(
    tmp_path: Path, run_envoy: Any, issuer: Any
) -> None:
    web, owner = (
        pod("shop", "web", "127.0.0.1"),
        service("shop", "web", {"name": "http", "port": 80}),
    )
    mesh = build_snapshot(by_resource(web, owner))
    envoy = run_envoy(tmp_path, compile_proxy(mesh, "shop-web"), issuer.issue("web").secrets())

    with socket.create_connection(("127.0.0.1", envoy.ports["virtualInbound"]), PATIENCE) as one:
        own = one.getsockname()[1]
        one.sendall(f"PROXY TCP4 127.0.0.1 127.0.0.1 {own} 80\r\nGET / HTTP/1.0\r\n\r\n".encode())
        assert one.recv(4096).startswith(b"HTTP/1.1 426")


@settings(max_examples=DEEP if "MUTUA_DEEP" in os.environ else QUICK, phases=[Phase.generate])
@given(mesh=generated_meshes(), data=st.data())
def test_envoy_takes_connections_where_they_are_meant_to(
    mesh: MeshSnapshot,
    data: st.DataObject,
    tmp_path_factory: pytest.TempPathFactory,
    envoy_for: Any,
    issuer: Any,
) -> None:
    client = data.draw(
        st.sampled_from([one for one in mesh.workloads.values() if one.accepts_mutual_tls])
    )
    directory = tmp_path_factory.mktemp("client")
    secrets = issuer.issue(client.service_account, namespace=client.namespace).secrets()

    with envoy_for(directory, compile_proxy(mesh, client.uid), secrets, name_chains) as envoy:
        wrong = list(mismatches(envoy, mesh, client))

    assert not wrong, "\n".join(wrong)


def mismatches(envoy: Any, mesh: MeshSnapshot, client: Workload) -> Iterator[str]:
    for port, opened in product(PORTS, OPENED):
        answer = say(envoy, opened.address, port, first_bytes(opened)).decode()
        if answer != (expected := meant(mesh, client, port, opened)):
            yield f"{opened} on port {port}: {answer or 'closed'} instead of {expected}"


def first_bytes(opened: Opened) -> bytes:
    match opened.content:
        case Content.HTTP:
            return b"GET / HTTP/1.1\r\nHost: some.name\r\n\r\n"
        case Content.TLS:
            return client_hello(opened.server_name, "http/1.1")
        case _:
            return b"some text\n"


def name_chains(clusters: list[Any], listeners: list[Any]) -> None:
    """Let every outbound chain answer where it leads instead of going there."""
    for number, cluster in enumerate(clusters):
        name = cluster["name"]
        if name.startswith("outbound|"):  # nobody dials it: there are neither names nor files
            empty = {"cluster_name": name}
            clusters[number] = {"name": name, "type": "STATIC", "load_assignment": empty}
    for listener in listeners:
        if listener["name"] == "virtualInbound":
            continue
        for chain in (*listener.get("filter_chains", ()), listener.get("default_filter_chain")):
            if chain:
                chain["filters"] = [answering(where(chain["filters"][-1]))]


def where(last: dict[str, Any]) -> str:
    if last["name"] == HTTP_PROXY:
        return HTTP
    cluster = str(last["typed_config"]["cluster"])
    return ELSEWHERE if cluster in NO_SERVICE else cluster


def answering(text: str) -> dict[str, Any]:
    config = {"@type": DIRECT_RESPONSE, "response": {"inline_string": text}}
    return {"name": "envoy.filters.network.direct_response", "typed_config": config}
