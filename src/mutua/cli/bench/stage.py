"""Where benchmarks happen: a private mesh in a temporary directory, and what is asked of it."""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lightkube import AsyncClient, Client
from lightkube.types import ExecResponse

from mutua.api.object import DEPLOYMENTS, PODS, Object
from mutua.cli.apply import apply_objects
from mutua.cli.bench.load import Result
from mutua.cli.bench.manifest import NAMESPACE
from mutua.cli.client import connect, list_objects
from mutua.cli.settings import resolve_layout
from mutua.foundation.errors import Unavailable
from mutua.foundation.layout import Layout

PATIENCE: Final = 60.0
"""Seconds any single wait may take."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A mesh to measure."""

    layout: Layout
    client: Client

    def apply(self, objects: Sequence[Object]) -> None:
        """Create or change objects, in order."""
        for _ in apply_objects(self.client, objects):
            pass

    def wait_until_available(self) -> None:
        """Wait until every Deployment has all its pods, and no others are left.

        Raises:
            Unavailable: They did not come in time.
        """
        deadline = time.monotonic() + PATIENCE
        while not self._is_settled():
            if time.monotonic() > deadline:
                raise Unavailable("the benchmark's workloads did not become available")
            time.sleep(0.02)

    def _is_settled(self) -> bool:
        deployments = list_objects(self.client, DEPLOYMENTS, NAMESPACE)
        wanted = sum(d["spec"]["replicas"] for d in deployments)
        ready = [(d.get("status") or {}).get("availableReplicas", 0) for d in deployments]
        pods = list_objects(self.client, PODS, NAMESPACE)
        return bool(wanted == sum(ready) == len(pods))

    def pod(self, app: str) -> Object:
        """Return the first pod of a Deployment."""
        pods = list_objects(self.client, PODS, NAMESPACE)
        return next(pod for pod in pods if pod["metadata"]["labels"].get("app") == app)

    def exec(self, app: str, container: str, argv: Sequence[str]) -> str:
        """Run a program in a pod and return its output.

        Raises:
            Unavailable: It failed.
        """
        pod = self.pod(app)["metadata"]["name"]
        done = asyncio.run(self._exec(pod, container, argv))
        if done.exit_code:
            raise Unavailable(f"{' '.join(argv)} failed in {app}: {done.stderr}")
        return str(done.stdout)

    async def _exec(self, pod: str, container: str, argv: Sequence[str]) -> ExecResponse:
        """Run a program, with a client that may be used again afterwards.

        Not `Client.exec`: its WebSocket is closed while a thread of its own still reads from it.
        Once the descriptor's number belongs to the next connection, that thread takes bytes of
        the next TLS handshake, which then fails with WRONG_VERSION_NUMBER (httpx2 2.16, sync
        sessions only; an asyncio session cancels its reader before it closes).
        """
        async with AsyncClient(self.client.config, namespace=NAMESPACE) as client:
            return await client.exec(
                pod,
                container=container,
                command=list(argv),
                stdin=b"",  # lightkube asks for stdin always; empty, it ends at once
                stdout=True,
                stderr=True,
                timeout=PATIENCE,
            )

    def load(
        self, app: str, container: str, host: str, port: int, *, connections: int, seconds: float
    ) -> Result:
        """Load a server from inside a pod; see `mutua.cli.bench.load`.

        Raises:
            Unavailable: A request failed.
        """
        argv = [sys.executable, "-m", "mutua.cli.bench.load"]
        argv += [host, str(port), str(connections), str(seconds)]
        result = Result(**json.loads(self.exec(app, container, argv)))
        if result.failures:
            raise Unavailable(f"{result.failures} requests from {app} to {host} failed")
        return result


@contextmanager
def private_mesh() -> Iterator[tuple[Stage, float]]:
    """Start a mesh, yield it with the instant at which `mutua up` was called, and remove it."""
    with tempfile.TemporaryDirectory(prefix="mutua-bench-", ignore_cleanup_errors=True) as folder:
        environ = {**os.environ, "MUTUA_NAME": "bench", "MUTUA_STATE_DIR": f"{folder}/state"}
        layout = resolve_layout(None, None, environ=environ, uid=os.getuid())
        begin = time.monotonic()
        try:
            _mutua(environ, "up")
            with connect(layout, NAMESPACE) as client:
                yield Stage(layout, client), begin
        finally:
            _mutua(environ, "down", "--purge", "--grace", "1")


def _mutua(environ: dict[str, str], *argv: str) -> None:
    done = subprocess.run(  # noqa: S603 - ourselves
        [sys.executable, "-m", "mutua", *argv],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        cwd=Path("/"),
    )
    if done.returncode != 0:
        raise Unavailable(f"mutua {argv[0]} failed: {done.stderr.strip()}")
