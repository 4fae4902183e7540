"""A real Envoy without a network: every address is a unix socket in one directory.

No ports to collide, no root, no namespaces.  The bootstrap is the sidecar's own, with its
addresses moved into the directory.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from mutua.runtime.envoy import envoy_command, find_envoy
from mutua.xds.bootstrap import Sidecar, bootstrap
from mutua.xds.proto import NAMES, from_json, type_url
from mutua.xds.resource import Resource, resource

FROM_ADS: Final = {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"}
"""Awaited for ever, as by a proxy of a mesh: what is missing shows."""


class Envoy:
    """One Envoy and the sockets around it.

    Attributes:
        directory: Short, private; holds everything.
        xds: Where the control plane listens.
        sds: Where the agent listens.
        admin: Envoy's admin interface.
        log: What Envoy says.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.xds = directory / "XDS"
        self.sds = directory / "SDS"
        self.admin = directory / "admin"
        self.log = directory / "envoy.log"
        self.pid = 0

    @asynccontextmanager
    async def running(self, *, concurrency: int = 1) -> AsyncIterator["Envoy"]:
        """Run it until the block ends."""
        config = self.directory / "bootstrap.json"
        config.write_text(json.dumps(self.bootstrap()))
        command = envoy_command(str(find_envoy()), str(config), concurrency=concurrency)
        with self.log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log)
        self.pid = process.pid
        try:
            yield self
        finally:
            process.kill()
            await process.wait()

    def bootstrap(self) -> dict[str, Any]:
        """Return the sidecar's bootstrap with its addresses moved."""
        sidecar = Sidecar(
            pod="web-1",
            namespace="shop",
            address="10.0.0.1",
            service_account="web",
            xds_socket=str(self.xds),
            sds_socket=str(self.sds),
        )
        value = bootstrap(sidecar)
        value["admin"]["address"] = _pipe(self.admin)
        static = value["static_resources"]
        for cluster in static["clusters"]:
            endpoint = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
            if "socket_address" in endpoint["address"]:
                endpoint["address"] = _pipe(self.admin)
        for listener in static["listeners"]:
            listener["address"] = _pipe(self.directory / listener["name"])
        return value

    async def get(self, listener: str, path: str = "/") -> tuple[int, str]:
        """Request a path from a listener (or "admin"); status 0 when nobody answers."""
        try:
            return await _get(self.directory / listener, path)
        except (OSError, asyncio.IncompleteReadError):
            return 0, ""

    async def stat(self, name: str) -> int:
        """Return one counter or gauge, 0 when there is none."""
        _status, body = await self.get("admin", f"/stats?filter=^{name}$")
        return int(body.rpartition(":")[2]) if ":" in body else 0

    async def is_live(self) -> bool:
        """Tell whether Envoy has all it needs to serve."""
        return (await self.get("admin", "/ready"))[0] == 200


def listener(envoy: Envoy, name: str, *, body: str = "", route: str = "") -> Resource:
    """Return a listener that answers every request with `body`, or as an RDS route says."""
    source: dict[str, Any] = {"route_config": _routes(body)}
    if route:
        source = {"rds": {"route_config_name": route, "config_source": FROM_ADS}}
    manager = {
        "@type": type_url(NAMES["HttpConnectionManager"]),
        "stat_prefix": name,
        "http_filters": [{"name": "router", "typed_config": {"@type": type_url(NAMES["Router"])}}],
        **source,
    }
    value = {
        "name": name,
        "address": _pipe(envoy.directory / name),
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }
    return _resource("Listener", name, value)


def route(name: str, body: str) -> Resource:
    """Return a route configuration that answers every request with `body`."""
    return _resource("RouteConfiguration", name, {"name": name, **_routes(body)})


def cluster(name: str, *, connect_timeout: str = "1s") -> Resource:
    """Return a cluster whose endpoints come through EDS."""
    value = {
        "name": name,
        "type": "EDS",
        "connect_timeout": connect_timeout,
        "eds_cluster_config": {"eds_config": FROM_ADS},
    }
    return _resource("Cluster", name, value)


def endpoints(name: str, port: int) -> Resource:
    """Return one endpoint on loopback."""
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    value = {
        "cluster_name": name,
        "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
    }
    return _resource("ClusterLoadAssignment", name, value)


def _routes(body: str) -> dict[str, Any]:
    answer = {"status": 200, "body": {"inline_string": body}}
    match = {"match": {"prefix": "/"}, "direct_response": answer}
    return {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [match]}]}


def _resource(short: str, name: str, value: dict[str, Any]) -> Resource:
    return resource(name, from_json(NAMES[short], value).SerializeToString(deterministic=True))


def _pipe(path: Path) -> dict[str, Any]:
    return {"pipe": {"path": str(path)}}


async def _get(socket: Path, path: str) -> tuple[int, str]:
    reader, writer = await asyncio.open_unix_connection(str(socket))
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        # Not until the end of the connection: Envoy waits a second for us to close it.
        length = re.search(r"content-length: (\d+)", head)
        body = await (reader.readexactly(int(length[1])) if length else _chunks(reader))
    finally:
        writer.close()
    return int(head.split()[1]), body.decode()


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    whole = b""
    while size := int(await reader.readline(), 16):
        whole += await reader.readexactly(size)
        await reader.readline()
    return whole
