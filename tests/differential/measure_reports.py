"""What does it cost a proxy to report plaintext requests?  Run by hand on a quiet machine.

python tests/differential/measure_reports.py [requests]

Two Envoys with the same configuration, one without reports, take turns under the same load.
"""

import asyncio
import importlib.util
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from mutua.api.object import PODS, SERVICES
from mutua.model.build import build_snapshot
from mutua.testing.mesh import pod, service
from mutua.xds.compile import compile_proxy
from mutua.xds.server import LogReader, serve_workload

ROUNDS = 5
CONNECTIONS = 4
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


def shared() -> Any:
    """Return what the tests next to this file share."""
    spec = importlib.util.spec_from_file_location("shared", Path(__file__).with_name("conftest.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["shared"] = module
    spec.loader.exec_module(module)
    return module


def silence(value: Any) -> None:
    """Take every access log away."""
    if isinstance(value, dict):
        for name in ("access_log", "access_log_options"):
            value.pop(name, None)
    for inner in value.values() if isinstance(value, dict) else value:
        if isinstance(inner, dict | list):
            silence(inner)


def processor_seconds(directory: Path) -> float:
    """Return the processor time of the Envoy that runs from a directory."""
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            if str(directory / "envoy.json") not in (folder / "cmdline").read_text():
                continue
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    raise AssertionError(f"no Envoy runs from {directory}")


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(ANSWER)
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def call(port: int, target: int, requests: int) -> list[float]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"PROXY TCP4 127.0.0.1 127.0.0.1 4000 {target}\r\n".encode())
    took = []
    for _ in range(requests):
        begin = time.perf_counter()
        writer.write(b"GET / HTTP/1.1\r\nHost: web\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(2)
        took.append(time.perf_counter() - begin)
    writer.close()
    return took


async def main(requests: int) -> None:
    tests = shared()
    application = await asyncio.start_server(answer, "127.0.0.1", 0)
    target = application.sockets[0].getsockname()[1]
    port = {"name": "http", "port": 80, "targetPort": target}
    objects = {PODS: [pod("shop", "web", "127.0.0.1")], SERVICES: [service("shop", "web", port)]}
    compiled = compile_proxy(build_snapshot(objects), "shop-web")
    with tempfile.TemporaryDirectory(prefix="mutua-") as folder:
        loud, quiet = (Path(folder, name) for name in ("loud", "quiet"))
        for directory in (loud, quiet):
            directory.mkdir()
        secrets = tests.Issuer(Path(folder, "pki")).issue("web").secrets()
        heard: list[Any] = []
        server = await serve_workload({loud / "XDS": [LogReader().handler(heard.append)]})
        with (
            tests.running(loud, compiled, secrets) as reporting,
            tests.running(
                quiet, compiled, secrets, lambda _, listeners: silence(listeners)
            ) as other,
        ):
            for label, envoy, directory in (
                ("without reports", other, quiet),
                ("with reports", reporting, loud),
            ) * ROUNDS:
                await measure(label, envoy.ports["virtualInbound"], directory, target, requests)
            await asyncio.sleep(2)
        await server.stop()
        print(f"reported {len(heard)} of {ROUNDS * (requests // CONNECTIONS) * CONNECTIONS}")


async def measure(label: str, port: int, directory: Path, target: int, requests: int) -> None:
    before = processor_seconds(directory)
    each = requests // CONNECTIONS
    took = await asyncio.gather(*(call(port, target, each) for _ in range(CONNECTIONS)))
    spent = (processor_seconds(directory) - before) / (each * CONNECTIONS)
    median = statistics.median(one for some in took for one in some)
    print(
        f"{label:16} {spent * 1e6:6.1f} us of processor, median {median * 1e6:7.1f} us, a request"
    )


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000))
