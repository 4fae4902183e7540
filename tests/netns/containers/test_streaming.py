"""kubectl logs and kubectl exec, from the real kubectl to a real process and back."""

import asyncio
import hashlib
import json
import os
import shutil
import signal
import socket
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Ping,
    Pong,
    Request,
)

from mutua.api.object import NAMESPACES, PODS, Object
from mutua.cluster.apiserver.auth import CertificateAuthenticator
from mutua.cluster.apiserver.credentials import prepare_credentials, write_kubeconfig
from mutua.cluster.apiserver.http import tls_context
from mutua.cluster.apiserver.registry import Registry
from mutua.cluster.apiserver.server import ApiServer
from mutua.cluster.apiserver.streaming import ContainerStreams
from mutua.cluster.apiserver.streaming_port import ExecRequest, LogOptions
from mutua.cluster.apiserver.tokens import TokenIssuer
from mutua.foundation.clock import SystemClock
from mutua.foundation.errors import MutuaError
from mutua.runtime.shim.client import ShimClient
from mutua.runtime.spec import ContainerSpec
from mutua.store.memory import MemoryStore
from mutua.testing.polling import eventually
from mutua.testing.shims import PrivateMesh, processes_of, sleep_of_ours

PATIENCE = 30.0

needs_kubectl = pytest.mark.usefixtures("real_kubectl")


@pytest.fixture
def real_kubectl() -> None:
    if shutil.which("kubectl") is None:
        pytest.fail("kubectl is not installed, and this test is about its streams")


def pod(*containers: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"containers": [{"name": name, "image": "any"} for name in containers]},
    }


@dataclass
class Cluster:
    """An API server over a registry with one pod, and the shim that runs its containers."""

    mesh: PrivateMesh
    shim: ShimClient
    registry: Registry
    streams: ContainerStreams
    uid: str

    async def start(self, container: str, *argv: str, attempt: int = 0) -> ContainerSpec:
        """Run an attempt of one of the pod's containers."""
        logs = self.mesh.layout.logs / f"shop_web_{self.uid}" / container
        spec = self.mesh.spec(
            *argv,
            id=f"{self.uid}/{container}/{attempt}",
            log_path=str(logs / f"{attempt}.log"),
        )
        await self.shim.start(spec)
        return spec

    async def spawn(self, *args: str, stdin: int | None = None) -> asyncio.subprocess.Process:
        home = self.mesh.base
        return await asyncio.create_subprocess_exec(
            "kubectl", "-n", "shop", *args, stdin=stdin, stdout=PIPE, stderr=PIPE,
            env={"KUBECONFIG": str(home / "kubeconfig"), "HOME": str(home), "PATH": os.defpath},
        )  # fmt: skip

    async def kubectl(self, *args: str, stdin: bytes | None = None) -> tuple[int, bytes, str]:
        """Run kubectl; return its exit code, output and complaints."""
        process = await self.spawn(*args, stdin=None if stdin is None else PIPE)
        async with asyncio.timeout(PATIENCE):
            out, err = await process.communicate(stdin)
        return process.returncode or 0, out, err.decode()


@asynccontextmanager
async def cluster_of(mesh: PrivateMesh, *containers: str) -> AsyncIterator[Cluster]:
    clock = SystemClock()
    registry = Registry(MemoryStore(clock), clock=clock)
    credentials = prepare_credentials(mesh.base / "pki", clock)
    listener = socket.create_server(("127.0.0.1", 0))
    write_kubeconfig(
        mesh.base / "kubeconfig",
        name="test",
        port=listener.getsockname()[1],
        credentials=credentials,
    )
    for name in ("default", "shop"):
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        await registry.create(NAMESPACES, body)
    created = await registry.create(PODS, pod(*(containers or ("app",))))
    async with mesh.connect() as shim, asyncio.TaskGroup() as group:
        streams = ContainerStreams(registry, shim, mesh.layout)
        server = ApiServer(
            registry,
            authenticator=CertificateAuthenticator(),
            streaming=streams,
            tokens=TokenIssuer(credentials.token_key, clock),
            clock=clock,
        )
        tls = tls_context(
            credentials.server_file, credentials.authority_pem, password=credentials.server_password
        )
        ready = asyncio.Event()
        serving = group.create_task(server.serve(listener, tls=tls, ready=ready.set))
        await ready.wait()
        yield Cluster(mesh, shim, registry, streams, created["metadata"]["uid"])
        serving.cancel()


@needs_kubectl
async def test_logs(mesh: PrivateMesh) -> None:
    async with cluster_of(mesh) as cluster:
        await cluster.start("app", "sh", "-c", "echo one; echo two >&2; echo three")
        await mesh.wait_end(cluster.shim, f"{cluster.uid}/app/0")

        assert sorted((await cluster.kubectl("logs", "web"))[1].split()) == [
            b"one",
            b"three",
            b"two",
        ]
        assert len((await cluster.kubectl("logs", "web", "--tail=1"))[1].splitlines()) == 1
        _, stamped, _ = await cluster.kubectl("logs", "web", "--timestamps", "-c", "app")
        assert all(line[:2] == b"20" and len(line.split()) == 2 for line in stamped.splitlines())


@needs_kubectl
async def test_logs_that_do_not_exist_are_explained(mesh: PrivateMesh) -> None:
    async with cluster_of(mesh) as cluster:
        code, _, waiting = await cluster.kubectl("logs", "web")
        _, _, unknown = await cluster.kubectl("logs", "web", "-c", "nope")
        await cluster.start("app", "true")
        _, _, previous = await cluster.kubectl("logs", "web", "--previous")

    assert code == 1
    assert 'container "app" in pod "web" is waiting to start: ContainerCreating' in waiting
    assert "container nope is not valid for pod web" in unknown
    assert 'previous terminated container "app" in pod "web" not found' in previous


@needs_kubectl
async def test_following_a_log_ends_with_the_container(mesh: PrivateMesh) -> None:
    async with cluster_of(mesh) as cluster:
        await cluster.start("app", "sh", "-c", "for i in 1 2 3; do echo $i; sleep .2; done")

        assert await cluster.kubectl("logs", "-f", "web") == (0, b"1\n2\n3\n", "")


@needs_kubectl
async def test_the_newest_attempt_is_the_current_one(mesh: PrivateMesh) -> None:
    async with cluster_of(mesh) as cluster:
        for attempt in (9, 10):
            await cluster.start("app", "sh", "-c", f"echo {attempt}; sleep 1000", attempt=attempt)
        paths = sorted((mesh.layout.logs / f"shop_web_{cluster.uid}" / "app").iterdir())
        await eventually(lambda: all(path.stat().st_size for path in paths), "both have written")
        script = ("sh", "-c", "tr '\\0' ' ' < /proc/2/cmdline")

        assert (await cluster.kubectl("logs", "web"))[1] == b"10\n"
        assert (await cluster.kubectl("logs", "web", "--previous"))[1] == b"9\n"
        assert b"echo 10" in (await cluster.kubectl("exec", "web", "--", *script))[1]


@needs_kubectl
async def test_exec(mesh: PrivateMesh) -> None:
    async with cluster_of(mesh) as cluster:
        await cluster.start("app")

        code, out, err = await cluster.kubectl(
            "exec", "web", "--", "sh", "-c", "echo out; echo err >&2; exit 7"
        )

    assert (code, out) == (7, b"out\n")
    assert err == "err\ncommand terminated with exit code 7\n"


@needs_kubectl
async def test_exec_reports_a_fatal_signal_as_a_shell_does(mesh: PrivateMesh) -> None:
    async with cluster_of(mesh) as cluster:
        await cluster.start("app")

        code, _, _ = await cluster.kubectl("exec", "web", "--", "sh", "-c", "kill -9 $$")

    assert code == 137


@needs_kubectl
async def test_exec_passes_five_megabytes_through_stdin_and_stdout(mesh: PrivateMesh) -> None:
    data = os.urandom(5 * 1024 * 1024)
    async with cluster_of(mesh) as cluster:
        await cluster.start("app")

        code, out, _ = await cluster.kubectl("exec", "-i", "web", "--", "cat", stdin=data)

    assert code == 0
    assert hashlib.sha256(out).digest() == hashlib.sha256(data).digest()


@needs_kubectl
async def test_exec_takes_the_container_that_is_named_or_the_default(mesh: PrivateMesh) -> None:
    command = ("--", "sh", "-c", "tr '\\0' ' ' < /proc/2/cmdline")
    async with cluster_of(mesh, "app", "istio-proxy") as cluster:
        await cluster.start("app", "sleep", "1001")
        await cluster.start("istio-proxy", "sleep", "1002")

        assert b"1001" in (await cluster.kubectl("exec", "web", *command))[1]
        assert b"1002" in (await cluster.kubectl("exec", "web", "-c", "istio-proxy", *command))[1]
        _, _, unknown = await cluster.kubectl("exec", "web", "-c", "nope", *command)
        note = "kubectl.kubernetes.io/default-container=istio-proxy"
        await cluster.kubectl("annotate", "pod", "web", note)
        assert b"1002" in (await cluster.kubectl("exec", "web", *command))[1]

    assert "container nope is not valid for pod web" in unknown


@needs_kubectl
async def test_exec_says_what_is_missing(mesh: PrivateMesh) -> None:
    async with cluster_of(mesh) as cluster:
        _, _, stopped = await cluster.kubectl("exec", "web", "--", "true")
        await cluster.start("app")
        code, _, missing = await cluster.kubectl("exec", "web", "--", "nothere")

    assert 'container not found ("app")' in stopped
    assert code == 1
    assert "program 'nothere' not found in PATH" in missing


@needs_kubectl
async def test_exec_does_not_wait_for_what_it_leaves_in_the_background(mesh: PrivateMesh) -> None:
    async with cluster_of(mesh) as cluster:
        await cluster.start("app")

        code, out, _ = await cluster.kubectl("exec", "web", "--", "sh", "-c", "sleep 999 & echo up")

    assert (code, out) == (0, b"up\n")


@needs_kubectl
async def test_a_program_whose_user_has_gone_is_ended(mesh: PrivateMesh) -> None:
    program = sleep_of_ours(6666)
    async with cluster_of(mesh) as cluster:
        await cluster.start("app")
        process = await cluster.spawn("exec", "-i", "web", "--", *program, stdin=PIPE)
        await eventually(lambda: processes_of(*program), "it runs")
        process.send_signal(signal.SIGKILL)
        await process.communicate()

        await eventually(lambda: not processes_of(*program), "it was ended")


# Below: a client of our own, for what kubectl does not show.


class Client:
    """The client's side of one exec, over a socket pair."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._socket = WSConnection(ConnectionType.CLIENT)
        self.events: list[object] = []

    def send(self, event: object) -> None:
        self._writer.write(self._socket.send(event))

    def send_raw(self, data: bytes) -> None:
        self._writer.write(data)

    def hello(self, *protocols: str) -> tuple[tuple[bytes, bytes], ...]:
        """Return the headers of a handshake; what is on the wire is the server's affair."""
        raw = self._socket.send(Request(host="x", target="/exec", subprotocols=list(protocols)))
        lines = raw.decode().split("\r\n")[1:-2]
        pairs = [line.split(": ", 1) for line in lines]
        return tuple((name.lower().encode(), value.encode()) for name, value in pairs)

    async def until(self, kind: type, count: int = 1) -> Sequence[object]:
        """Return the first `count` events of a kind."""
        async with asyncio.timeout(PATIENCE):
            while len(found := [one for one in self.events if isinstance(one, kind)]) < count:
                data = await self._reader.read(65536)
                assert data, self.events
                self._socket.receive_data(data)
                self.events += self._socket.events()
        return found

    def channel(self, number: int) -> bytes:
        messages = [bytes(one.data) for one in self.events if isinstance(one, BytesMessage)]
        return b"".join(data[1:] for data in messages if data[0] == number)


@asynccontextmanager
async def own_client(
    cluster: Cluster, *command: str, protocols: Sequence[str] = ("v5.channel.k8s.io",)
) -> AsyncIterator[tuple[Client, asyncio.Task[None]]]:
    theirs, ours = socket.socketpair()
    server = await asyncio.open_connection(sock=theirs)
    client = Client(*await asyncio.open_connection(sock=ours))
    request = ExecRequest(
        namespace="shop", pod="web", command=command, stdin=True, target="/exec",
        headers=client.hello(*protocols),
    )  # fmt: skip
    async with asyncio.TaskGroup() as group:
        serving = group.create_task(cluster.streams.exec(request, *server))
        try:
            yield client, serving
        finally:
            for writer in (client._writer, server[1]):
                writer.close()


@pytest.mark.parametrize("protocol", ["v5.channel.k8s.io", "v4.channel.k8s.io"])
async def test_the_end_is_a_status_and_a_close(mesh: PrivateMesh, protocol: str) -> None:
    async with cluster_of(mesh) as cluster:
        await cluster.start("app")
        async with own_client(cluster, "sh", "-c", "exit 3", protocols=(protocol,)) as (client, _):
            (accepted,) = await client.until(AcceptConnection)
            (closed,) = await client.until(CloseConnection)

    assert accepted.subprotocol == protocol
    assert closed.code == 1000
    status = json.loads(client.channel(3))
    assert (status["status"], status["reason"]) == ("Failure", "NonZeroExitCode")
    assert status["details"]["causes"] == [{"reason": "ExitCode", "message": "3"}]


async def test_pings_are_answered_while_the_program_is_silent(mesh: PrivateMesh) -> None:
    async with cluster_of(mesh) as cluster:
        await cluster.start("app")
        async with own_client(cluster, "cat") as (client, serving):
            await client.until(AcceptConnection)
            for number in range(3):
                client.send(Ping(payload=b"%d" % number))
            pongs = await client.until(Pong, 3)
            client.send(CloseConnection(code=1000))
            await client.until(CloseConnection)
            await asyncio.wait_for(serving, PATIENCE)

    assert [bytes(pong.payload) for pong in pongs] == [b"0", b"1", b"2"]


async def test_a_fragmented_message_is_one_message(mesh: PrivateMesh) -> None:
    async with cluster_of(mesh) as cluster:
        await cluster.start("app")
        async with own_client(cluster, "cat") as (client, _):
            await client.until(AcceptConnection)
            client.send(BytesMessage(data=b"\0one", message_finished=False))
            client.send(BytesMessage(data=b" two", message_finished=False))
            client.send(BytesMessage(data=b" three\n"))
            client.send(BytesMessage(data=b"\xff\0"))
            await client.until(CloseConnection)

    assert client.channel(1) == b"one two three\n"
    assert json.loads(client.channel(3))["status"] == "Success"


@pytest.mark.parametrize(
    "noise",
    [
        pytest.param(b"\x00" * 1000, id="unmasked frames"),
        pytest.param(b"\xff" * 1000, id="garbage"),
        pytest.param(b"", id="nothing, and gone"),
    ],
)
async def test_a_client_that_breaks_the_protocol_ends_its_exec(
    mesh: PrivateMesh, noise: bytes
) -> None:
    program = sleep_of_ours(6767)
    async with cluster_of(mesh) as cluster:
        await cluster.start("app")
        async with own_client(cluster, *program) as (client, serving):
            await client.until(AcceptConnection)
            await eventually(lambda: processes_of(*program), "it runs")
            client.send_raw(noise)
            if not noise:
                client._writer.close()
            await asyncio.wait_for(serving, PATIENCE)

        await eventually(lambda: not processes_of(*program), "it was ended")


async def test_input_after_the_program_stopped_reading_is_harmless(mesh: PrivateMesh) -> None:
    async with cluster_of(mesh) as cluster:
        await cluster.start("app")
        command = ("sh", "-c", "exec 0<&-; sleep .5; echo done")
        async with own_client(cluster, *command) as (client, _):
            await client.until(AcceptConnection)
            for _ in range(20):
                client.send(BytesMessage(data=b"\0" + b"x" * 30_000))
            await client.until(CloseConnection)

    assert client.channel(1) == b"done\n"


async def test_what_is_not_supported_is_refused_before_the_upgrade(mesh: PrivateMesh) -> None:
    async with cluster_of(mesh) as cluster:
        await cluster.start("app")
        reader, writer = await asyncio.open_connection(sock=(pair := socket.socketpair())[0])
        pair[1].close()
        spdy = ((b"connection", b"Upgrade"), (b"upgrade", b"SPDY/3.1"))
        for headers in (spdy, Client(reader, writer).hello("v1.channel.k8s.io")):
            request = ExecRequest(namespace="shop", pod="web", command=("true",), headers=headers)
            with pytest.raises(MutuaError, match=r"exec (is offered over|needs the) WebSocket"):
                await cluster.streams.exec(request, reader, writer)
        with pytest.raises(MutuaError, match=r"a terminal \(-t\) is not supported yet"):
            await cluster.streams.exec(replace(request, tty=True), reader, writer)
        writer.close()


async def test_a_log_can_be_limited_and_followed_directly(mesh: PrivateMesh) -> None:
    async with cluster_of(mesh) as cluster:
        await cluster.start("app", "sh", "-c", "while echo line; do sleep .02; done")
        options = LogOptions(follow=True, limit_bytes=32)

        chunks = [chunk async for chunk in cluster.streams.logs("shop", "web", options)]

    assert b"".join(chunks) == b"line\n" * 6 + b"li"


def test_descriptors_do_not_leak(mesh: PrivateMesh) -> None:
    async def many(most: int) -> None:
        async with cluster_of(mesh) as cluster:
            await cluster.start("app")
            for _ in range(20):
                async with own_client(cluster, "true") as (client, _):
                    await client.until(CloseConnection)
            await eventually(lambda: open_files() <= most, "they are closed")

    asyncio.run(many(asyncio.run(few(mesh)) + 2))


async def few(mesh: PrivateMesh) -> int:
    async with cluster_of(mesh) as cluster:
        await cluster.start("app")
        return open_files()


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
