"""A change of modes on its way through the control plane, and what its status says meanwhile.

Proxies are fakes at real feeds; what they are given is real and read back.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from mutua.api.object import (
    DESTINATION_RULES,
    ENDPOINT_SLICES,
    PEER_AUTHENTICATIONS,
    PODS,
    SERVICES,
    Object,
    Resource,
)
from mutua.controlplane.checkpoint import Checkpoint
from mutua.controlplane.controlplane import ControlPlane
from mutua.controlplane.enforcement import why
from mutua.controlplane.quarantine import Refusal
from mutua.controlplane.rollout import RETURN, Rollout
from mutua.controlplane.rollout_proxy import PATIENCE
from mutua.store.memory import MemoryStore
from mutua.testing.clock import ManualClock
from mutua.testing.mesh import endpoint_slice, peer_authentication, pod, service
from mutua.testing.polling import eventually
from mutua.testing.proxy import Proxy, condition, running
from mutua.xds.proto import Cluster, ClusterLoadAssignment, Listener
from mutua.xds.resource import CLUSTER, ENDPOINT, LISTENER

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
WEB = "outbound|80||web.shop.svc.cluster.local"
API = "outbound|80||api.shop.svc.cluster.local"
NAMES = ("web", "api", "client")


@dataclass
class Mesh:
    """Three meshed pods, of which two are behind Services.

    Attributes:
        told: Events: (object, reason, message).
        kept: What control planes have left behind for the next one.
    """

    store: MemoryStore
    plane: ControlPlane
    proxies: dict[str, Proxy] = field(default_factory=dict)
    told: list[tuple[str, str, str]] = field(default_factory=list)
    kept: list[Checkpoint] = field(default_factory=list)

    @asynccontextmanager
    async def control_plane(self) -> AsyncIterator[None]:
        """Run a control plane that goes on where the one before was, with proxies that ask it."""
        rollout = Rollout(self.kept[-1] if self.kept else None)
        rollout.on_checkpoint = self.kept.append
        self.plane = ControlPlane(
            self.store,
            clock=ManualClock(NOON),
            report=lambda obj, _severity, reason, message: self.told.append((
                obj["metadata"]["name"], reason, message,
            )),
            rollout=rollout,
        )  # fmt: skip
        async with running(self.plane.run):
            for one in (await self.store.list(PODS)).items:
                feed = self.plane.add(one["metadata"]["uid"])
                self.proxies[one["metadata"]["name"]] = Proxy(feed)
                self.proxies[one["metadata"]["name"]].connect()
            yield

    async def apply(self, resource: Resource, obj: Object) -> None:
        metadata = obj["metadata"]
        listed = (await self.store.list(resource)).items
        known = [one for one in listed if one["metadata"]["name"] == metadata["name"]]
        if known:
            await self.store.update(resource, {**known[0], "spec": obj["spec"]})
        else:
            await self.store.create(resource, obj)

    async def mode(self, mode: str, **spec: Any) -> None:
        await self.apply(PEER_AUTHENTICATIONS, peer_authentication("shop", mode, **spec))

    async def rule(self, name: str, host: str, created: str = "", **spec: Any) -> None:
        await self.apply(DESTINATION_RULES, {
            "apiVersion": "networking.istio.io/v1",
            "kind": "DestinationRule",
            "metadata": {"namespace": "shop", "name": name, "creationTimestamp": created},
            "spec": {"host": host, **spec},
        })  # fmt: skip

    def accepts(self, name: str) -> set[str]:
        """Return what the listener that a proxy was given last lets in on port 8080."""
        listener = Listener.FromString(self._given(name, LISTENER, "virtualInbound"))
        chains = [
            chain.filter_chain_match.transport_protocol
            for chain in listener.filter_chains
            if chain.filter_chain_match.destination_port.value == 8080
        ]
        return {"tls": "mtls", "raw_buffer": "plain"}[chains[0]] and {
            {"tls": "mtls", "raw_buffer": "plain"}[one] for one in chains
        }

    def sends(self, name: str) -> str:
        """Return what a client was told last to send to the Service `web`."""
        cluster = Cluster.FromString(self._given(name, CLUSTER, WEB))
        endpoints = ClusterLoadAssignment.FromString(self._given(name, ENDPOINT, WEB)).endpoints
        flagged = any(one.metadata.filter_metadata for one in endpoints[0].lb_endpoints)
        return "mtls" if cluster.transport_socket_matches and flagged else "plain"

    async def in_force(
        self, kind: Resource = PEER_AUTHENTICATIONS, name: str = "default"
    ) -> Object:
        return condition(await self.store.get(kind, "shop", name), "InForce")

    async def says(
        self, text: str, kind: Resource = PEER_AUTHENTICATIONS, name: str = "default"
    ) -> Object:
        """Wait until the condition InForce says something, and return it."""

        async def found() -> Object:
            one = await self.in_force(kind, name)
            return one if text in one.get("message", "") else {}

        return await eventually(found, f"InForce says {text!r}")

    def _given(self, name: str, kind: str, resource: str) -> bytes:
        return self.proxies[name].feed.resources[kind][resource].body


@asynccontextmanager
async def mesh(mode: str = "PERMISSIVE") -> AsyncIterator[Mesh]:
    store = MemoryStore(ManualClock(NOON))
    pods = {
        name: await store.create(PODS, pod("shop", name, f"10.244.0.{number}"))
        for number, name in enumerate(NAMES, start=2)
    }
    for number, name in enumerate(("web", "api"), start=1):
        owner = service(
            "shop",
            name,
            {"name": "http", "port": 80, "targetPort": 8080},
            address=f"10.96.0.{number}",
        )
        await store.create(SERVICES, owner)
        await store.create(ENDPOINT_SLICES, endpoint_slice(owner, [pods[name]]))
    await store.create(PEER_AUTHENTICATIONS, peer_authentication("shop", mode))
    found = Mesh(store, None)  # type: ignore[arg-type]  # needs the mesh to report to
    async with found.control_plane():
        await found.says("in force on 3 of 3 proxies")
        yield found


def silence(found: Mesh, *names: str) -> None:
    for name in names:
        found.proxies[name].answers = False


def wake(found: Mesh, *names: str) -> None:
    for name in names:
        found.proxies[name].answers = True
        found.proxies[name].serve()


async def test_servers_accept_mtls_before_clients_send_it_and_plaintext_after_they_stop() -> None:
    async with mesh("DISABLE") as found:
        silence(found, *NAMES)
        await found.mode("STRICT")
        await eventually(lambda: found.accepts("web") == {"plain", "mtls"})
        assert found.sends("client") == "plain"
        wake(found, "web", "client")
        silence(found, *NAMES)
        assert found.sends("client") == "plain"  # a server has not confirmed yet
        wake(found, "api")
        silence(found, "api")
        await eventually(lambda: found.sends("client") == "mtls")
        assert found.accepts("web") == {"plain", "mtls"}
        wake(found, "web", "api")
        assert found.accepts("web") == {"plain", "mtls"}  # a client has not
        assert "in force on 0 of 3" in (await found.in_force())["message"]
        wake(found, "client")
        await eventually(lambda: found.accepts("web") == {"mtls"})
        await found.says("in force on 3 of 3 proxies")


async def test_a_change_goes_on_where_the_control_plane_before_left_it() -> None:
    async with mesh("DISABLE") as found:
        silence(found, "api")
        await found.mode("STRICT")
        await eventually(lambda: found.accepts("web") == {"plain", "mtls"})
    await found.mode("STRICT", selector={"matchLabels": {"app": "web"}})
    async with found.control_plane():
        silence(found, "client")
        assert found.accepts("web") == {"plain", "mtls"}
        assert found.sends("client") == "plain"
        await eventually(lambda: found.sends("client") == "mtls")
        await found.says("in force on 0 of 1 proxy")
        await asyncio.sleep(RETURN)
        assert found.accepts("web") == {"plain", "mtls"}
        wake(found, "client")
        await found.says("in force on 1 of 1 proxy")
        assert found.accepts("web") == {"mtls"}


async def test_permissive_to_strict_waits_for_nobody() -> None:
    async with mesh("PERMISSIVE") as found:
        silence(found, "client")
        await found.mode("STRICT")
        await eventually(lambda: found.accepts("web") == {"mtls"})
        await found.says("in force on 2 of 3 proxies")


async def test_who_is_silent_is_named_and_not_waited_for_after_the_deadline() -> None:
    async with mesh("DISABLE") as found:
        silence(found, "client")
        await found.mode("STRICT")
        await eventually(lambda: found.accepts("web") == {"plain", "mtls"})
        await asyncio.sleep(PATIENCE)
        await eventually(lambda: found.accepts("web") == {"mtls"})
        said = await found.says("in force on 2 of 3 proxies; not waited for: client.shop")
        assert (said["status"], said["reason"]) == ("False", "Pending")
        wake(found, "client")
        assert (await found.says("in force on 3 of 3 proxies"))["status"] == "True"


async def test_a_partitioned_proxy_is_waited_for_too() -> None:
    async with mesh("DISABLE") as found:
        found.proxies["client"].disconnect()
        await found.mode("STRICT")
        await eventually(lambda: found.accepts("web") == {"plain", "mtls"})
        await found.says("in force on 0 of 3 proxies")
        found.proxies["client"].connect()
        await found.says("in force on 3 of 3 proxies")


async def test_a_pod_that_goes_meanwhile_is_not_waited_for() -> None:
    async with mesh("DISABLE") as found:
        silence(found, "client")
        await found.mode("STRICT")
        await eventually(lambda: found.accepts("web") == {"plain", "mtls"})
        uid = "shop-client"
        found.proxies["client"].disconnect()
        found.plane.remove(uid)
        await found.store.delete(PODS, "shop", "client")
        await found.says("in force on 2 of 2 proxies")


async def test_other_changes_flow_while_a_change_of_modes_is_under_way() -> None:
    async with mesh("DISABLE") as found:
        silence(found, "client")
        await found.mode("STRICT")
        await eventually(lambda: found.accepts("web") == {"plain", "mtls"})
        generation = found.plane.generation
        owner = service("shop", "new", {"name": "http", "port": 81}, address="10.96.0.7")
        await found.store.create(SERVICES, owner)
        await eventually(lambda: found.plane.generation > generation)
        clusters = found.proxies["web"].feed.resources[CLUSTER]
        assert "outbound|81||new.shop.svc.cluster.local" in clusters


async def test_a_rule_says_on_how_many_client_proxies_it_is_in_force() -> None:
    async with mesh() as found:
        silence(found, "client")
        await found.rule("off", "web", trafficPolicy={"tls": {"mode": "DISABLE"}})
        await found.says("in force on 2 of 3 client proxies", DESTINATION_RULES, "off")
        wake(found, "client")
        said = await found.says("in force on 3 of 3 client proxies", DESTINATION_RULES, "off")
        assert said["status"] == "True"
        stored = await found.store.get(DESTINATION_RULES, "shop", "off")
        assert condition(stored, "Accepted")["status"] == "True"
        assert condition(stored, "Matched")["message"] == "speaks about 1 service"
        assert condition(stored, "Ignored")["status"] == "False"


@pytest.mark.parametrize(("host", "text"), [
    ("nobody", "no Service and no ServiceEntry has the host nobody.shop.svc.cluster.local"),
    ("*.example.com", "no Service and no ServiceEntry has the host *.example.com"),
])  # fmt: skip
async def test_a_rule_for_an_unknown_host_says_so(host: str, text: str) -> None:
    async with mesh() as found:
        await found.rule("x", host, trafficPolicy={"tls": {"mode": "DISABLE"}})
        said = await found.says(text, DESTINATION_RULES, "x")
        assert (said["status"], said["reason"]) == ("False", "UnknownHost")


async def test_a_rule_behind_an_older_one_says_what_of_it_is_ignored() -> None:
    async with mesh() as found:
        off = {"tls": {"mode": "DISABLE"}}
        subset = {"name": "v1", "labels": {"version": "1"}}
        await found.rule("a", "web", "2026-01-01T00:00:00Z", trafficPolicy=off)
        await found.rule(
            "b", "web.shop.svc.cluster.local", "2026-01-01T00:00:01Z", trafficPolicy=off,
            subsets=[subset],
        )  # fmt: skip
        await found.rule("c", "web", "2026-01-01T00:00:02Z", trafficPolicy=off)
        await found.says("in force on 3 of 3 client proxies", DESTINATION_RULES, "b")
        ignored = condition(await found.store.get(DESTINATION_RULES, "shop", "b"), "Ignored")
        assert ignored["message"] == "trafficPolicy: that of the older rule shop/a counts"
        assert (await found.in_force(DESTINATION_RULES, "c"))["reason"] == "Superseded"


async def test_a_rule_that_no_client_follows_says_so() -> None:
    async with mesh() as found:
        elsewhere = {"exportTo": ["elsewhere"], "workloadSelector": {"matchLabels": {"app": "x"}}}
        await found.rule("x", "web", trafficPolicy={"tls": {"mode": "DISABLE"}}, **elsewhere)
        said = await found.says("no client follows it", DESTINATION_RULES, "x")
        assert said["reason"] == "NotFollowed"


async def test_a_policy_says_how_many_workloads_it_selects() -> None:
    async with mesh() as found:
        selector = {"selector": {"matchLabels": {"app": "web"}}}
        await found.store.create(
            PODS, pod("shop", "bare", "10.244.0.9", labels={"app": "web"}, meshed=False)
        )
        await found.apply(
            PEER_AUTHENTICATIONS, peer_authentication("shop", "STRICT", name="web", **selector)
        )
        await found.says("in force on 1 of 1 proxy", name="web")
        stored = await found.store.get(PEER_AUTHENTICATIONS, "shop", "web")
        matched = condition(stored, "Matched")
        assert matched["message"] == "selects 2 workloads, 1 of them with a proxy"


async def test_a_policy_says_which_of_its_ports_change_nothing() -> None:
    async with mesh() as found:
        ports = {"80": {"mode": "DISABLE"}, "8080": {"mode": "STRICT"}}
        spec = {"selector": {"matchLabels": {"app": "web"}}, "portLevelMtls": ports}
        await found.apply(
            PEER_AUTHENTICATIONS, peer_authentication("shop", "STRICT", name="web", **spec)
        )
        await found.says("in force on 1 of 1 proxy", name="web")
        stored = await found.store.get(PEER_AUTHENTICATIONS, "shop", "web")
        ignored = condition(stored, "Ignored")
        assert (ignored["status"], ignored["reason"]) == ("True", "PartsIgnored")
        assert ignored["message"].startswith(
            "spec.portLevelMtls[80]: 80 is a Service port; the workload listens on 8080"
        )
        assert "[8080]" not in ignored["message"]


async def test_a_rule_says_which_of_its_ports_no_service_has() -> None:
    async with mesh() as found:
        entries = [
            {"port": {"number": number}, "tls": {"mode": "DISABLE"}} for number in (80, 8080)
        ]
        await found.rule("x", "web", trafficPolicy={"portLevelSettings": entries})
        await found.says("in force on 3 of 3 client proxies", DESTINATION_RULES, "x")
        ignored = condition(await found.store.get(DESTINATION_RULES, "shop", "x"), "Ignored")
        assert ignored["message"] == (
            "spec.trafficPolicy.portLevelSettings: 8080 is the workload's port; rules name the "
            "Service's, 80: this entry changes nothing"
        )


async def test_what_has_no_effect_is_logged_when_it_changes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "mutua.controlplane.status")

    def logged() -> list[str]:
        return [one.reason for one in caplog.records if one.object.endswith("shop/x")]

    async with mesh() as found:
        entry = {"port": {"number": 9}, "tls": {"mode": "DISABLE"}}
        await found.rule("x", "web", trafficPolicy={"portLevelSettings": [entry]})
        await found.says("in force on 3 of 3 client proxies", DESTINATION_RULES, "x")
        await found.rule("x", "web", trafficPolicy={"tls": {"mode": "DISABLE"}})
        await eventually(lambda: len(logged()) == 2)
        await found.mode("STRICT")
        await found.says("in force on 3 of 3 proxies")

    text = "spec.trafficPolicy.portLevelSettings: web has no port 9: this entry changes nothing"
    assert logged() == [text, text]  # that it is so, and that it is no longer
    levels = [one.levelname for one in caplog.records if one.object.endswith("shop/x")]
    assert levels == ["WARNING", "INFO"]


async def test_a_rule_says_what_of_it_has_no_effect() -> None:
    async with mesh() as found:
        policy = {"proxyProtocol": {}, "tls": {"mode": "DISABLE"}}
        await found.rule("x", "web", trafficPolicy=policy)
        await found.says("in force on 3 of 3 client proxies", DESTINATION_RULES, "x")
        stored = await found.store.get(DESTINATION_RULES, "shop", "x")
        assert "spec.trafficPolicy.proxyProtocol" in condition(stored, "Ignored")["message"]


async def test_a_rule_that_all_refuse_is_held_back_and_others_flow() -> None:
    async with mesh() as found:
        for proxy in found.proxies.values():
            proxy.refuses = {WEB}
        kept = {name: proxy.has[WEB] for name, proxy in found.proxies.items()}
        await found.rule("bad", "web", trafficPolicy={"tls": {"mode": "DISABLE"}})
        said = await found.says("refused outbound|80||web", DESTINATION_RULES, "bad")
        assert said["reason"] == "RejectedByProxy"

        async def held_back() -> Object:
            stored = await found.store.get(DESTINATION_RULES, "shop", "bad")
            one = condition(stored, "Accepted")
            return one if one["status"] == "False" else {}

        held = await eventually(held_back)
        assert held["reason"] == "RejectedByProxy"
        assert held["message"] == "held back: the mesh does without it"
        assert (await found.in_force(DESTINATION_RULES, "bad"))["message"].startswith(
            "in force on 0 of 3 client proxies; "
        )
        assert {name: proxy.has[WEB] for name, proxy in found.proxies.items()} == kept
        assert found.sends("client") == "mtls"  # a proxy that is new now is not given it either
        assert {reason for _, reason, _ in found.told} == {"RejectedByProxy"}
        assert {name for name, _, _ in found.told} == {"bad"}

        await found.rule("good", "api", trafficPolicy={"tls": {"mode": "DISABLE"}})
        await found.says("in force on 3 of 3 client proxies", DESTINATION_RULES, "good")
        for proxy in found.proxies.values():
            proxy.refuses = set()
        await found.rule("bad", "web", trafficPolicy={"tls": {"mode": "ISTIO_MUTUAL"}})
        await found.says("in force on 3 of 3 client proxies", DESTINATION_RULES, "bad")


async def test_the_last_good_state_stays_when_a_change_is_refused() -> None:
    async with mesh() as found:
        await found.rule("x", "web", trafficPolicy={"tls": {"mode": "DISABLE"}})
        await found.says("in force on 3 of 3 client proxies", DESTINATION_RULES, "x")
        good = found.proxies["client"].feed.resources[CLUSTER][WEB].version
        for proxy in found.proxies.values():
            proxy.refuses = {WEB}
        await found.rule("x", "web", trafficPolicy={"tls": {"mode": "SIMPLE", "sni": "bad"}})
        await found.says("refused outbound|80||web", DESTINATION_RULES, "x")
        stored = await found.store.get(DESTINATION_RULES, "shop", "x")
        assert condition(stored, "Accepted")["message"] == "held back: the state before it stays"
        given = {p.feed.resources[CLUSTER][WEB].version for p in found.proxies.values()}
        assert given == {good}


async def test_one_proxy_that_refuses_everything_holds_back_nobody() -> None:
    async with mesh("DISABLE") as found:
        hostile = found.proxies["client"]
        hostile.refuses = {"virtualInbound", WEB, API}
        await found.rule("off", "web", trafficPolicy={"tls": {"mode": "DISABLE"}})
        await found.says("in force on 2 of 3 client proxies", DESTINATION_RULES, "off")
        said = await found.says("client.shop refused", DESTINATION_RULES, "off")
        assert said["reason"] == "RejectedByProxy"
        await found.rule("off", "web", trafficPolicy={"loadBalancer": {"simple": "RANDOM"}})
        await found.mode("STRICT")
        await eventually(lambda: found.accepts("web") == {"mtls"} == found.accepts("api"))
        assert found.sends("web") == "mtls"
        await found.says("in force on 2 of 3 proxies; client.shop refused virtualInbound")


async def test_a_policy_that_its_only_server_refuses_is_not_dialled() -> None:
    """The last good configuration stays in force on both sides of a connection."""
    async with mesh("DISABLE") as found:
        found.proxies["web"].refuses = {"virtualInbound"}
        selector = {"selector": {"matchLabels": {"app": "web"}}}
        await found.apply(
            PEER_AUTHENTICATIONS, peer_authentication("shop", "STRICT", name="web", **selector)
        )
        await found.says("web.shop refused virtualInbound", name="web")
        assert found.sends("client") == "plain"
        said = await found.says("in force on 3 of 3 proxies")
        assert said["status"] == "True"


async def test_the_deadlines_are_what_the_documentation_says() -> None:
    assert (PATIENCE, RETURN) == (60.0, 10.0)


TWO = """Error adding/updating cluster(s) x: {}: Proto constraint validation failed (X: no), a|b: {
}
: Proto constraint validation failed (A.Sni: too long), c: fine"""


@pytest.mark.parametrize(("message", "reason"), [
    ("Error adding/updating cluster(s) a|b: no such file", "no such file"),
    (TWO, "Proto constraint validation failed (A.Sni: too long)"),
    ("something\n  else", "something else"),
])  # fmt: skip
def test_of_envoys_words_the_reason_is_told(message: str, reason: str) -> None:
    assert why(Refusal("web.shop", "shop/web", "a|b", message)) == reason
