"""The C library's own resolver, in a pod, asks the cluster's DNS server."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from mutua.cluster.dns import MAX_QUESTION, Answer, DnsServer
from mutua.runtime import linux
from mutua.runtime.network import namespace

RESOLVER = """\
search foo.svc.cluster.local svc.cluster.local cluster.local
nameserver 10.96.0.10
options ndots:5 timeout:5 attempts:3
"""

MANY = tuple(f"10.244.{n // 200}.{n % 200 + 1}" for n in range(400))

NAMES = {
    "httpbin.foo.svc.cluster.local": Answer(("10.96.0.77",)),
    "foo.svc.cluster.local": Answer(),
    "many.foo.svc.cluster.local": Answer(MANY),
    "few.foo.svc.cluster.local": Answer(("10.244.0.1", "10.244.0.2", "10.244.0.3")),
}


@asynccontextmanager
async def resolving(lab: Any, tmp_path: Path) -> AsyncIterator[None]:
    configuration = tmp_path / "resolv.conf"
    configuration.write_text(RESOLVER)
    linux.mount(str(configuration), "/etc/resolv.conf", "", linux.MS_BIND)
    async with lab:
        await lab.pods("pod")
        server = DnsServer(NAMES.get)
        ready = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            serving = tasks.create_task(server.serve(ready.set))
            await ready.wait()
            yield
            serving.cancel()


async def resolve(lab: Any, name: str) -> list[str]:
    ask = partial(socket.getaddrinfo, name, None, type=socket.SOCK_STREAM)
    found = await asyncio.to_thread(namespace.call_inside, lab.directory / "pod", ask)
    return [str(entry[4][0]) for entry in found]


@pytest.mark.parametrize("name", ["httpbin", "httpbin.foo", "HTTPBIN.foo.svc.cluster.local."])
async def test_a_service_is_found_by_short_and_long_names(
    lab: Any, tmp_path: Path, name: str
) -> None:
    async with resolving(lab, tmp_path):
        assert await resolve(lab, name) == ["10.96.0.77"]


@pytest.mark.parametrize("name", ["nothing", "httpbin.bar", "www.example.com", "foo"])
async def test_other_names_do_not_exist(lab: Any, tmp_path: Path, name: str) -> None:
    async with resolving(lab, tmp_path):
        with pytest.raises(socket.gaierror):
            await resolve(lab, name)


async def test_an_answer_too_long_for_udp_comes_by_tcp(lab: Any, tmp_path: Path) -> None:
    async with resolving(lab, tmp_path):
        assert sorted(await resolve(lab, "many")) == sorted(MANY)


async def test_addresses_take_turns(lab: Any, tmp_path: Path) -> None:
    query = struct.pack(">6H", 7, 0x0100, 1, 0, 0, 0)
    query += b"\3few\3foo\3svc\7cluster\5local\0" + struct.pack(">2H", 1, 1)
    loop = asyncio.get_running_loop()
    async with resolving(lab, tmp_path):
        firsts = set()
        with await lab.network.socket("pod", "udp") as client:
            await loop.sock_connect(client, ("10.96.0.10", 53))
            for _ in range(3):
                await loop.sock_sendall(client, query)
                response = await loop.sock_recv(client, 512)
                firsts.add(response[len(query) + 12 : len(query) + 16])

        assert len(firsts) == 3


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"\xff\xff", id="a length beyond the bound"),
        pytest.param(struct.pack(">H", MAX_QUESTION) + b"x", id="half a message"),
        pytest.param(b"\0\3abc", id="a message too short to answer"),
        pytest.param(b"", id="nothing"),
    ],
)
async def test_a_tcp_client_that_misbehaves_is_let_go(
    lab: Any, tmp_path: Path, sent: bytes
) -> None:
    async with resolving(lab, tmp_path):
        reader, writer = await asyncio.open_connection("10.96.0.10", 53)
        writer.write(sent)
        writer.write_eof()

        async with asyncio.timeout(20):
            assert await reader.read() == b""

        writer.close()
        assert await resolve(lab, "httpbin") == ["10.96.0.77"]


async def test_garbage_over_udp_does_not_stop_the_server(lab: Any, tmp_path: Path) -> None:
    async with resolving(lab, tmp_path):
        with await lab.network.socket("pod", "udp") as client:
            for garbage in (b"", b"\0", b"\xff" * 600, bytes(12), bytes(4096)):
                client.sendto(garbage, ("10.96.0.10", 53))

        assert await resolve(lab, "httpbin") == ["10.96.0.77"]


async def test_a_flood_of_one_pod_is_cut_off_and_others_are_served(
    lab: Any, tmp_path: Path
) -> None:
    async with resolving(lab, tmp_path):
        await lab.network.attach("flooder", "10.244.0.200")
        question = struct.pack(">6H", 1, 0, 1, 0, 0, 0) + b"\1x\0" + struct.pack(">2H", 1, 1)
        with await lab.network.socket("flooder", "udp") as client:
            client.connect(("10.96.0.10", 53))
            for _ in range(5000):
                client.send(question)
            answered = 0
            while await has_answer(client, 0.3 if answered else 20.0):
                answered += 1

        assert await resolve(lab, "httpbin") == ["10.96.0.77"]
        assert 0 < answered < 2500


async def has_answer(client: socket.socket, within: float) -> bool:
    try:
        async with asyncio.timeout(within):
            return bool(await asyncio.get_running_loop().sock_recv(client, 512))
    except TimeoutError:
        return False
