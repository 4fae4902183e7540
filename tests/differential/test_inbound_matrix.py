"""The behaviour matrix of istio-semantics section 2.4, against a real Envoy.

Each cell is one connection: what the client sends, what becomes of it.  And what the mesh's
settings change about it.
"""

# ruff: noqa: E501 - a table
import json
import re
import socket
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from mutua.api.mesh_config import PathNormalization, TlsProfile, TlsVersion
from mutua.api.object import PEER_AUTHENTICATIONS, PODS, SERVICES, Object
from mutua.model.build import build_snapshot
from mutua.model.settings import MeshSettings
from mutua.policy.inbound import PATIENCE as WAIT
from mutua.testing.application import Application
from mutua.testing.mesh import peer_authentication, pod, service
from mutua.xds.compile import compile_proxy

PATIENCE = 20.0
SILENCE = 0.3
"""Seconds without a byte after which a connection counts as hanging."""

GET = b"GET / HTTP/1.1\r\nHost: web\r\nX-Forwarded-Client-Cert: By=forged\r\n\r\n"
TEXT = b"some text\n"

ISTIO_HTTP = ("istio-http/1.1", "istio", "http/1.1")
ISTIO_TCP = ("istio",)


@dataclass(frozen=True)
class Client:
    """What a client does.

    Attributes:
        says: What it sends once connected, b"" to wait for the server.
        tls: Whether it uses TLS.
        identity: Name of the credentials it shows, "" for none.
        alpn: What it offers.
        curve: The one key exchange it knows, in OpenSSL's words, "" for all it has.
        version: The highest version of TLS it speaks.
        patience: Seconds that it waits for a server to speak.
    """

    says: bytes
    tls: bool = False
    identity: str = ""
    alpn: tuple[str, ...] = ()
    curve: str = ""
    version: ssl.TLSVersion = ssl.TLSVersion.MAXIMUM_SUPPORTED
    patience: float = SILENCE


CLIENTS = {
    "plain HTTP": Client(GET),
    "plain TCP": Client(TEXT),
    "waits for the server": Client(b""),
    "mesh HTTP": Client(GET, tls=True, identity="client", alpn=ISTIO_HTTP),
    "mesh TCP": Client(TEXT, tls=True, identity="client", alpn=ISTIO_TCP),
    "own TLS with mesh certificate": Client(GET, tls=True, identity="client"),
    "TLS without certificate": Client(GET, tls=True),
    "mesh HTTP without certificate": Client(GET, tls=True, alpn=ISTIO_HTTP),
    "mesh HTTP of another trust domain": Client(
        GET, tls=True, identity="stranger", alpn=ISTIO_HTTP
    ),
}

# What becomes of a connection.
HTTP = "an HTTP proxy answered, without an identity"
IDENTIFIED = "an HTTP proxy answered, with the client's identity"
TCP = "the application answered, through a TCP proxy"
BAD_REQUEST = "the HTTP proxy answered 400"
CLOSED = "closed without a byte"
SILENT = "silence"
GREETED = "the application spoke first"
TLS_TO_APP = "the application got the TLS handshake"
REFUSED = "TLS was refused"

# fmt: off
MATRIX = {
    #                     plain HTTP  plain TCP    waits    mesh HTTP   mesh TCP     own TLS     no cert     istio no cert  stranger
    ("http", "STRICT"):     (CLOSED, CLOSED,      SILENT,  IDENTIFIED, None,        IDENTIFIED, REFUSED,    REFUSED,       REFUSED),
    ("http", "PERMISSIVE"): (HTTP,   BAD_REQUEST, SILENT,  IDENTIFIED, None,        REFUSED,    REFUSED,    REFUSED,       REFUSED),
    ("http", "DISABLE"):    (HTTP,   BAD_REQUEST, SILENT,  REFUSED,    REFUSED,     REFUSED,    REFUSED,    REFUSED,       REFUSED),
    ("tcp", "STRICT"):      (CLOSED, CLOSED,      SILENT,  TCP,        TCP,         TCP,        REFUSED,    REFUSED,       REFUSED),
    ("tcp", "PERMISSIVE"):  (TCP,    TCP,         SILENT,  TCP,        TCP,         TLS_TO_APP, TLS_TO_APP, REFUSED,       REFUSED),
    ("tcp", "DISABLE"):     (TCP,    TCP,         GREETED, TLS_TO_APP, TLS_TO_APP,  TLS_TO_APP, TLS_TO_APP, TLS_TO_APP,    TLS_TO_APP),
    ("auto", "STRICT"):     (CLOSED, CLOSED,      SILENT,  IDENTIFIED, TCP,         TCP,        REFUSED,    REFUSED,       REFUSED),
    ("auto", "PERMISSIVE"): (HTTP,   TCP,         SILENT,  IDENTIFIED, TCP,         TLS_TO_APP, TLS_TO_APP, REFUSED,       REFUSED),
    ("auto", "DISABLE"):    (HTTP,   TCP,         SILENT,  TLS_TO_APP, TLS_TO_APP,  TLS_TO_APP, TLS_TO_APP, TLS_TO_APP,    TLS_TO_APP),
}  # fmt: skip
# fmt: on
MATRIX |= {
    ("undeclared", mode): row for (kind, mode), row in list(MATRIX.items()) if kind == "auto"
}

CELLS = [
    pytest.param(kind, mode, client, expected, id=f"{kind} {mode}: {client}: {expected}")
    for (kind, mode), row in MATRIX.items()
    for client, expected in zip(CLIENTS, row, strict=True)
    if expected is not None
]


@pytest.fixture(scope="module")
def applications() -> Iterator[dict[str, Application]]:
    kinds = ("http", "tcp", "auto", "undeclared")
    found = {kind: Application() for kind in kinds}
    found |= {f"{kind} greeting": Application(greets=True) for kind in kinds}
    yield found
    for application in found.values():
        application.close()


@pytest.fixture(scope="module")
def envoys(
    tmp_path_factory: pytest.TempPathFactory,
    applications: dict[str, Application],
    run_envoy: Any,
    issuer: Any,
) -> dict[str, Any]:
    """Return an Envoy for each mode."""
    objects = mesh(applications)
    made = {}
    for mode in ("STRICT", "PERMISSIVE", "DISABLE"):
        policy = {PEER_AUTHENTICATIONS: [peer_authentication("shop", mode)]}
        compiled = compile_proxy(build_snapshot(objects | policy), "shop-web")
        directory: Path = tmp_path_factory.mktemp(mode)
        made[mode] = run_envoy(directory, compiled, issuer.issue("web").secrets())
    return made


def mesh(applications: dict[str, Application]) -> dict[Any, list[Object]]:
    names = {"http": "http", "tcp": "tcp", "auto": "port"}
    ports = [
        {"name": f"{names[kind]}-{index}", "port": 1000 + index, "targetPort": application.port}
        for index, (label, application) in enumerate(applications.items())
        for kind in (label.split()[0],)
        if kind in names
    ]
    return {PODS: [pod("shop", "web", "127.0.0.1")], SERVICES: [service("shop", "web", *ports)]}


@pytest.mark.parametrize(("kind", "mode", "name", "expected"), CELLS)
def test_what_becomes_of_a_connection(
    kind: str,
    mode: str,
    name: str,
    expected: str,
    envoys: dict[str, Any],
    applications: dict[str, Application],
    issuer: Any,
) -> None:
    client = CLIENTS[name]
    if expected == GREETED:
        client = replace(client, patience=PATIENCE)
    application = applications[kind if client.says else f"{kind} greeting"]
    handshakes = application.handshakes

    outcome = connect(envoys[mode].ports["virtualInbound"], application.port, client, issuer)

    if application.handshakes > handshakes:
        outcome = TLS_TO_APP
    assert outcome == expected


def test_the_identity_that_reaches_the_application_is_the_clients(
    envoys: dict[str, Any], applications: dict[str, Application], issuer: Any
) -> None:
    application = applications["http"]
    port = envoys["STRICT"].ports["virtualInbound"]

    answer = exchange(port, application.port, CLIENTS["mesh HTTP"], issuer)

    header = headers(answer)["x-forwarded-client-cert"]
    # The client's own value stays in front: earliest hop first.
    assert re.fullmatch(
        "By=forged,By=spiffe://cluster.local/ns/shop/sa/web;Hash=[0-9a-f]{64};"
        'Subject="";URI=spiffe://cluster.local/ns/shop/sa/client',
        header,
    )


def test_a_connection_to_the_proxys_own_port_is_closed(envoys: dict[str, Any], issuer: Any) -> None:
    port = envoys["PERMISSIVE"].ports["virtualInbound"]

    assert connect(port, 15006, CLIENTS["plain HTTP"], issuer) == CLOSED


@pytest.fixture(scope="module")
def envoy_with(
    tmp_path_factory: pytest.TempPathFactory,
    applications: dict[str, Application],
    run_envoy: Any,
    issuer: Any,
) -> Any:
    """Return a function that gives the Envoy of a mesh with these settings, one per settings."""

    @cache
    def envoy(**settings: Any) -> Any:
        snapshot = build_snapshot(mesh(applications), MeshSettings(**settings))
        directory = tmp_path_factory.mktemp("settings")
        compiled = compile_proxy(snapshot, "shop-web")
        return run_envoy(directory, compiled, issuer.issue("web").secrets())

    return envoy


FEW = Client(b"hi\n")
"""Too little for Envoy's TLS inspector, which wants the five bytes of a TLS record's header."""

# By mode, on ports of TCP and on ports whose protocol nobody declares.
ANSWERS = {"STRICT": CLOSED, "PERMISSIVE": TCP, "DISABLE": TCP}


def test_who_says_little_and_waits_gets_an_answer_or_is_closed(
    envoys: dict[str, Any], applications: dict[str, Application], issuer: Any
) -> None:
    cells = [(mode, kind) for mode in ANSWERS for kind in ("tcp", "auto", "undeclared")]

    def outcome(mode: str, kind: str) -> str:
        port = envoys[mode].ports["virtualInbound"]
        return connect(port, applications[kind].port, FEW, issuer)

    with ThreadPoolExecutor(len(cells)) as pool:
        outcomes = dict(zip(cells, pool.map(outcome, *zip(*cells, strict=True)), strict=True))

    assert outcomes == {(mode, kind): ANSWERS[mode] for mode, kind in cells}


def test_who_waits_for_the_server_is_told_once_the_proxy_gives_up_without_being_told_to(
    envoys: dict[str, Any], applications: dict[str, Application], issuer: Any
) -> None:
    patience = Client(b"", patience=2 * WAIT)
    cells = [(kind, mode) for kind, mode in MATRIX if (kind, mode) != ("tcp", "DISABLE")]

    def outcome(kind: str, mode: str) -> str:
        port = envoys[mode].ports["virtualInbound"]
        return connect(port, applications[f"{kind} greeting"].port, patience, issuer)

    with ThreadPoolExecutor(len(cells)) as pool:
        outcomes = dict(zip(cells, pool.map(outcome, *zip(*cells, strict=True)), strict=True))

    def expected(kind: str, mode: str) -> str:
        if mode == "STRICT":
            return CLOSED
        return SILENT if kind == "http" else GREETED  # an HTTP proxy waits for a request

    assert outcomes == {cell: expected(*cell) for cell in cells}


@pytest.mark.parametrize("kind", ["tcp", "auto", "undeclared"])
def test_a_server_that_speaks_first_is_heard_once_the_wait_for_the_client_ends(
    kind: str, envoy_with: Any, applications: dict[str, Application], issuer: Any
) -> None:
    port = envoy_with(detection_timeout=SILENCE / 3).ports["virtualInbound"]
    application = applications[f"{kind} greeting"]
    client = Client(b"", patience=WAIT - SILENCE)  # less than where the mesh says nothing

    assert connect(port, application.port, client, issuer) == GREETED


def test_a_trust_domain_alias_lets_in_whoever_proves_it(
    envoy_with: Any, applications: dict[str, Application], issuer: Any
) -> None:
    port = envoy_with(trust_domain_aliases=("elsewhere.local",)).ports["virtualInbound"]
    stranger = CLIENTS["mesh HTTP of another trust domain"]

    answer = exchange(port, applications["http"].port, stranger, issuer)

    identity = headers(answer)["x-forwarded-client-cert"]
    assert identity.endswith("URI=spiffe://elsewhere.local/ns/shop/sa/stranger")


# fmt: off
PATHS = {
    #            NONE        BASE        MERGE_SLASHES  DECODE_AND_MERGE_SLASHES
    "/a/../b":  ("/a/../b",  "/b",       "/b",          "/b"),
    "/a//b":    ("/a//b",    "/a//b",    "/a/b",        "/a/b"),
    "/a%2fb":   ("/a%2fb",   "/a%2Fb",   "/a%2Fb",      "/a/b"),
    "/a%5C//b": ("/a%5C//b", "/a%5C//b", "/a%5C/b",     "/a/b"),
}
# fmt: on


@pytest.mark.parametrize(
    ("normalization", "sent", "received"),
    [
        (normalization, sent, received)
        for sent, row in PATHS.items()
        for normalization, received in zip(PathNormalization, row, strict=True)
    ],
)
def test_an_application_sees_paths_as_the_mesh_normalises_them(
    normalization: PathNormalization,
    sent: str,
    received: str,
    envoy_with: Any,
    applications: dict[str, Application],
    issuer: Any,
) -> None:
    port = envoy_with(path_normalization=normalization).ports["virtualInbound"]
    client = Client(GET.replace(b"GET /", f"GET {sent}".encode()))

    answer = exchange(port, applications["http"].port, client, issuer)

    assert headers(answer)[":path"].lower() == received.lower()


CLASSICAL = "prime256v1"
HYBRID = TlsProfile(minimum=TlsVersion.TLS_1_3, curves=("X25519MLKEM768",))


def test_a_client_without_the_hybrid_key_exchange_is_understood_and_counted(
    envoy_with: Any, applications: dict[str, Application], issuer: Any
) -> None:
    envoy = envoy_with()

    answer = exchange(
        envoy.ports["virtualInbound"],
        applications["http"].port,
        replace(CLIENTS["mesh HTTP"], curve=CLASSICAL),
        issuer,
    )

    assert "x-forwarded-client-cert" in headers(answer)
    assert "ssl.curves.P-256: 1" in envoy.get("/stats?filter=ssl.curves")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_mesh_that_demands_the_hybrid_key_exchange_refuses_everybody_without_it(
    version: ssl.TLSVersion, envoy_with: Any, applications: dict[str, Application], issuer: Any
) -> None:
    envoy = envoy_with(mesh_tls=HYBRID)
    client = replace(CLIENTS["mesh HTTP"], curve=CLASSICAL, version=version)

    outcome = connect(envoy.ports["virtualInbound"], applications["http"].port, client, issuer)

    assert outcome == REFUSED
    assert "ssl.curves" not in envoy.get("/stats?usedonly&filter=ssl.curves")


def connect(port: int, destination: int, client: Client, issuer: Any) -> str:
    try:
        answer = exchange(port, destination, client, issuer)
    except TimeoutError:
        return SILENT
    except (ssl.SSLError, ConnectionError):
        return REFUSED if client.tls else CLOSED
    if not answer:
        return REFUSED if client.tls else CLOSED
    if answer.startswith(b"HTTP/1.1 400"):
        return BAD_REQUEST
    if answer == b"hello":
        return GREETED
    if b"server: istio-envoy" not in answer:
        return TCP
    return IDENTIFIED if "x-forwarded-client-cert" in headers(answer) else HTTP


def exchange(port: int, destination: int, client: Client, issuer: Any) -> bytes:
    """Send what the client says and return the first bytes of the answer."""
    context = tls_context(client, issuer) if client.tls else None  # before a proxy waits for it
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
        header = f"PROXY TCP4 127.0.0.1 127.0.0.1 {connection.getsockname()[1]} {destination}\r\n"
        connection.sendall(header.encode())
        if context:
            with context.wrap_socket(connection, server_hostname="web") as tunnel:
                tunnel.sendall(client.says)
                return read(tunnel)
        if not client.says:
            connection.settimeout(client.patience)
            return connection.recv(65536)
        connection.sendall(client.says)
        return read(connection)


def read(connection: socket.socket) -> bytes:
    """Return an HTTP response in full, or whatever comes first."""
    answer = more = connection.recv(65536)
    while more and answer.startswith(b"HTTP/1.1 200") and not answer.endswith(b"}"):
        more = connection.recv(65536)
        answer += more
    return answer


def headers(answer: bytes) -> dict[str, str]:
    """Return the headers that the application received."""
    found: dict[str, str] = json.loads(answer[answer.index(b"{") :])
    return found


def tls_context(client: Client, issuer: Any) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(issuer.issue("web").roots)
    context.maximum_version = client.version
    if client.curve:
        context.set_ecdh_curve(client.curve)
    if client.alpn:
        context.set_alpn_protocols(client.alpn)
    if client.identity:
        domain = "elsewhere.local" if client.identity == "stranger" else "cluster.local"
        shown = issuer.issue(client.identity, domain)
        context.load_cert_chain(shown.chain, shown.key)
    return context
