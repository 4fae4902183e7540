"""What a compiled proxy sends to servers: SNI, ALPN, certificate, or plaintext where it must.

The servers are not Envoys: an Istio sidecar must understand the same bytes.
"""

# ruff: noqa: E501 - a table
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from mutua.api.object import ENDPOINT_SLICES, PEER_AUTHENTICATIONS, PODS, SERVICES, Object
from mutua.model.build import build_snapshot
from mutua.testing.client_hello import read_client_hello
from mutua.testing.mesh import endpoint_slice, peer_authentication, pod, service
from mutua.xds.compile import compile_proxy

PATIENCE = 20.0
GET = b"GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n"
HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HTTP2_GET = (  # an empty SETTINGS, then HEADERS of stream 1: GET http://web/ (RFC 9113, RFC 7541)
    HTTP2_PREFACE
    + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
    + b"\x00\x00\x08\x01\x05\x00\x00\x00\x01\x82\x86\x84\x41\x03web"
)
HEADERS = 1
HTTP_ANSWER = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"


@dataclass
class Seen:
    """What a server learned of one connection."""

    server_name: str = ""
    alpn: tuple[str, ...] = ()
    identity: str = ""
    version: str = ""
    first: bytes = b""


@dataclass
class Server:
    """A mesh server that speaks TLS to those who start it, and remembers who came.

    Attributes:
        port: Where it listens on 127.0.0.1.
        seen: Connections, oldest first.
    """

    context: ssl.SSLContext
    seen: list[Seen] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        connection.settimeout(PATIENCE)
        with connection:
            seen = Seen()
            try:
                self._converse(connection, seen)
            except OSError:
                self.seen.append(seen)  # what there was to see before the client gave up

    def _converse(self, connection: socket.socket, seen: Seen) -> None:
        hello = connection.recv(4096, socket.MSG_PEEK)
        stream = connection
        if hello.startswith(b"\x16\x03"):
            seen.server_name, seen.alpn = read_client_hello(hello)
            stream = self.context.wrap_socket(connection, server_side=True)
            names = stream.getpeercert()["subjectAltName"]
            seen.identity, seen.version = names[0][1], stream.version()
        with stream:
            seen.first = stream.recv(4096)
            self.seen.append(seen)  # before the answer, so that who has it finds this
            if b"HTTP/1.1" in seen.first:
                stream.sendall(HTTP_ANSWER)
            elif not seen.first.startswith(HTTP2_PREFACE):
                stream.sendall(b"echo:" + seen.first)


@pytest.fixture(scope="module")
def server(issuer: Any) -> Iterator[Server]:
    shown = issuer.issue("web")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(shown.roots)
    context.load_cert_chain(shown.chain, shown.key)
    made = Server(context)
    yield made
    made.close()


VIP, LEGACY_VIP, OFF_VIP, OTHER_VIP = "10.96.0.20", "10.96.0.21", "10.96.0.22", "10.96.0.23"
KINDS = (
    {"name": "http", "port": 80},
    {"name": "http2", "port": 81},
    {"name": "tcp", "port": 82},
    {"name": "any", "port": 83},
)


def mesh(port: int) -> dict[Any, list[Object]]:
    """Four services, all served by the one server; they differ in who it is said to be."""
    objects: dict[Any, list[Object]] = {PODS: [], SERVICES: [], ENDPOINT_SLICES: []}
    for name, address, meshed, account in (
        ("web", VIP, True, "web"),
        ("legacy", LEGACY_VIP, False, "web"),
        ("off", OFF_VIP, True, "web"),
        ("other", OTHER_VIP, True, "somebody-else"),
    ):
        one = pod("shop", name, "127.0.0.1", meshed=meshed, serviceAccountName=account)
        owner = service(
            "shop", name, *({**kind, "targetPort": port} for kind in KINDS), address=address
        )
        objects[PODS].append(one)
        objects[SERVICES].append(owner)
        objects[ENDPOINT_SLICES].append(endpoint_slice(owner, [one]))
    off = {"selector": {"matchLabels": {"app": "off"}}}
    objects[PEER_AUTHENTICATIONS] = [peer_authentication("shop", "DISABLE", **off)]
    return objects


@pytest.fixture(scope="module")
def envoy(
    tmp_path_factory: pytest.TempPathFactory, server: Server, run_envoy: Any, issuer: Any
) -> Any:
    compiled = compile_proxy(build_snapshot(mesh(server.port)), "shop-web")
    return run_envoy(tmp_path_factory.mktemp("client"), compiled, issuer.issue("client").secrets())


def say(envoy: Any, address: str, port: int, text: bytes) -> bytes:
    """Open a captured connection to an address and return the answer to what is said."""
    outbound = envoy.ports["virtualOutbound"]
    with socket.create_connection(("127.0.0.1", outbound), PATIENCE) as connection:
        own = connection.getsockname()[1]
        connection.sendall(f"PROXY TCP4 127.0.0.1 {address} {own} {port}\r\n".encode() + text)
        answer = more = connection.recv(4096)
        while more and is_partial(answer, text):
            more = connection.recv(4096)
            answer += more
        return answer


def is_partial(answer: bytes, text: bytes) -> bool:
    """Tell whether the head of the answer to a text is not complete yet."""
    if text.startswith(HTTP2_PREFACE):
        return HEADERS not in frames(answer)
    return answer.startswith(b"HTTP/") and b"\r\n\r\n" not in answer


def frames(answer: bytes) -> list[int]:
    """Return the types of the HTTP/2 frames in an answer."""
    kinds = []
    while len(answer) >= 9:
        kinds.append(answer[3])
        answer = answer[9 + int.from_bytes(answer[:3]) :]
    return kinds


def web(port: int) -> str:
    return f"outbound_.{port}_._.web.shop.svc.cluster.local"


HTTP1, HTTP2, TCP = ("istio-http/1.1", "istio", "http/1.1"), ("istio-h2", "istio", "h2"), ("istio",)


@pytest.mark.parametrize(("port", "text", "alpn", "first"), [
    pytest.param(80, GET % b"web", HTTP1, b"GET / HTTP/1.1",       id="HTTP/1.1 on an http port"),
    pytest.param(81, GET % b"web", HTTP2, HTTP2_PREFACE,           id="HTTP/1.1 on an http2 port becomes HTTP/2"),
    pytest.param(82, b"text\n",    TCP,   b"text\n",               id="text on a tcp port"),
    pytest.param(82, GET % b"web", TCP,   b"GET / HTTP/1.1",       id="HTTP on a tcp port is just text"),
    pytest.param(83, GET % b"web", HTTP1, b"GET / HTTP/1.1",       id="HTTP/1.1 on an undeclared port"),
    pytest.param(83, HTTP2_GET,    HTTP2, HTTP2_PREFACE,           id="HTTP/2 on an undeclared port"),
    pytest.param(83, b"text\n",    TCP,   b"text\n",               id="text on an undeclared port"),
])  # fmt: skip
def test_mesh_servers_are_met_with_mutual_tls(
    envoy: Any, server: Server, port: int, text: bytes, alpn: tuple[str, ...], first: bytes
) -> None:
    before = len(server.seen)

    say(envoy, VIP, port, text)

    seen = server.seen[before]
    assert (seen.server_name, seen.alpn) == (web(port), alpn)
    assert (seen.identity, seen.version) == (
        "spiffe://cluster.local/ns/shop/sa/client",
        "TLSv1.3",
    )
    assert seen.first.startswith(first)


@pytest.mark.parametrize("address", [LEGACY_VIP, OFF_VIP], ids=["no sidecar", "DISABLE"])
@pytest.mark.parametrize("port", [82, 83])
def test_others_are_met_with_plaintext(envoy: Any, server: Server, address: str, port: int) -> None:
    before = len(server.seen)

    answer = say(envoy, address, port, b"text\n")

    assert answer == b"echo:text\n"
    assert server.seen[before].server_name == ""


@pytest.mark.parametrize(("host", "sni"), [
    (b"web", "web"), (b"web.shop", "web"), (b"web.shop.svc.cluster.local:80", "web"),
    (b"off", ""), (VIP.encode(), "web"),
])  # fmt: skip
def test_the_host_header_chooses_the_service(
    envoy: Any, server: Server, host: bytes, sni: str
) -> None:
    before = len(server.seen)

    # The address is another service's: only the name counts.
    answer = say(envoy, OTHER_VIP, 80, GET % host)

    assert answer.startswith(b"HTTP/1.1 200")
    expected = web(80) if sni else ""
    assert server.seen[before].server_name == expected


def test_a_server_with_another_identity_is_refused(envoy: Any) -> None:
    answer = say(envoy, OTHER_VIP, 80, GET % b"other")

    assert answer.startswith(b"HTTP/1.1 503")


def test_an_unknown_destination_is_passed_through(envoy: Any, server: Server) -> None:
    answer = say(envoy, "127.0.0.1", server.port, b"passed through\n")

    (seen,) = (one for one in server.seen if one.first == b"passed through\n")
    assert (answer, seen.server_name) == (b"echo:passed through\n", "")


def test_an_unknown_host_on_a_known_port_goes_where_it_was_going(envoy: Any) -> None:
    # Nothing listens on port 80 of this address: the answer shows that it was dialled.
    answer = say(envoy, "127.0.0.9", 80, GET % b"unknown.example")

    assert answer.startswith(b"HTTP/1.1 503")


def test_a_connection_to_the_proxys_own_port_is_closed(envoy: Any) -> None:
    with pytest.raises(ConnectionResetError):
        say(envoy, "127.0.0.1", 15001, b"text\n")
