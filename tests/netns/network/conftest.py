"""Run every test of this folder in a child process with a user, mount and network namespace.

So plain `pytest tests/netns/network` works for root and for an ordinary user through the same code
path, sees real packets, and leaves nothing behind: when the child ends, the kernel removes its
namespaces.  Where user namespaces are not available the tests fail and say so; they never skip.

Fixtures run in pytest's own process, the test's body in the child.
"""

import asyncio
import gc
import inspect
import json
import os
import select
import signal
import socket
import struct
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyroute2.iproute.linux  # noqa: F401 - once here, not in every test's child
import pytest

from mutua.runtime import linux
from mutua.runtime.network.node import NodeNetwork
from mutua.testing.polling import accepted_are_served

SUCCESS = "done"
"""What the child reports if nothing went wrong."""

PATIENCE = 60.0
"""Seconds a test may take, far beyond any expected; then its child is killed."""

ANSWER = 20.0
"""Seconds for somebody who listens to answer on a busy machine."""

SO_ORIGINAL_DST = 80
"""Where a redirected connection was going (linux/netfilter_ipv4.h)."""

HERE = Path(__file__).parent


@pytest.fixture(scope="session", autouse=True)
def light_children() -> Iterator[None]:
    """Let children begin with one thread, and look for garbage among what is theirs only.

    gRPC's threads end with its objects, and start anew in children: but a process with several
    threads may not enter a user namespace.
    """
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if HERE not in pyfuncitem.path.parents:
        return None
    names = pyfuncitem._fixtureinfo.argnames
    arguments = {name: pyfuncitem.funcargs[name] for name in names}
    report = run_in_namespaces(lambda: run_body(pyfuncitem.obj, arguments))
    if report != SUCCESS:
        pytest.fail(report or "the test's process died", pytrace=False)
    return True


def run_body(body: Callable[..., Any], arguments: dict[str, Any]) -> None:
    leaks: list[str] = []
    sys.unraisablehook = lambda event: leaks.append(f"{event.exc_value!r} in {event.object!r}")
    if inspect.iscoroutinefunction(body):
        with asyncio.Runner() as runner:
            runner.run(body(**arguments))
    else:
        body(**arguments)
    gc.collect()
    assert not leaks, leaks


def run_in_namespaces(work: Callable[[], None]) -> str:
    """Run `work` in a forked child inside new namespaces; return SUCCESS or its traceback."""
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        os.close(reading)
        _be_child(work, writing)
    os.close(writing)
    try:
        report = read_report(reading)
    finally:
        os.close(reading)
        with suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)  # and whatever the test started and left
        os.waitpid(child, 0)
    return report


def read_report(pipe: int) -> str:
    """Return what the child wrote until it ended."""
    report = b""
    while select.select([pipe], [], [], PATIENCE)[0]:
        if not (chunk := os.read(pipe, 1 << 16)):
            return report.decode()
        report += chunk
    return f"{report.decode()}\nthe test's process was killed after {PATIENCE:g} s"


def _be_child(work: Callable[[], None], report: int) -> None:
    try:
        os.setpgid(0, 0)
        enter_namespaces()
        work()
        os.write(report, SUCCESS.encode())
    except BaseException:  # noqa: BLE001 - reported to the parent
        os.write(report, traceback.format_exc().encode())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def enter_namespaces() -> None:
    """Join new user, mount and network namespaces, as root of them."""
    user, group = os.getuid(), os.getgid()
    try:
        linux.unshare(linux.CLONE_NEWUSER | linux.CLONE_NEWNS | linux.CLONE_NEWNET)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
        linux.mount("none", "/", "", linux.MS_REC | linux.MS_PRIVATE)
    except OSError as error:
        raise RuntimeError(f"user namespaces are not available here: {error}") from error


@dataclass
class Answer:
    """What a listener says to whoever connects."""

    pod: str
    port: int
    peer: str
    original: tuple[str, int] | None = None


@dataclass
class Connection:
    answer: Answer
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def echoes(self) -> bool:
        self.writer.write(b"still here\n")
        return await self.reader.readline() == b"still here\n"

    def close(self) -> None:
        self.writer.close()


class Lab:
    """Pods with listeners that say who they are, and clients that ask."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.network = NodeNetwork(directory)
        self.servers: list[asyncio.Server] = []
        self.connections: list[Connection] = []
        self.served: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> "Lab":
        await self.network.start()
        return self

    async def __aexit__(self, *failure: object) -> None:
        for server in self.servers:
            server.close()
        await accepted_are_served()
        for connection in self.connections:
            connection.close()
        for writer in self.served:
            writer.close()
        await self.network.stop()
        await asyncio.sleep(0)

    async def pods(self, *uids: str) -> list[str]:
        """Attach pods; the n-th has address 10.244.0.(1+n)."""
        addresses = [f"10.244.0.{index}" for index in range(2, 2 + len(uids))]
        for uid, address in zip(uids, addresses, strict=True):
            await self.network.attach(uid, address)
        return addresses

    async def listen(self, uid: str, *ports: int) -> None:
        for port in ports:
            listener = await self.network.socket(uid, "tcp")
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("0.0.0.0", port))
            self.servers.append(await asyncio.start_server(self._introduce(uid), sock=listener))

    def _introduce(self, uid: str) -> Callable[..., Any]:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.served.append(writer)
            accepted = writer.get_extra_info("socket")
            answer = Answer(uid, accepted.getsockname()[1], accepted.getpeername()[0])
            answer.original = original_destination(accepted)
            writer.write(json.dumps(asdict(answer)).encode() + b"\n")
            while line := await reader.readline():
                writer.write(line)

        return serve

    async def dial(
        self, uid: str, address: str, port: int, *, mark: int = 0, source: str = ""
    ) -> Connection:
        client = await self.network.socket(uid, "tcp")
        client.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
        if source:
            client.bind((source, 0))
        try:
            async with asyncio.timeout(ANSWER):
                await asyncio.get_running_loop().sock_connect(client, (address, port))
                reader, writer = await asyncio.open_connection(sock=client)
                fields = json.loads(await reader.readline())
        except BaseException:
            client.close()
            raise
        original = fields["original"]
        fields["original"] = (original[0], original[1]) if original else None
        self.connections.append(Connection(Answer(**fields), reader, writer))
        return self.connections[-1]

    async def ask(self, uid: str, address: str, port: int, **options: Any) -> Answer:
        connection = await self.dial(uid, address, port, **options)
        connection.close()
        return connection.answer


def original_destination(accepted: socket.socket) -> tuple[str, int] | None:
    try:
        raw = accepted.getsockopt(socket.SOL_IP, SO_ORIGINAL_DST, 16)
    except OSError:
        return None
    _, port, address = struct.unpack_from(">HH4s", raw)
    return socket.inet_ntoa(address), port


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path / "netns")
