"""A real Envoy on unix sockets: no ports, no root, no namespaces."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from mutua.runtime.envoy import envoy_command, find_envoy
from mutua.xds.bootstrap import Sidecar, bootstrap

DEADLINE = 20.0


async def eventually(holds: Callable[[], Any], what: str) -> Any:
    """Poll until `holds` (plain or async) answers something true, and return that."""
    async with asyncio.timeout(DEADLINE):
        while True:
            answer = holds()
            if asyncio.iscoroutine(answer):
                answer = await answer
            if answer:
                return answer
            await asyncio.sleep(0.005)
    raise AssertionError(what)


async def get(socket: Path, path: str) -> tuple[int, str]:
    """One HTTP request over a unix socket; status 0 when nobody answers."""
    try:
        reader, writer = await asyncio.open_unix_connection(str(socket))
    except OSError:
        return 0, ""
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        data = await reader.read()
    except OSError:
        return 0, ""
    finally:
        writer.close()
    head, _, body = data.partition(b"\r\n\r\n")
    if not head:
        return 0, ""
    if b"transfer-encoding: chunked" in head.lower():
        body = dechunk(body)
    return int(head.split()[1]), body.decode()


def dechunk(body: bytes) -> bytes:
    out = b""
    while body:
        size, _, rest = body.partition(b"\r\n")
        length = int(size or b"0", 16)
        if not length:
            break
        out, body = out + rest[:length], rest[length + 2 :]
    return out


class Envoy:
    """One running Envoy and the directory of its sockets."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.xds = directory / "XDS"
        self.sds = directory / "SDS"
        self.admin = directory / "admin"
        self.log = directory / "envoy.log"

    def listener(self, name: str) -> Path:
        return self.directory / name

    @asynccontextmanager
    async def run(self) -> AsyncIterator["Envoy"]:
        config = self.directory / "bootstrap.json"
        config.write_text(json.dumps(self.bootstrap()))
        with self.log.open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *envoy_command(str(find_envoy()), str(config), concurrency=1),
                stdout=log,
                stderr=log,
            )
        try:
            yield self
        finally:
            process.kill()
            await process.wait()

    def bootstrap(self) -> dict[str, Any]:
        sidecar = Sidecar(
            pod="web-1", namespace="shop", address="10.0.0.1", service_account="web",
            xds_socket=str(self.xds), sds_socket=str(self.sds),
        )  # fmt: skip
        value = bootstrap(sidecar)
        value["admin"]["address"] = {"pipe": {"path": str(self.admin)}}
        value["static_resources"]["clusters"][0]["load_assignment"]["endpoints"][0][
            "lb_endpoints"
        ][0]["endpoint"]["address"] = {"pipe": {"path": str(self.admin)}}
        for listener in value["static_resources"]["listeners"]:
            listener["address"] = {"pipe": {"path": str(self.listener(listener["name"]))}}
        return value

    async def stat(self, name: str) -> int:
        _status, body = await get(self.admin, f"/stats?filter=^{name}$")
        return int(body.rpartition(":")[2]) if ":" in body else 0

    async def is_live(self) -> bool:
        return (await get(self.admin, "/ready"))[0] == 200

    async def dump(self, what: str) -> Any:
        _status, body = await get(self.admin, f"/config_dump?resource={what}")
        return json.loads(body)


@pytest.fixture
def envoy(tmp_path_factory: pytest.TempPathFactory) -> Envoy:
    return Envoy(tmp_path_factory.mktemp("e"))
