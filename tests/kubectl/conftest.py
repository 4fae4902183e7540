"""The real kubectl against an in-process API server: no node, no controllers, no mesh."""

import asyncio
import shutil
import socket
import subprocess
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
from typing_extensions import override

from mutua.api.object import NAMESPACES, Object
from mutua.cluster.apiserver.auth import CertificateAuthenticator, FirstOf, TokenAuthenticator
from mutua.cluster.apiserver.credentials import prepare_credentials, write_kubeconfig
from mutua.cluster.apiserver.http import tls_context
from mutua.cluster.apiserver.registry import Registry
from mutua.cluster.apiserver.server import ApiServer
from mutua.cluster.apiserver.streaming_port import ExecRequest, LogOptions, StreamingBackend
from mutua.cluster.apiserver.token_review import TokenReviewer
from mutua.cluster.apiserver.tokens import TokenIssuer
from mutua.foundation.clock import SystemClock
from mutua.foundation.errors import Rejected
from mutua.store.sqlite import SqliteStore

PATIENCE = 60.0
"""Seconds after which a command that does not end is a failure."""

T = TypeVar("T")


class ScriptedContainers(StreamingBackend):
    """Answers logs from a list; refuses exec."""

    def __init__(self) -> None:
        self.asked: list[LogOptions] = []

    @override
    async def logs(self, namespace: str, pod: str, options: LogOptions) -> AsyncIterator[bytes]:
        self.asked.append(options)
        if options.container not in {"", "app"}:
            raise Rejected(f"container {options.container} is not valid for pod {pod}")
        yield b"first line\n"
        yield b"second line\n"

    @override
    async def exec(
        self, request: ExecRequest, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        raise Rejected(f"this pod cannot run {' '.join(request.command)}")


@dataclass
class Cluster:
    """A running API server and the means to talk to it."""

    home: Path
    loop: asyncio.AbstractEventLoop
    registry: Registry
    port: int
    containers: ScriptedContainers = field(default_factory=ScriptedContainers)

    @property
    def kubeconfig(self) -> Path:
        return self.home / "kubeconfig"

    @property
    def environment(self) -> dict[str, str]:
        return {
            "HOME": str(self.home),
            "KUBECONFIG": str(self.kubeconfig),
            "KUBECACHEDIR": str(self.home / "cache"),
            "PATH": "/usr/local/bin:/usr/bin:/bin",
        }

    def kubectl(self, *args: str, stdin: str = "", fails: bool = False) -> str:
        """Run kubectl; return its output, or its complaint when it must fail."""
        done = subprocess.run(
            ["kubectl", *args],
            input=stdin,
            capture_output=True,
            text=True,
            env=self.environment,
            cwd=self.home,
            timeout=PATIENCE,
            check=False,
        )
        assert (done.returncode != 0) is fails, f"{args}: {done.returncode}\n{done.stderr}"
        return done.stderr if fails else done.stdout + done.stderr

    def start(self, *args: str) -> subprocess.Popen[str]:
        """Start a kubectl that keeps running; the caller ends it (`with`)."""
        return subprocess.Popen(
            ["kubectl", *args],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self.environment,
            cwd=self.home,
        )

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine where the server runs, as a controller would."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(PATIENCE)


async def _serve(home: Path, started: "list[Cluster]", is_up: threading.Event) -> None:
    clock = SystemClock()
    store = SqliteStore(home / "mesh.db", clock)
    registry = Registry(store, clock=clock)
    credentials = prepare_credentials(home / "pki", clock)
    tokens = TokenIssuer(credentials.token_key, clock)
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    write_kubeconfig(home / "kubeconfig", name="test", port=port, credentials=credentials)
    cluster = Cluster(home, asyncio.get_running_loop(), registry, port)
    server = ApiServer(
        registry,
        authenticator=FirstOf(
            [CertificateAuthenticator(), TokenAuthenticator(TokenReviewer(registry, tokens, clock))]
        ),
        streaming=cluster.containers,
        tokens=tokens,
        clock=clock,
    )
    for name in ("default", "istio-system"):
        namespace: Object = {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": name},
        }
        await registry.create(NAMESPACES, namespace)
    started.append(cluster)
    try:
        await server.serve(
            listener,
            tls=tls_context(
                credentials.server_file,
                credentials.authority_pem,
                password=credentials.server_password,
            ),
            ready=is_up.set,
        )
    finally:
        store.close()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    if shutil.which("kubectl") is None:
        pytest.fail("kubectl is not installed, and this tier is about nothing else")
    started: list[Cluster] = []
    is_up = threading.Event()
    stop = threading.Event()

    def work() -> None:
        async def until_stopped() -> None:
            serving = asyncio.ensure_future(_serve(tmp_path, started, is_up))
            while not stop.is_set() and not serving.done():
                await asyncio.wait([serving], timeout=0.02)
            serving.cancel()
            await asyncio.wait([serving])
            if not serving.cancelled() and (error := serving.exception()) is not None:
                failures.append(error)

        asyncio.run(until_stopped())

    failures: list[BaseException] = []
    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert is_up.wait(PATIENCE), failures
        yield started[0]
    finally:
        stop.set()
        thread.join(PATIENCE)
    assert failures == []
