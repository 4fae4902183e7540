"""Real Envoys on loopback with compiled configuration.

Two things are adapted, because there is no capture here: listeners bind loopback and learn a
connection's original destination from a PROXY protocol header instead of from the kernel, and
sockets carry no mark.  Secrets are the same names, from files.
"""

import json
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest

from mutua.foundation.clock import SystemClock
from mutua.foundation.spiffe import SpiffeId
from mutua.identity.authority import Authority
from mutua.identity.csr import new_request
from mutua.runtime.envoy import find_envoy
from mutua.testing.configuration import inline_routes, readable, take_secrets_from_file
from mutua.xds.bootstrap import XDS_CLUSTER, Sidecar, bootstrap
from mutua.xds.resource import CLUSTER, ENDPOINT, LISTENER, ProxyResources

PATIENCE = 30.0
"""Seconds that an Envoy may take to start or to end on a busy machine."""
PROXY_PROTOCOL = {
    "name": "envoy.filters.listener.proxy_protocol",
    "typed_config": {
        "@type": "type.googleapis.com/"
        "envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol"
    },
}


@dataclass(frozen=True)
class Envoy:
    """A running Envoy.

    Attributes:
        ports: Listener name to the port it bound on 127.0.0.1.
        admin: Address of its administration.
    """

    ports: dict[str, int]
    admin: str

    def get(self, path: str) -> str:
        with urllib.request.urlopen(f"http://{self.admin}{path}") as answer:
            return str(answer.read().decode())


def adapted(compiled: ProxyResources) -> tuple[list[Any], list[Any]]:
    """Return clusters and listeners that need no control plane."""
    assignments = readable(compiled, ENDPOINT)
    clusters = list(readable(compiled, CLUSTER).values())
    for cluster in clusters:
        cluster.get("upstream_bind_config", {}).pop("socket_options", None)
        if cluster.pop("eds_cluster_config", None):
            cluster |= {"type": "STATIC", "load_assignment": assignments[cluster["name"]]}
    listeners = list(readable(compiled, LISTENER).values())
    for listener in listeners:
        if listener.get("bind_to_port", True):
            listener["address"]["socket_address"] = {"address": "127.0.0.1", "port_value": 0}
            inspectors = [
                one
                for one in listener.get("listener_filters", [])
                if "original_dst" not in one["name"]
            ]
            listener["listener_filters"] = [PROXY_PROTOCOL, *inspectors]
    inline_routes(listeners, compiled)
    take_secrets_from_file([clusters, listeners])
    return clusters, listeners


def control_plane(socket: Path) -> dict[str, Any]:
    """Return the bootstrap's cluster of the control plane, at this socket."""
    sidecar = Sidecar(
        pod="web-0",
        namespace="shop",
        address="127.0.0.1",
        service_account="web",
        xds_socket=str(socket),
    )
    static = bootstrap(sidecar)["static_resources"]["clusters"]
    return next(one for one in static if one["name"] == XDS_CLUSTER)


@contextmanager
def running(
    directory: Path,
    compiled: ProxyResources,
    secrets: list[Any],
    adapt: Callable[[list[Any], list[Any]], None] = lambda clusters, listeners: None,
) -> Iterator[Envoy]:
    """Run an Envoy with this configuration, its clusters and listeners adapted further.

    It reports to `directory`/XDS.
    """
    clusters, listeners = adapted(compiled)
    clusters.append(control_plane(directory / "XDS"))
    adapt(clusters, listeners)
    admin_file = directory / "admin"
    config = {
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
        "static_resources": {"clusters": clusters, "listeners": listeners, "secrets": secrets},
    }
    (directory / "envoy.json").write_text(json.dumps(config))
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                find_envoy(),
                *("-c", directory / "envoy.json", "--admin-address-path", admin_file),
                *("--concurrency", "1", "--disable-hot-restart", "--log-level", "warning"),
            ],
            stderr=log,
        )
    try:
        yield _wait_until_live(process, admin_file, directory / "log")
    finally:
        process.terminate()
        process.wait(PATIENCE)


def _wait_until_live(process: subprocess.Popen[bytes], admin_file: Path, log: Path) -> Envoy:
    deadline = monotonic() + PATIENCE
    while monotonic() < deadline and process.poll() is None:
        sleep(0.02)
        if not admin_file.exists() or not (address := admin_file.read_text()):
            continue
        try:
            with urllib.request.urlopen(f"http://{address}/listeners?format=json") as answer:
                statuses = json.load(answer).get("listener_statuses", [])
        except OSError:
            continue  # it ends, and has said why
        ports = {
            one["name"]: one["local_address"]["socket_address"]["port_value"] for one in statuses
        }
        if ports.get("virtualInbound") and ports.get("virtualOutbound"):
            return Envoy(ports, address)
    raise AssertionError(f"Envoy did not start:\n{log.read_text()}")


@dataclass(frozen=True)
class Credentials:
    """Files of one identity.

    Attributes:
        chain: Certificate chain, PEM.
        key: Private key, PEM.
        roots: Trust bundle, PEM.
    """

    chain: Path
    key: Path
    roots: Path

    def secrets(self) -> list[dict[str, Any]]:
        """Return Envoy's static secrets for this identity."""
        certificate = {
            "certificate_chain": {"filename": str(self.chain)},
            "private_key": {"filename": str(self.key)},
        }
        trusted = {"trusted_ca": {"filename": str(self.roots)}}
        return [
            {"name": "default", "tls_certificate": certificate},
            {"name": "ROOTCA", "validation_context": trusted},
        ]


class Issuer:
    """Issues credentials of one root, also for a trust domain that is not the mesh's."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._mesh = Authority.load_or_create(directory / "ca", "cluster.local", SystemClock())

    def issue(
        self, account: str, trust_domain: str = "cluster.local", namespace: str = "shop"
    ) -> Credentials:
        identity = SpiffeId(trust_domain, namespace, account)
        request = new_request(identity)
        chain = Authority(self._mesh.material, trust_domain, SystemClock()).sign(
            request.csr_pem, identity
        )
        stem = self._directory / f"{account}.{namespace}.{trust_domain}"
        files = Credentials(*(stem.with_suffix(f".{kind}") for kind in ("chain", "key", "roots")))
        files.chain.write_text(chain.chain_pem)
        files.key.write_text(request.key.pem())
        files.roots.write_text(chain.roots_pem)
        return files


@pytest.fixture(scope="session")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Issuer:
    return Issuer(tmp_path_factory.mktemp("identity"))


@pytest.fixture(scope="session")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Issuer:
    """Return an issuer that nobody in the mesh trusts."""
    return Issuer(tmp_path_factory.mktemp("stranger"))


@pytest.fixture(scope="module")
def run_envoy() -> Iterator[Any]:
    """Return a function that runs an Envoy until the module's tests are done."""
    with ExitStack() as stack:
        yield lambda *arguments: stack.enter_context(running(*arguments))


@pytest.fixture(scope="session")
def envoy_for() -> Any:
    """Return what runs an Envoy for as long as its `with` block lasts."""
    return running
