"""A mesh on loopback: real Envoys between a client and an application that are in this process.

    client ──► client's Envoy ──► server's Envoy ──► application
    a PROXY header says where     binds the pod's address   127.A.B+1.n
    the connection was going      127.A.B.n and its ports

There is no capture, so what the kernel would do is put into the configuration instead: outbound,
the original destination comes with the connection; inbound, the listener has the pod's own address
and the application another one.  A relay stands in for the Service's address.  Everything else is
what the compiler made.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from mutua.model.snapshot import MeshSnapshot
from mutua.model.workload import Workload
from mutua.policy.inbound import Content
from mutua.testing.client_hello import client_hello, read_client_hello
from mutua.testing.polling import accepted_are_served

PATIENCE: Final = 20.0
"""Seconds to wait for an answer that should come."""

SILENCE: Final = 0.3
"""Seconds without a byte after which a connection counts as hanging."""

FIRST_BYTES: Final = 65536
TLS_HANDSHAKE: Final = b"\x16\x03"
ANSWERS: Final = (b"HTTP/1.1 200", b"echo:", b"hello")
"""How an application's answers begin; what a proxy says itself begins otherwise."""


@dataclass(frozen=True, slots=True)
class Observed:
    """What was seen of one connection at both of its ends.

    Attributes:
        answered: Whether the client got an application's answer.
        silent: Whether it got nothing at all and was not closed either.
        identity: Whom the server's HTTP proxy took the client for, "" for nobody.
        handshakes: Server names in the TLS handshakes that the application was given.
    """

    answered: bool = False
    silent: bool = False
    identity: str = ""
    handshakes: frozenset[str] = frozenset()


@dataclass(slots=True)
class Application:
    """One port of an application; see mutua.testing.application for what it answers.

    Attributes:
        greets: Whether it speaks before it is spoken to.
        handshakes: Server names in TLS handshakes, oldest first.
    """

    greets: bool
    handshakes: list[str] = field(default_factory=list)
    _open: int = 0
    _idle: asyncio.Event = field(default_factory=asyncio.Event)

    async def wait_idle(self) -> None:
        """Return once nobody is connected."""
        if self._open:
            await self._idle.wait()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection."""
        self._open += 1
        self._idle.clear()
        try:
            await self._answer(reader, writer)
        finally:
            self._open -= 1
            if not self._open:
                self._idle.set()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.greets:
            writer.write(b"hello")
        request = await reader.read(FIRST_BYTES)
        if request.startswith(TLS_HANDSHAKE):
            self.handshakes.append(read_client_hello(request)[0])
        elif b"HTTP/1.1" in request:
            writer.write(_http_answer(request))
        elif request:
            writer.write(b"echo:" + request)
        await writer.drain()


def _http_answer(request: bytes) -> bytes:
    lines = request.split(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
    pairs = (line.partition(":") for line in lines)
    body = json.dumps({name.lower(): value.strip() for name, _, value in pairs}).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body


def speaks_first(port: int) -> bool:
    """Tell whether the application on a port speaks before it is spoken to."""
    return port % 2 == 1


def application_address(pod: str) -> str:
    """Return where the application of a pod with a sidecar listens."""
    first, second, third, fourth = pod.split(".")
    return f"{first}.{second}.{int(third) + 1}.{fourth}"


def bind_pod(clusters: Iterable[Any], listeners: list[Any], pod: str, ports: Iterable[int]) -> None:
    """Let an Envoy's inbound side have the pod's address, and its application another.

    Args:
        clusters: Of the configuration; changed in place.
        listeners: Likewise.
        pod: The pod's address.
        ports: The ports to listen on; the last is the one that nobody declared.
    """
    places = [{"socket_address": {"address": pod, "port_value": port}} for port in ports]
    undeclared = places[-1]["socket_address"]["port_value"]
    # Outbound listeners for the pod's own address are not used, and would be in the way.
    listeners[:] = [one for one in listeners if not one["name"].startswith(f"{pod}_")]
    for listener in listeners:
        if listener["name"] == "virtualInbound":
            listener["address"] = places[0]
            listener["additional_addresses"] = [{"address": one} for one in places[1:]]
            del listener["listener_filters"][0]  # the PROXY header
    for cluster in clusters:
        name = cluster["name"]
        if name.startswith("inbound|"):
            _send(cluster, application_address(pod), int(name.split("|")[1]))
        elif name == "InboundPassthroughCluster":
            _send(cluster, application_address(pod), int(str(undeclared)))


def _send(cluster: Any, address: str, port: int) -> None:
    place = {"socket_address": {"address": address, "port_value": port}}
    cluster.pop("lb_policy", None)
    cluster["type"] = "STATIC"
    cluster["load_assignment"] = {
        "cluster_name": cluster["name"],
        "endpoints": [{"lb_endpoints": [{"endpoint": {"address": place}}]}],
    }


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
"""What a server does with one connection."""


class Servers:
    """Listeners in this process; leaving its `async with` ends them and their connections."""

    def __init__(self) -> None:
        self._servers: list[asyncio.Server] = []
        self._open: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def __aenter__(self) -> "Servers":
        return self

    async def __aexit__(self, *_: object) -> None:
        for server in self._servers:
            server.close()
        await accepted_are_served()
        for writer in self._open.values():
            writer.transport.abort()
        await asyncio.gather(*self._open)

    async def listen(self, address: str, port: int, serve: Serve) -> None:
        """Serve connections to an address until the end."""

        async def tracked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None  # noqa: S101 - this is one
            self._open[task] = writer
            try:
                await serve(reader, writer)
            except ConnectionError:
                pass  # the peer is gone, which is its right
            finally:
                writer.close()
                del self._open[task]

        self._servers.append(await asyncio.start_server(tracked, address, port))


async def start_applications(
    servers: Servers, pods: Iterable[Workload], ports: Iterable[int]
) -> dict[tuple[str, int], Application]:
    """Run every pod's application; return them by the pod's address and port."""
    found = {}
    for pod in pods:
        where = application_address(pod.address) if pod.accepts_mutual_tls else pod.address
        for port in ports:
            one = found[pod.address, port] = Application(speaks_first(port))
            await servers.listen(where, port, one.serve)
    return found


async def start_relays(servers: Servers, mesh: MeshSnapshot) -> None:
    """Stand in for the addresses of Services: pass bytes on to the first endpoint."""
    for service in mesh.services:
        for port in service.ports:
            endpoints = mesh.endpoints[service.id][port.number]
            for address in service.addresses if endpoints else ():
                relay = _relay_to(endpoints[0].address, endpoints[0].port)
                await servers.listen(address, port.number, relay)


def _relay_to(address: str, port: int) -> Serve:
    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(address, port)
        await asyncio.gather(_pass_on(reader, back), _pass_on(there, writer))

    return relay


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(FIRST_BYTES):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One connection that a program opens.

    Attributes:
        proxy: Port of the outbound listener of the program's Envoy; None without sidecar.
        address: Where the program connects to.
        port: Its port.
        host: What it calls the server.
        content: What it says.
    """

    proxy: int | None
    address: str
    port: int
    host: str
    content: Content

    def says(self) -> bytes:
        """Return the program's first bytes."""
        match self.content:
            case Content.HTTP:
                return f"GET / HTTP/1.1\r\nHost: {self.host}\r\nConnection: close\r\n\r\n".encode()
            case Content.CLIENT_FIRST:
                return b"some text\n"
            case Content.TLS:
                return client_hello(self.host)
            case Content.SERVER_FIRST:
                return b""


async def observe(call: Call, server: Application, patience: float) -> Observed:
    """Make a call and return what was seen of it.

    Args:
        call: The call.
        server: The application it may reach; nobody else may call it meanwhile.
        patience: Seconds to wait for the answer.
    """
    before = len(server.handshakes)
    answer, silent = b"", False
    try:
        async with asyncio.timeout(patience):
            answer = await _answer(call)
    except TimeoutError:
        silent = True
    except ConnectionError:
        pass  # refused, one way or another
    if not silent:
        await server.wait_idle()  # it may learn later than the client what came of it
    return Observed(
        answered=answer.startswith(ANSWERS),
        silent=silent,
        identity=_identity(answer),
        handshakes=frozenset(server.handshakes[before:]),
    )


async def _answer(call: Call) -> bytes:
    """Return an HTTP response in full, or whatever comes first."""
    where = (call.address, call.port) if call.proxy is None else ("127.0.0.1", call.proxy)
    reader, writer = await asyncio.open_connection(*where)
    try:
        if call.proxy is not None:
            own = writer.get_extra_info("sockname")[1]
            header = f"PROXY TCP4 127.0.0.1 {call.address} {own} {call.port}\r\n"
            writer.write(header.encode())
        writer.write(call.says())
        answer = more = await reader.read(FIRST_BYTES)
        while more and answer.startswith(b"HTTP/1.1 200") and not answer.endswith(b"}"):
            more = await reader.read(FIRST_BYTES)
            answer += more
        return answer
    finally:
        writer.close()


def _identity(answer: bytes) -> str:
    """Return the client's identity that a server's proxy wrote into the request."""
    if not answer.startswith(b"HTTP/1.1 200"):
        return ""
    headers: dict[str, str] = json.loads(answer[answer.index(b"{") :])
    forwarded = headers.get("x-forwarded-client-cert", "")
    return next((one[4:] for one in forwarded.split(";") if one.startswith("URI=")), "")
