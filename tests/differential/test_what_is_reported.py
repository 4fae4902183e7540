"""Which connections does a server's proxy report, and how?  Ours to log, a real Envoy's to write.

Whoever proves an identity is not mentioned; whoever does not is, once, with where it came from.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from mutua.api.object import PEER_AUTHENTICATIONS, PODS, SERVICES
from mutua.model.build import build_snapshot
from mutua.testing.application import Application
from mutua.testing.mesh import peer_authentication, pod, service
from mutua.testing.polling import eventually
from mutua.xds.compile import compile_proxy
from mutua.xds.server import LogReader, serve_workload
from mutua.xds.sighting import Sighting, Speaks

GET = b"GET / HTTP/1.1\r\nHost: web:8000\r\nX-Forwarded-For: 9.9.9.9\r\n\r\n"
TEXT = b"some text\n"
MESH = ("istio-http/1.1", "istio", "http/1.1")

# What a client does: says, certificate's trust domain (None: no TLS, "": TLS without), ALPN.
CLIENTS: dict[str, tuple[bytes, str | None, tuple[str, ...]]] = {
    "plain HTTP": (GET, None, ()),
    "plain TCP": (TEXT, None, ()),
    "mesh": (GET, "cluster.local", MESH),
    "own TLS": (TEXT, "", ()),
    "stranger": (GET, "elsewhere.local", MESH),
}
REFUSED_TCP, REFUSED_TLS = ("refused", Speaks.TCP), ("refused", Speaks.TLS)
HTTP, TCP, TLS = (("served", one) for one in (Speaks.HTTP, Speaks.TCP, Speaks.TLS))

MATRIX = {
    #                        plain HTTP   plain TCP    mesh  own TLS      stranger
    ("http", "STRICT"):     (REFUSED_TCP, REFUSED_TCP, None, REFUSED_TLS, REFUSED_TLS),
    ("http", "PERMISSIVE"): (HTTP,        None,        None, REFUSED_TLS, REFUSED_TLS),
    ("http", "DISABLE"):    (HTTP,        None,        None, None,        None),
    ("tcp", "STRICT"):      (REFUSED_TCP, REFUSED_TCP, None, REFUSED_TLS, REFUSED_TLS),
    ("tcp", "PERMISSIVE"):  (TCP,         TCP,         None, TLS,         REFUSED_TLS),
    ("tcp", "DISABLE"):     (TCP,         TCP,         TCP,  TCP,         TCP),
    ("auto", "STRICT"):     (REFUSED_TCP, REFUSED_TCP, None, REFUSED_TLS, REFUSED_TLS),
    ("auto", "PERMISSIVE"): (HTTP,        TCP,         None, TLS,         REFUSED_TLS),
    ("auto", "DISABLE"):    (HTTP,        TCP,         TCP,  TCP,         TCP),
}  # fmt: skip

MARKERS = (("http", "plain HTTP"), ("tcp", "plain TCP"))
"""Reported in every mode, each by another log: what was not reported before them never will be."""


@pytest.fixture(scope="module")
def applications() -> Iterator[dict[str, Application]]:
    found = {kind: Application() for kind in ("http", "tcp", "auto")}
    yield found
    for application in found.values():
        application.close()


@pytest.fixture(scope="module")
def envoys(
    tmp_path_factory: pytest.TempPathFactory,
    applications: dict[str, Application],
    run_envoy: Any,
    issuer: Any,
) -> dict[str, tuple[Any, Path]]:
    """Return an Envoy for each mode, and where it reports to."""
    names = {"http": "http", "tcp": "tcp", "auto": "port"}
    ports = [
        {"name": names[kind], "port": 1000 + index, "targetPort": application.port}
        for index, (kind, application) in enumerate(applications.items())
    ]
    objects = {PODS: [pod("shop", "web", "127.0.0.1")], SERVICES: [service("shop", "web", *ports)]}
    made = {}
    for mode in ("STRICT", "PERMISSIVE", "DISABLE"):
        policy = {PEER_AUTHENTICATIONS: [peer_authentication("shop", mode)]}
        compiled = compile_proxy(build_snapshot(objects | policy), "shop-web")
        directory: Path = tmp_path_factory.mktemp(mode[:1])
        envoy = run_envoy(directory, compiled, issuer.issue("web").secrets())
        made[mode] = (envoy, directory / "XDS")
    return made


@asynccontextmanager
async def reports(at: Path) -> AsyncIterator[list[Sighting]]:
    heard: list[Sighting] = []
    server = await serve_workload({at: [LogReader().handler(heard.append)]})
    try:
        yield heard
    finally:
        await server.stop()


@pytest.mark.parametrize("mode", ["STRICT", "PERMISSIVE", "DISABLE"])
async def test_who_proves_no_identity_is_reported(
    mode: str,
    envoys: dict[str, tuple[Any, Path]],
    applications: dict[str, Application],
    issuer: Any,
) -> None:
    envoy, at = envoys[mode]

    async def do(kind: str, client: str) -> int:
        inbound, target = envoy.ports["virtualInbound"], applications[kind].port
        return await asyncio.to_thread(exchange, inbound, target, client, issuer)

    async with reports(at) as heard:
        cells = [(kind, client) for kind in applications for client in CLIENTS]
        origins = {cell: await do(*cell) for cell in cells}
        last = {await do(*marker) for marker in MARKERS}
        # Each log comes on a stream of its own: what the markers do not follow comes when it comes.
        last |= {origins[cell] for cell in cells if expected_of(*cell, mode) is not None}
        await eventually(lambda: last <= {one.source_port for one in heard}, "the last reports")

    ports = {application.port: kind for kind, application in applications.items()}
    for (kind, client), origin in origins.items():
        expected = expected_of(kind, client, mode)
        found = [one for one in heard if one.source_port == origin]
        seen = [("refused" if one.refused else "served", one.speaks) for one in found]
        assert seen == ([] if expected is None else [expected]), (kind, client)
        for one in found:
            assert (one.source, ports[one.port], one.ongoing) == ("127.0.0.1", kind, False)
            assert one.host == ("web:8000" if one.speaks is Speaks.HTTP else "")


def expected_of(kind: str, client: str, mode: str) -> tuple[str, Speaks] | None:
    return MATRIX[kind, mode][list(CLIENTS).index(client)]


def exchange(port: int, target: int, client: str, issuer: Any) -> int:
    """Do what the client does, whatever becomes of it; return the port it came from."""
    says, domain, alpn = CLIENTS[client]
    context = ssl.create_default_context()  # before a proxy waits for it
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols(alpn)
    if domain:
        shown = issuer.issue("client", domain)
        context.load_cert_chain(shown.chain, shown.key)
    with socket.create_connection(("127.0.0.1", port), 20) as connection:
        own = int(connection.getsockname()[1])
        connection.sendall(f"PROXY TCP4 127.0.0.1 127.0.0.1 {own} {target}\r\n".encode())
        try:
            if domain is None:
                connection.sendall(says)
                connection.recv(1)
                return own
            with context.wrap_socket(connection, server_hostname="web") as tunnel:
                tunnel.sendall(says)
                tunnel.recv(1)
        except OSError:
            pass  # refused, in one of many ways
        return own
