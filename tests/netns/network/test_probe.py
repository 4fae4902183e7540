"""Probes against a real server in a pod, from the node and from inside."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing, suppress
from typing import Any

import pytest

from mutua.runtime.network.probe import (
    HttpTarget,
    ProbeResult,
    http_probe,
    node_socket,
    pod_socket,
    tcp_probe,
)
from mutua.runtime.network.rules import CaptureRules

PATIENCE = 20.0
"""Seconds for whoever answers at all to do so on a busy machine."""

SUCCESS = ProbeResult(success=True)
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]


def replying(response: bytes, requests: list[bytes] | None = None) -> Handler:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError), closing(writer):
            request = await reader.readuntil(b"\r\n\r\n")
            if requests is not None:
                requests.append(request)
            writer.write(response)

    return handle


@asynccontextmanager
async def serving(lab: Any, handler: Handler, port: int = 8080) -> AsyncIterator[str]:
    async with lab:
        (address,) = await lab.pods("pod")
        listener = await lab.network.socket("pod", "tcp")
        listener.bind(("0.0.0.0", port))
        server = await asyncio.start_server(handler, sock=listener)
        yield address
        server.close()


# fmt: off
HTTP = [
    pytest.param(b"HTTP/1.1 200 OK\r\n\r\n", SUCCESS, id="200 is alive"),
    pytest.param(b"HTTP/1.0 204 No Content\r\n\r\n", SUCCESS, id="so is 204 in HTTP/1.0"),
    pytest.param(b"HTTP/1.1 302 Found\r\nLocation: /x\r\n\r\n", SUCCESS, id="so is a redirect"),
    pytest.param(b"HTTP/1.1 404 Not Found\r\n\r\n",
                 ProbeResult(False, "HTTP probe failed with statuscode: 404"), id="404 is not"),
    pytest.param(b"HTTP/1.1 503 Busy\r\n\r\n",
                 ProbeResult(False, "HTTP probe failed with statuscode: 503"), id="nor is 503"),
    pytest.param(b"", ProbeResult(False, 'Get "http://10.244.0.2:8080/healthz": EOF'),
                 id="nor is a closed connection"),
    pytest.param(b"SSH-2.0-OpenSSH\r\n", ProbeResult(
        False,
        "Get \"http://10.244.0.2:8080/healthz\": malformed HTTP response b'SSH-2.0-OpenSSH\\r\\n'"),
        id="nor is another protocol"),
]
# fmt: on


@pytest.mark.parametrize(("response", "expected"), HTTP)
async def test_http(lab: Any, response: bytes, expected: ProbeResult) -> None:
    async with serving(lab, replying(response)) as address:
        target = HttpTarget(address=address, port=8080, path="healthz")

        assert await http_probe(node_socket(), target, PATIENCE) == expected


async def test_an_endless_first_line_is_not_alive(lab: Any) -> None:
    async with serving(lab, replying(b"x" * 100_000)) as address:
        result = await http_probe(node_socket(), HttpTarget(address=address, port=8080), PATIENCE)

        assert not result.success


async def test_a_silent_server_runs_out_of_time(lab: Any) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with serving(lab, silent) as address:
        result = await http_probe(node_socket(), HttpTarget(address=address, port=8080), 0.1)

        assert "Client.Timeout exceeded while awaiting headers" in result.message


async def test_nobody_listening_is_refused(lab: Any) -> None:
    async with serving(lab, replying(b"")) as address:
        refused = f"dial tcp {address}:9999: connect: connection refused"

        by_tcp = await tcp_probe(node_socket(), address, 9999, PATIENCE)
        by_http = await http_probe(node_socket(), HttpTarget(address=address, port=9999), PATIENCE)

        assert by_tcp == ProbeResult(False, refused)
        assert by_http == ProbeResult(False, f'Get "http://{address}:9999/": {refused}')


async def test_tcp_succeeds_when_somebody_listens(lab: Any) -> None:
    async with serving(lab, replying(b"")) as address:
        assert await tcp_probe(node_socket(), address, 8080, PATIENCE) == SUCCESS


async def test_the_request_is_the_kubelets_with_the_users_headers(lab: Any) -> None:
    requests: list[bytes] = []
    async with serving(lab, replying(b"HTTP/1.1 200 OK\r\n\r\n", requests)) as address:
        headers = {"host": "shop.example", "X-Token": "abc"}
        target = HttpTarget(address=address, port=8080, path="/live?full=1", headers=headers)

        await http_probe(node_socket(), target, PATIENCE)

    assert requests[0].decode().split("\r\n") == [
        "GET /live?full=1 HTTP/1.1",
        "User-Agent: kube-probe/1.33",
        "Accept: */*",
        "Connection: close",
        "host: shop.example",
        "X-Token: abc",
        "",
        "",
    ]


async def test_a_line_break_in_a_header_is_not_sent(lab: Any) -> None:
    requests: list[bytes] = []
    async with serving(lab, replying(b"HTTP/1.1 200 OK\r\n\r\n", requests)) as address:
        headers = {"X-Token": "a\r\nX-Evil: b"}
        target = HttpTarget(address=address, port=8080, headers=headers)

        result = await http_probe(node_socket(), target, PATIENCE)

    assert not result.success
    assert requests == []


async def test_a_probe_from_inside_a_captured_pod_reaches_the_application(lab: Any) -> None:
    async with serving(lab, replying(b"HTTP/1.1 200 OK\r\n\r\n")) as address:
        await lab.network.capture("pod", CaptureRules())
        target = HttpTarget(address=address, port=8080)

        inside = await http_probe(await pod_socket(lab.network, "pod"), target, PATIENCE)
        outside = await http_probe(node_socket(), target, PATIENCE)

        assert inside == SUCCESS
        assert "connection refused" in outside.message  # captured, and no Envoy runs here


async def test_probes_close_their_sockets(lab: Any) -> None:
    async with serving(lab, replying(b"HTTP/1.1 200 OK\r\n\r\n")) as address:
        sockets = [node_socket(), node_socket(), await pod_socket(lab.network, "pod")]

        await tcp_probe(sockets[0], address, 9999, PATIENCE)
        for sock in sockets[1:]:
            await http_probe(sock, HttpTarget(address=address, port=8080), PATIENCE)

        assert [isinstance(s, socket.socket) and s.fileno() for s in sockets] == [-1, -1, -1]
