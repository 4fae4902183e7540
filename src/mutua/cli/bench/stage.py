"""Where benchmarks happen: a private mesh in a temporary directory, and what is asked of it."""

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
from typing import Any, Final

from lightkube import Client

from mutua.api.object import DEPLOYMENTS, PODS, Object
from mutua.cli.apply import apply_objects
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
        done = self.client.exec(
            self.pod(app)["metadata"]["name"],
            container=container,
            command=list(argv),
            stdout=True,
            stderr=True,
            timeout=PATIENCE,
        )
        if done.exit_code:
            raise Unavailable(f"{' '.join(argv)} failed in {app}: {done.stderr}")
        return str(done.stdout)

    def load(
        self, app: str, container: str, host: str, port: int, *, connections: int, seconds: float
    ) -> dict[str, Any]:
        """Load a server from inside a pod; see `mutua.cli.bench.load`."""
        argv = [sys.executable, "-m", "mutua.cli.bench.load"]
        argv += [host, str(port), str(connections), str(seconds)]
        answer: dict[str, Any] = json.loads(self.exec(app, container, argv))
        if answer["failures"] or not answer["requests"]:
            raise Unavailable(f"{answer['failures']} requests failed in {app}")
        return answer


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
