"""Real Envoys, given certificates by the agent, on loopback."""

import asyncio
import json
import ssl
import tempfile
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mutua.agent.agent import Agent
from mutua.agent.issuer import LocalIssuer
from mutua.agent.sds import sds_handler
from mutua.agent.secret import SecretSource
from mutua.agent.workload import Workload
from mutua.foundation.clock import SystemClock
from mutua.foundation.spiffe import SpiffeId
from mutua.identity.authority import Authority
from mutua.runtime.envoy import find_envoy
from mutua.xds.server import serve_workload

TD = "cluster.local"
PATIENCE = 40.0
"""Seconds a condition may take on a busy machine."""


class SteppedClock(SystemClock):
    """The real wall clock plus a step."""

    def __init__(self) -> None:
        self.step = timedelta()

    def now(self) -> datetime:
        return super().now() + self.step


@dataclass
class Mesh:
    """An authority, an agent, and where everything lives."""

    directory: Path
    clock: SteppedClock = field(default_factory=SteppedClock)

    def __post_init__(self) -> None:
        # The authority keeps real time: only the agent's idea of now is stepped.
        self.authority = Authority.load_or_create(self.directory / "pki", TD, SystemClock())
        self.agent = Agent(LocalIssuer(self.authority), self.clock, lambda: 0.5)

    def identity(self, name: str) -> SpiffeId:
        return SpiffeId(TD, "shop", name)

    def certs(self, name: str) -> Path:
        return self.directory / name / "certs"

    async def add(self, name: str) -> SecretSource:
        (self.directory / name).mkdir(exist_ok=True)
        return await self.agent.add(
            Workload(uid=name, identity=self.identity(name), certs_dir=self.certs(name))
        )

    @asynccontextmanager
    async def serving(self, name: str) -> AsyncIterator[Path]:
        source = await self.add(name)
        socket = self.directory / name / "socket"
        server = await serve_workload({socket: [sds_handler(source)]})
        try:
            yield socket
        finally:
            await server.stop()

    def client(self, name: str, *, roots: str = "") -> ssl.SSLContext:
        """Python's OpenSSL as a peer that reads the certificate files."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_verify_locations(cadata=roots or self.authority.roots_pem)
        if name:
            certs = self.certs(name)
            context.load_cert_chain(certs / "cert-chain.pem", certs / "key.pem")
        return context


@dataclass
class Proxy:
    """A running Envoy."""

    admin: str
    port: int

    def ask(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://{self.admin}{path}", timeout=5) as answer:
            return json.load(answer)

    def is_live(self) -> bool:
        with urllib.request.urlopen(f"http://{self.admin}/ready", timeout=5) as answer:
            return answer.read() == b"LIVE\n"


@pytest.fixture
def mesh() -> Any:
    with tempfile.TemporaryDirectory(prefix="mutua-") as directory:  # short: socket paths
        yield Mesh(Path(directory))


@pytest.fixture
def envoy() -> Path:
    return find_envoy()


@asynccontextmanager
async def running(binary: Path, directory: Path, bootstrap: dict[str, Any]) -> AsyncIterator[Proxy]:
    """Run one Envoy until the block ends."""
    config, address = directory / "envoy.json", directory / "admin"
    address.unlink(missing_ok=True)
    config.write_text(json.dumps(bootstrap))
    with (directory / "envoy.log").open("w") as log:
        process = await asyncio.create_subprocess_exec(
            *(str(binary), "-c", str(config), "--admin-address-path", str(address)),
            *("--disable-hot-restart", "--concurrency", "1", "-l", "warning"),
            stdout=log,
            stderr=log,
        )
    try:
        await until(lambda: address.exists() and address.read_text() != "")
        proxy = Proxy(admin=address.read_text(), port=0)
        await until(lambda: proxy.is_live() and _port(proxy) != 0)
        yield proxy
    except TimeoutError:
        print((directory / "envoy.log").read_text())
        raise
    finally:
        process.kill()
        await process.wait()


def _port(proxy: Proxy) -> int:
    statuses = proxy.ask("/listeners?format=json").get("listener_statuses", [])
    for status in statuses:
        proxy.port = status["local_address"]["socket_address"]["port_value"]
    return proxy.port


async def until(condition: Callable[[], object]) -> None:
    """Wait for a condition, checked in a thread because it may talk to an Envoy."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                if await asyncio.to_thread(condition):
                    return
            except OSError:
                pass
            await asyncio.sleep(0.05)


def server_bootstrap(socket: Path, *, api: str = "DELTA_GRPC") -> dict[str, Any]:
    """An Envoy that demands a certificate and answers with its peer's identity."""
    identity = {"key": "peer", "value": "%DOWNSTREAM_PEER_URI_SAN%"}
    version = {"key": "tls", "value": "%DOWNSTREAM_TLS_VERSION%"}
    return _bootstrap(
        socket,
        api,
        {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "direct_response": {"status": 200}}],
                }
            ],
            "response_headers_to_add": [{"header": identity}, {"header": version}],
        },
        downstream=_tls("DownstreamTlsContext", api, require_client_certificate=True),
    )


def client_bootstrap(socket: Path, port: int, expect: str) -> dict[str, Any]:
    """An Envoy that takes plaintext and speaks mutual TLS to one identity."""
    bootstrap = _bootstrap(
        socket,
        "DELTA_GRPC",
        {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "peer"}}],
                }
            ]
        },
    )
    bootstrap["static_resources"]["clusters"].append(
        {
            "name": "peer",
            "type": "STATIC",
            "load_assignment": _endpoints("peer", {"socket_address": _loopback(port)}),
            "transport_socket": _tls("UpstreamTlsContext", "DELTA_GRPC", expect=expect),
        }
    )
    return bootstrap


def _bootstrap(
    socket: Path, api: str, routes: dict[str, Any], downstream: dict[str, Any] | None = None
) -> dict[str, Any]:
    manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network."
        "http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "http",
        "route_config": {"name": "all", **routes},
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
                },
            }
        ],
    }
    chain: dict[str, Any] = {"filters": [{"name": "hcm", "typed_config": manager}]}
    if downstream is not None:
        chain["transport_socket"] = downstream
    return {
        "node": {"id": "test", "cluster": "test"},
        "admin": {"address": {"socket_address": _loopback(0)}},
        "static_resources": {
            "listeners": [
                {
                    "name": "in",
                    "address": {"socket_address": _loopback(0)},
                    "filter_chains": [chain],
                }
            ],
            "clusters": [
                {
                    "name": "sds-grpc",
                    "type": "STATIC",
                    "typed_extension_protocol_options": {
                        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                            "@type": "type.googleapis.com/"
                            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                            "explicit_http_config": {"http2_protocol_options": {}},
                        }
                    },
                    "load_assignment": _endpoints("sds-grpc", {"pipe": {"path": str(socket)}}),
                }
            ],
        },
    }


def _tls(kind: str, api: str, *, expect: str = "", **more: Any) -> dict[str, Any]:
    source = {
        "resource_api_version": "V3",
        "initial_fetch_timeout": "0s",
        "api_config_source": {
            "api_type": api,
            "transport_api_version": "V3",
            "grpc_services": [{"envoy_grpc": {"cluster_name": "sds-grpc"}}],
        },
    }
    matcher = {"prefix": f"spiffe://{TD}/"} if not expect else {"exact": expect}
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": f"type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.{kind}",
            "common_tls_context": {
                # Envoy's clients stop at 1.2 unless told otherwise.
                "tls_params": {"tls_maximum_protocol_version": "TLSv1_3"},
                "tls_certificate_sds_secret_configs": [{"name": "default", "sds_config": source}],
                "combined_validation_context": {
                    "default_validation_context": {
                        "match_typed_subject_alt_names": [{"san_type": "URI", "matcher": matcher}]
                    },
                    "validation_context_sds_secret_config": {
                        "name": "ROOTCA",
                        "sds_config": source,
                    },
                },
            },
            **more,
        },
    }


def _endpoints(name: str, address: dict[str, Any]) -> dict[str, Any]:
    endpoint = {"endpoint": {"address": address}}
    return {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]}


def _loopback(port: int) -> dict[str, Any]:
    return {"address": "127.0.0.1", "port_value": port}


# The fixtures hand out the functions above: test modules cannot import a conftest in
# importlib mode.


@dataclass
class Kit:
    """What a test needs to run Envoys."""

    binary: Path
    running: Any = running
    until: Any = until
    server: Any = server_bootstrap
    client: Any = client_bootstrap


@pytest.fixture
def kit(envoy: Path) -> Kit:
    return Kit(binary=envoy)
