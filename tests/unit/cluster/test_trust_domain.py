"""A running mesh moves to another trust domain without a connection that fails on the way."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from mutua.agent.agent import Agent
from mutua.agent.issuer import LocalIssuer
from mutua.agent.workload import Workload
from mutua.api.object import PODS
from mutua.cluster.trust_domain import PATIENCE, TrustDomainFollower
from mutua.controlplane.controlplane import ControlPlane
from mutua.controlplane.mesh_config import LiveSettings
from mutua.foundation.spiffe import SpiffeId
from mutua.identity.authority import Authority
from mutua.identity.x509 import self_signed_ca
from mutua.model.settings import MeshSettings
from mutua.store.memory import MemoryStore
from mutua.testing.clock import START, ManualClock
from mutua.testing.mesh import pod
from mutua.testing.polling import eventually
from mutua.testing.proxy import Proxy, running

OLD = SpiffeId("cluster.local", "shop", "web")
NEW = SpiffeId("td2", "shop", "web")
MOVE = MeshSettings(trust_domain="td2", trust_domain_aliases=("cluster.local",))


class Mesh:
    """One meshed pod and everything that has to do with its identity."""

    def __init__(self, folder: Path) -> None:
        clock = ManualClock(START)
        root = self_signed_ca(
            "", organization="cluster.local", lifetime=timedelta(days=3650), clock=clock
        )
        self.settings = LiveSettings()
        self.authority = Authority(root, "cluster.local", clock)
        self.store = MemoryStore(clock)
        self.agent = Agent(LocalIssuer(self.authority), clock, lambda: 0.5)
        self.plane = ControlPlane(self.store, clock=clock, settings=self.settings)
        self.follower = TrustDomainFollower(self.settings, self.authority, self.plane, self.agent)
        self.certificates = folder / "certs"

    async def start(self) -> Proxy:
        uid = (await self.store.create(PODS, pod("shop", "web")))["metadata"]["uid"]
        await self.agent.add(Workload(uid=uid, identity=OLD, certs_dir=self.certificates))
        proxy = Proxy(self.plane.add(uid))
        proxy.connect()
        return proxy

    def identity(self) -> SpiffeId:
        [status] = self.agent.status()
        return status.workload.identity


async def test_a_workload_moves_once_its_proxy_accepts_the_new_domain(tmp_path: Path) -> None:
    mesh = Mesh(tmp_path)
    async with running(mesh.plane.run), running(mesh.agent.run), running(mesh.follower.run):
        proxy = await mesh.start()
        proxy.answers = False
        before = (mesh.certificates / "cert-chain.pem").read_text()
        mesh.settings.put(MOVE)
        assert mesh.authority.trust_domain == "td2"
        await eventually(lambda: mesh.plane.snapshot and mesh.plane.snapshot.settings is MOVE)
        assert mesh.identity() == OLD
        proxy.answers = True
        proxy.serve()
        await eventually(lambda: mesh.identity() == NEW)
        await eventually(lambda: (mesh.certificates / "cert-chain.pem").read_text() != before)


async def test_a_proxy_that_confirms_nothing_does_not_hold_the_others_for_ever(
    tmp_path: Path,
) -> None:
    mesh = Mesh(tmp_path)
    async with running(mesh.plane.run), running(mesh.agent.run), running(mesh.follower.run):
        proxy = await mesh.start()
        proxy.answers = False
        mesh.settings.put(MOVE)
        await eventually(lambda: mesh.plane.snapshot and mesh.plane.snapshot.settings is MOVE)
        assert mesh.identity() == OLD
        await asyncio.sleep(PATIENCE)
        await eventually(lambda: mesh.identity() == NEW)


async def test_a_further_change_meanwhile_does_not_delay_the_move(tmp_path: Path) -> None:
    mesh = Mesh(tmp_path)
    loop = asyncio.get_running_loop()
    async with running(mesh.plane.run), running(mesh.agent.run), running(mesh.follower.run):
        proxy = await mesh.start()
        proxy.answers = False
        mesh.settings.put(MOVE)
        await eventually(lambda: mesh.plane.snapshot and mesh.plane.snapshot.settings is MOVE)
        mesh.settings.put(replace(MOVE, enable_auto_mtls=False))
        proxy.answers = True
        begin = loop.time()
        proxy.serve()
        await eventually(lambda: mesh.identity() == NEW)

    assert loop.time() - begin < 1


async def test_other_settings_renew_nothing(tmp_path: Path) -> None:
    mesh = Mesh(tmp_path)
    async with running(mesh.plane.run), running(mesh.agent.run), running(mesh.follower.run):
        await mesh.start()
        before = (mesh.certificates / "cert-chain.pem").read_text()
        mesh.settings.put(MeshSettings(enable_auto_mtls=False))
        await mesh.plane.wait_followed()
        await asyncio.sleep(10)

    assert (mesh.certificates / "cert-chain.pem").read_text() == before


async def test_a_change_while_nobody_followed_is_made_up_for(tmp_path: Path) -> None:
    mesh = Mesh(tmp_path)
    async with running(mesh.plane.run), running(mesh.agent.run):
        await mesh.start()
        mesh.agent.rename(mesh.agent.status()[0].workload.uid, NEW)  # by an earlier control plane
        assert mesh.identity() == NEW

        async with running(mesh.follower.run):
            await eventually(lambda: mesh.identity() == OLD)
