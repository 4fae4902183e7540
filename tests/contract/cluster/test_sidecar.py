"""What a meshed pod's proxy is given, and who it is to the daemon."""

import json
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from mutua.agent.agent import Agent
from mutua.agent.issuer import LocalIssuer
from mutua.api.object import Object
from mutua.cluster.sidecar import MeshSidecars
from mutua.controlplane.controlplane import ControlPlane
from mutua.controlplane.mesh_config import LiveSettings
from mutua.foundation.clock import SystemClock
from mutua.identity.authority import Authority
from mutua.identity.x509 import parse_certificates
from mutua.store.memory import MemoryStore
from mutua.xds.proto import DeltaDiscoveryRequest, DeltaDiscoveryResponse, Node, message
from mutua.xds.sighting import Sighting

SECRET = "envoy.extensions.transport_sockets.tls.v3.Secret"
DELTA = "/envoy.service.secret.v3.SecretDiscoveryService/DeltaSecrets"


def pod(name: str, account: str, **annotations: str) -> Object:
    return {
        "metadata": {
            "name": name,
            "namespace": "shop",
            "uid": f"uid-{name}",
            "annotations": annotations,
        },
        "spec": {"serviceAccountName": account, "containers": [{"name": "app"}]},
        "status": {"podIP": "10.244.0.7"},
    }


@pytest.fixture
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="mutua-") as short:  # socket paths
        yield Path(short)


def _unheard(_uid: str) -> Callable[[Sighting], None]:
    return lambda _sighting: None


@pytest.fixture
def sidecars(directory: Path) -> MeshSidecars:
    clock = SystemClock()
    authority = Authority.load_or_create(directory / "pki", "cluster.local", clock)
    return MeshSidecars(
        agent=Agent(LocalIssuer(authority), clock, lambda: 0.5),
        envoy=Path("/envoy"),
        settings=LiveSettings(),
    )


async def identities(socket: Path, node: Any) -> list[str]:
    """Return the URIs in the certificate that a peer on this socket gets."""
    async with grpc.aio.insecure_channel(f"unix:{socket}") as channel:
        stream = channel.stream_stream(DELTA)()
        request = DeltaDiscoveryRequest(
            node=node,
            type_url=f"type.googleapis.com/{SECRET}",
            resource_names_subscribe=["default"],
        )
        await stream.write(request.SerializeToString())
        [found] = DeltaDiscoveryResponse.FromString(await stream.read()).resources
    chain = message(SECRET).FromString(found.resource.value).tls_certificate.certificate_chain
    leaf = parse_certificates(chain.inline_bytes.decode())[0]
    [names] = [one.value for one in leaf.extensions if one.oid.dotted_string == "2.5.29.17"]
    return [uri.value for uri in names]


async def test_a_proxy_is_whose_socket_it_has_whatever_it_says(
    sidecars: MeshSidecars, directory: Path
) -> None:
    for name, account in (("web", "web"), ("bank", "bank")):
        await sidecars.prepare(pod(name, account), directory / name)
    claim = Node(id="sidecar~10.244.0.9~bank.shop~shop.svc.cluster.local")
    claim.metadata.update({"SERVICE_ACCOUNT": "bank", "NAMESPACE": "shop"})

    assert await identities(directory / "web/sds/socket", claim) == [
        "spiffe://cluster.local/ns/shop/sa/web"
    ]
    await sidecars.stop()


async def test_what_a_proxy_is_given_is_closed_to_others(
    sidecars: MeshSidecars, directory: Path
) -> None:
    clock = SystemClock()
    await sidecars.connect(ControlPlane(MemoryStore(clock), clock=clock), _unheard)
    plan = await sidecars.prepare(pod("web", "web"), directory / "web")

    for mount in plan.mounts:
        assert stat.S_IMODE(Path(mount.source).stat().st_mode) == 0o700, mount
    for socket in ("xds/XDS", "sds/socket"):
        assert stat.S_IMODE((directory / "web" / socket).stat().st_mode) == 0o600
    json.loads((directory / "web/proxy/envoy.json").read_text())
    await sidecars.stop()
    assert not (directory / "web/sds/socket").exists()


async def test_envoy_logs_as_much_as_the_pod_asks(sidecars: MeshSidecars, directory: Path) -> None:
    loud = pod("web", "web", **{"sidecar.istio.io/logLevel": "debug"})

    plan = await sidecars.prepare(loud, directory / "web")

    assert plan.argv[plan.argv.index("--log-level") + 1] == "debug"
    await sidecars.stop()


async def test_configuration_comes_and_goes_with_the_control_plane_certificates_stay(
    sidecars: MeshSidecars, directory: Path
) -> None:
    clock = SystemClock()
    first, second = (ControlPlane(MemoryStore(clock), clock=clock) for _ in range(2))
    early, late = directory / "early", directory / "late"
    await sidecars.prepare(pod("early", "web"), early)
    assert not (early / "xds/XDS").exists()

    await sidecars.connect(first, _unheard)
    assert (early / "xds/XDS").is_socket()
    await sidecars.disconnect()
    await sidecars.prepare(pod("late", "web"), late)
    assert not (early / "xds/XDS").exists()
    assert await identities(early / "sds/socket", Node()) == [
        "spiffe://cluster.local/ns/shop/sa/web"
    ]
    await sidecars.connect(second, _unheard)

    assert (early / "xds/XDS").is_socket()
    assert (late / "xds/XDS").is_socket()
    await sidecars.release("uid-late")
    assert not (late / "xds/XDS").exists()
    await sidecars.stop()
    assert not (early / "xds/XDS").exists()
