"""Limits and ejection that a DestinationRule asks for, under traffic, in a real Envoy."""

import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from mutua.model.build import build_snapshot
from mutua.testing.mesh import by_resource, destination_rule, endpoint_slice, pod, service
from mutua.testing.running_mesh import eventually
from mutua.xds.compile import compile_proxy
from mutua.xds.resource import ProxyResources

PATIENCE = 20.0
VIP = "10.96.0.20"
HOST = "web.shop.svc.cluster.local"

GOOD, BAD = "127.0.0.1", "127.0.0.2"


class Servers:
    """One server at each address, on one port: they echo text, and answer HTTP by address.

    Attributes:
        port: Theirs.
        requests: How many HTTP requests each was sent.
    """

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()
        first = socket.create_server((GOOD, 0))
        self.port = first.getsockname()[1]
        self._listeners = [first, socket.create_server((BAD, self.port))]
        self._threads = [
            threading.Thread(target=self._serve, args=(one,), daemon=True)
            for one in self._listeners
        ]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        for listener, thread in zip(self._listeners, self._threads, strict=True):
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            listener.close()

    def _serve(self, listener: socket.socket) -> None:
        address = listener.getsockname()[0]
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection, address), daemon=True).start()

    def _answer(self, connection: socket.socket, address: str) -> None:
        with connection, suppress(ConnectionError):  # the peer may go when it likes
            while said := connection.recv(4096):
                if b"HTTP/1.1" not in said:
                    connection.sendall(b"echo:" + said)
                    continue
                self.requests[address] += 1
                status = b"200 OK" if address == GOOD else b"503 Service Unavailable"
                connection.sendall(b"HTTP/1.1 %s\r\nContent-Length: 0\r\n\r\n" % status)


@pytest.fixture
def servers() -> Iterator[Servers]:
    made = Servers()
    yield made
    made.close()


def compiled(servers: Servers, policy: dict[str, Any], *addresses: str) -> ProxyResources:
    """Return what a client is given for a Service that these addresses serve, without sidecar."""
    kinds = [
        {"name": name, "port": port, "targetPort": servers.port}
        for name, port in (("http", 80), ("tcp", 82))
    ]
    web = service("shop", "web", *kinds, address=VIP)
    pods = [
        pod("shop", f"web-{number}", address, meshed=False)
        for number, address in enumerate(addresses)
    ]
    objects = by_resource(
        pod("shop", "client", "127.0.0.9"),
        *pods,
        web,
        endpoint_slice(web, pods),
        destination_rule("shop", "web", policy),
    )
    return compile_proxy(build_snapshot(objects), "shop-client")


@pytest.fixture
def run(tmp_path: Path, run_envoy: Any, issuer: Any) -> Callable[[ProxyResources], Any]:
    return lambda given: run_envoy(tmp_path, given, issuer.issue("client").secrets())


def opened(envoy: Any, port: int) -> socket.socket:
    """Open a captured connection to the Service."""
    connection = socket.create_connection(("127.0.0.1", envoy.ports["virtualOutbound"]), PATIENCE)
    own = connection.getsockname()[1]
    connection.sendall(f"PROXY TCP4 127.0.0.1 {VIP} {own} {port}\r\n".encode())
    return connection


def answer(connection: socket.socket, text: bytes) -> bytes:
    connection.sendall(text)
    try:
        return connection.recv(4096)
    except ConnectionResetError:
        return b""


def count(envoy: Any, port: int, name: str) -> int:
    """Return one of a cluster's statistics."""
    full = f"cluster.outbound|{port}||{HOST}.{name}"
    lines = envoy.get("/stats").splitlines()
    found = (line.rpartition(": ") for line in lines)
    return next(int(value) for key, _, value in found if key.replace(";", ":") == full)


def test_one_connection_more_than_the_limit_is_closed(
    servers: Servers, run: Callable[[ProxyResources], Any]
) -> None:
    limit = {"connectionPool": {"tcp": {"maxConnections": 2}}}
    envoy = run(compiled(servers, limit, GOOD))
    with ExitStack() as stack:
        first, second = (stack.enter_context(opened(envoy, 82)) for _ in range(2))
        assert [answer(one, b"text") for one in (first, second)] == [b"echo:text", b"echo:text"]

        with opened(envoy, 82) as third:
            assert answer(third, b"text") == b""
        assert count(envoy, 82, "upstream_cx_overflow") == 1
        assert answer(first, b"still") == b"echo:still"

        second.close()
        eventually(lambda: count(envoy, 82, "upstream_cx_active") == 1, "one connection is left")
        with opened(envoy, 82) as fourth:
            assert answer(fourth, b"text") == b"echo:text"


def test_an_endpoint_that_keeps_failing_is_left_out(
    servers: Servers, run: Callable[[ProxyResources], Any]
) -> None:
    outliers = {"consecutive5xxErrors": 3, "baseEjectionTime": "5m", "maxEjectionPercent": 100}
    envoy = run(compiled(servers, {"outlierDetection": outliers}, GOOD, BAD))
    get = f"GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()

    with opened(envoy, 80) as connection:
        while servers.requests[BAD] < 3:
            answer(connection, get)
        # The main thread ejects, and the workers hear of it a moment later.
        eventually(lambda: count(envoy, 80, "outlier_detection.ejections_active") == 1, "ejected")
        eventually(
            lambda: all(answer(connection, get)[:12] == b"HTTP/1.1 200" for _ in range(20)),
            "twenty requests in a row come to the other",
        )
        failed = servers.requests[BAD]
        seen = {answer(connection, get)[:12] for _ in range(80)}

    assert seen == {b"HTTP/1.1 200"}
    assert servers.requests[BAD] == failed < 10


def test_without_a_rule_for_it_nobody_is_left_out(
    servers: Servers, run: Callable[[ProxyResources], Any]
) -> None:
    envoy = run(compiled(servers, {"loadBalancer": {"simple": "ROUND_ROBIN"}}, GOOD, BAD))
    get = f"GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()

    with opened(envoy, 80) as connection:
        for _ in range(20):
            answer(connection, get)

    assert servers.requests == {GOOD: 10, BAD: 10}
