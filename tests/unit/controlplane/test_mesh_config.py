"""The ConfigMap `istio` is followed, and nothing that happens to it stops the mesh."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from mutua.api.object import CONFIG_MAPS, PEER_AUTHENTICATIONS, PODS, Object
from mutua.api.validation.content import check_config_map
from mutua.api.validation.mesh_config import parse_mesh_config
from mutua.api.verdict import Invalid
from mutua.controlplane.controlplane import ControlPlane
from mutua.controlplane.mesh_config import (
    FIRST_TEXT,
    LiveSettings,
    MeshConfigFollower,
    admit_mesh_config,
)
from mutua.foundation.errors import Rejected
from mutua.model.settings import MeshSettings
from mutua.store.memory import MemoryStore
from mutua.testing.clock import ManualClock
from mutua.testing.mesh import peer_authentication, pod
from mutua.testing.polling import eventually
from mutua.testing.proxy import Proxy, condition, running

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
ADDRESS = ("istio-system", "istio")


class Followed:
    """A follower with its store, and what it reported."""

    def __init__(self, *, created_with: str = "cluster.local", asked: str = "") -> None:
        self.store = MemoryStore(ManualClock(NOON))
        self.settings = LiveSettings(MeshSettings(trust_domain=created_with))
        self.reports: list[tuple[str, str, str]] = []
        self.follower = MeshConfigFollower(self.store, self.settings, self._report, asked)

    def _report(self, config_map: Object, severity: str, reason: str, message: str) -> None:
        assert (config_map["metadata"]["namespace"], config_map["metadata"]["name"]) == ADDRESS
        self.reports.append((severity, reason, message))

    async def text(self) -> str:
        return str((await self.store.get(CONFIG_MAPS, *ADDRESS))["data"]["mesh"])

    async def say(self, text: str) -> None:
        stored = await self.store.get(CONFIG_MAPS, *ADDRESS)
        await self.store.update(CONFIG_MAPS, {**stored, "data": {"mesh": text}})

    async def reported(self, reason: str) -> tuple[str, str, str]:
        found: Any = await eventually(
            lambda: next((one for one in self.reports if one[1] == reason), None), reason
        )
        return found


async def test_a_new_mesh_writes_its_defaults_down() -> None:
    mesh = Followed()
    async with running(mesh.follower.run):
        assert parse_mesh_config(await mesh.text(), MeshSettings()) == MeshSettings()
        assert mesh.settings.current == MeshSettings()
        assert mesh.reports == []


def test_what_it_writes_down_is_acceptable_without_a_warning() -> None:
    data = {"mesh": FIRST_TEXT.format(trust_domain="td1")}
    metadata = {"namespace": ADDRESS[0], "name": ADDRESS[1]}

    verdict = check_config_map({"metadata": metadata, "data": data}, None)

    assert (verdict.errors, verdict.warnings) == ([], [])


async def test_a_new_mesh_may_be_asked_to_have_a_trust_domain() -> None:
    mesh = Followed(created_with="td1", asked="td1")
    async with running(mesh.follower.run):
        assert "trustDomain: td1" in await mesh.text()


async def test_an_existing_config_map_stays_as_it_is() -> None:
    mesh = Followed()
    await mesh.store.create(CONFIG_MAPS, config_map("enableAutoMtls: false"))
    async with running(mesh.follower.run):
        assert await mesh.text() == "enableAutoMtls: false"
        assert not mesh.settings.current.enable_auto_mtls


async def test_a_mesh_that_has_another_trust_domain_does_not_start_under_a_wrong_wish() -> None:
    mesh = Followed(created_with="td1", asked="td2")
    await mesh.store.create(CONFIG_MAPS, config_map("trustDomain: td1"))

    with pytest.raises(ExceptionGroup) as caught:
        async with running(mesh.follower.run):
            pass

    assert caught.group_contains(Rejected, match="has the trust domain td1, not td2")


async def test_a_change_is_followed_at_once_and_noted() -> None:
    mesh = Followed()
    told: list[str] = []
    mesh.settings.subscribe(lambda: told.append(mesh.settings.current.root_namespace))
    async with running(mesh.follower.run):
        await mesh.say("rootNamespace: mesh-cfg")
        severity, _, message = await mesh.reported("Accepted")
        await eventually(lambda: told)

    assert (severity, message) == ("Normal", "the mesh follows these settings")
    assert told == ["mesh-cfg"]


async def test_a_change_that_changes_no_setting_is_no_news() -> None:
    mesh = Followed()
    told: list[str] = []
    mesh.settings.subscribe(lambda: told.append("news"))
    async with running(mesh.follower.run):
        await mesh.say("# all as before")
        await mesh.say("trustDomain: td2")
        await mesh.reported("Accepted")

    assert (len(mesh.reports), told) == (1, ["news"])


async def test_a_bad_text_leaves_the_last_good_settings_in_use() -> None:
    """Only a store of somebody else's holds one: admission refuses it."""
    mesh = Followed()
    async with running(mesh.follower.run):
        await mesh.say("outboundTrafficPolicy: {mode: REGISTRY_ONLY}")
        await mesh.reported("Accepted")
        await mesh.say("outboundTrafficPolicy: {mode: ALLOW}")
        severity, _, message = await mesh.reported("Refused")
        assert not mesh.settings.current.allow_any_outbound
        await mesh.say("enableAutoMtls: false")
        await eventually(lambda: mesh.settings.current == MeshSettings(enable_auto_mtls=False))

    assert severity == "Warning"
    assert message.startswith("data[mesh].outboundTrafficPolicy.mode: Unsupported value")
    assert message.endswith("the last good settings stay")


async def test_an_unusable_ca_leaves_the_last_good_settings_in_use() -> None:
    mesh = Followed()
    async with running(mesh.follower.run):
        await mesh.say("{caCertificates: [{pem: nothing}], enableAutoMtls: false}")
        _, _, message = await mesh.reported("Refused")
        assert mesh.settings.current.enable_auto_mtls

    assert message.startswith("data[mesh].caCertificates[0].pem: Invalid value")


async def test_admission_refuses_an_unusable_ca_and_leaves_the_rest_to_validation() -> None:
    with pytest.raises(Invalid, match=r"caCertificates\[0\]\.pem.*not PEM certificates"):
        await admit_mesh_config(CONFIG_MAPS, config_map("caCertificates: [{pem: nothing}]"), None)
    unreadable = config_map("nonsense: 1")
    assert await admit_mesh_config(CONFIG_MAPS, unreadable, None) is unreadable


async def test_a_bad_text_at_the_start_does_not_stop_the_mesh() -> None:
    mesh = Followed()
    await mesh.store.create(CONFIG_MAPS, config_map("nonsense: 1"))
    async with running(mesh.follower.run):
        assert mesh.settings.current == MeshSettings()
        assert mesh.reports[0][1] == "Refused"


async def test_without_the_config_map_defaults_hold_but_nobody_loses_an_identity() -> None:
    mesh = Followed(created_with="td1", asked="td1")
    async with running(mesh.follower.run):
        await mesh.say("{trustDomain: td1, rootNamespace: mesh-cfg}")
        await mesh.reported("Accepted")
        await mesh.store.delete(CONFIG_MAPS, *ADDRESS)
        severity, _, message = await mesh.reported("Deleted")
        await eventually(lambda: mesh.settings.current == MeshSettings(trust_domain="td1"))

    assert severity == "Warning"
    assert "trust domain td1, root namespace istio-system" in message


async def test_other_config_maps_are_none_of_its_business() -> None:
    mesh = Followed()
    async with running(mesh.follower.run):
        other = config_map("trustDomain: td2")
        other["metadata"]["name"] = "other"
        await mesh.store.create(CONFIG_MAPS, other)
        await mesh.say("enableAutoMtls: false")
        await mesh.reported("Accepted")

    assert mesh.settings.current == MeshSettings(enable_auto_mtls=False)


def config_map(text: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"namespace": ADDRESS[0], "name": ADDRESS[1]},
        "data": {"mesh": text},
    }


async def test_proxies_are_given_what_the_settings_change() -> None:
    store, settings = MemoryStore(ManualClock(NOON)), LiveSettings()
    made = await store.create(PODS, pod("shop", "web-1"))
    plane = ControlPlane(store, clock=ManualClock(NOON), settings=settings)
    async with running(plane.run):
        proxy = Proxy(plane.add(made["metadata"]["uid"]))
        proxy.connect()
        before = dict(proxy.has)
        settings.put(MeshSettings(trust_domain_aliases=("td2",)))
        await plane.wait_followed()

    changed = {name for name, version in proxy.has.items() if version != before[name]}
    assert changed == {"virtualInbound"}


async def test_settings_are_followed_once_the_last_connected_proxy_says_so() -> None:
    store, settings = MemoryStore(ManualClock(NOON)), LiveSettings()
    uids = [
        (await store.create(PODS, pod("shop", name)))["metadata"]["uid"]
        for name in ("fast", "slow", "dead")
    ]
    plane = ControlPlane(store, clock=ManualClock(NOON), settings=settings)
    async with running(plane.run):
        fast, slow, dead = (Proxy(plane.add(uid)) for uid in uids)
        for proxy in (fast, slow, dead):
            proxy.connect()
        dead.disconnect()
        slow.answers = False
        settings.put(MeshSettings(trust_domain_aliases=("td2",)))
        before = slow.has["virtualInbound"]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(60):
                await plane.wait_followed()
        slow.answers = True
        slow.serve()
        await plane.wait_followed()

    assert slow.has["virtualInbound"] != before


async def test_another_root_namespace_changes_which_policies_are_mesh_wide() -> None:
    store, settings = MemoryStore(ManualClock(NOON)), LiveSettings()
    await store.create(PODS, pod("shop", "web-1"))
    await store.create(PEER_AUTHENTICATIONS, peer_authentication("mesh-cfg", "STRICT"))
    plane = ControlPlane(store, clock=ManualClock(NOON), settings=settings)
    proxies = {one["metadata"]["uid"] for one in (await store.list(PODS)).items}
    async with running(plane.run):
        for uid in proxies:
            Proxy(plane.add(uid)).connect()

        async def says(text: str) -> bool:
            stored = await store.get(PEER_AUTHENTICATIONS, "mesh-cfg", "default")
            return text in condition(stored, "InForce").get("message", "")

        await eventually(lambda: says("0 of 0 proxies"))
        settings.put(MeshSettings(root_namespace="mesh-cfg"))
        await eventually(lambda: says("1 of 1 proxy"))
