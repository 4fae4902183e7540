"""What a real Envoy does with our ADS: the sentences that the control plane relies on."""

import asyncio
import contextlib
import stat
import statistics
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from time import perf_counter
from typing import Any

import grpc
import grpc.aio
import pytest

from mutua.foundation.errors import Rejected
from mutua.model.settings import MeshSettings
from mutua.testing.envoy import Envoy, cluster, endpoints, listener, route
from mutua.testing.polling import eventually
from mutua.xds import server as server_module
from mutua.xds.compile.clusters import passthrough
from mutua.xds.compile.tls import downstream_tls
from mutua.xds.feed import Feed
from mutua.xds.proto import DeltaDiscoveryRequest, DeltaDiscoveryResponse, Listener
from mutua.xds.resource import (
    CLUSTER,
    ENDPOINT,
    LISTENER,
    ROUTE,
    Layer,
    ProxyResources,
    Resource,
    ResourceSet,
    resource,
)
from mutua.xds.server import ads_handler, serve_workload
from mutua.xds.session import DeltaSession
from mutua.xds.subscription import Response


def resources(
    cds: Iterable[Resource] = (),
    eds: Iterable[Resource] = (),
    lds: Iterable[Resource] = (),
    rds: Iterable[Resource] = (),
) -> ProxyResources:
    parts = {CLUSTER: cds, ENDPOINT: eds, LISTENER: lds, ROUTE: rds}
    return {type_url: ResourceSet(Layer(part)) for type_url, part in parts.items()}


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What left, as (kind, name), "-name" when taken away."""
    log: list[tuple[str, str]] = []
    encode = server_module.encode_response

    def note(response: Response, version: str) -> bytes:
        kind = response.type_url.rpartition(".")[2]
        log.extend((kind, one.name) for one in response.resources)
        log.extend((kind, f"-{name}") for name in response.removed)
        return encode(response, version)

    monkeypatch.setattr(server_module, "encode_response", note)
    return log


@contextlib.asynccontextmanager
async def served(feed: Feed, socket: Path) -> AsyncIterator[None]:
    server = await serve_workload({socket: [ads_handler(feed)]})
    try:
        yield
    finally:
        await server.stop()


async def confirmed(feed: Feed, generation: int) -> None:
    await eventually(lambda: feed.progress.acknowledged >= generation, f"ACK of {generation}")


async def serves(envoy: Envoy, name: str, body: str) -> None:
    """Wait: a worker takes up a moment later what the main thread has confirmed."""

    async def is_there() -> bool:
        return await envoy.get(name) == (200, body)

    await eventually(is_there, f"{name} serves {body}")


async def test_it_connects_is_ready_and_serves(envoy: Envoy) -> None:
    feed = Feed("web-1.shop")
    async with served(feed, envoy.xds), envoy.running():
        await eventually(lambda: feed.progress.connected, "stream")
        assert not await envoy.is_live(), "ready without configuration"
        feed.publish(resources(lds=[listener(envoy, "web", body="hello")]), 1)
        await confirmed(feed, 1)
        await eventually(envoy.is_live, "ready")
        assert await envoy.get("web") == (200, "hello")


async def test_readiness_and_metrics_are_served_and_the_rest_of_admin_is_not(envoy: Envoy) -> None:
    feed = Feed("web-1.shop")
    feed.publish(resources(lds=[listener(envoy, "web", body="hello")]), 1)
    async with served(feed, envoy.xds), envoy.running():
        await eventually(envoy.is_live, "ready")
        assert (await envoy.get("readiness", "/healthz/ready"))[0] == 200
        status, metrics = await envoy.get("prometheus", "/stats/prometheus")
        assert status == 200
        assert "envoy_server_live" in metrics
        for name in ("readiness", "prometheus"):
            for path in ("/", "/config_dump", "/quitquitquit", "/healthz/ready/../config_dump"):
                assert (await envoy.get(name, path))[0] == 404


async def test_only_the_difference_is_pushed(envoy: Envoy, sent: list[tuple[str, str]]) -> None:
    feed = Feed("web-1.shop")
    clusters, places = [cluster("a"), cluster("b")], [endpoints("a", 1), endpoints("b", 1)]
    web, other = listener(envoy, "web", body="one"), listener(envoy, "other", body="same")
    feed.publish(resources(clusters, places, [web, other]), 1)
    async with served(feed, envoy.xds), envoy.running():
        await eventually(envoy.is_live, "ready")
        await confirmed(feed, 1)
        sent.clear()

        changed = listener(envoy, "web", body="two")
        feed.publish(resources(clusters, places, [changed, other]), 2)
        await confirmed(feed, 2)

        assert sent == [("Listener", "web")]
        await serves(envoy, "web", "two")

        sent.clear()
        feed.publish(resources(clusters, [places[0], endpoints("b", 2)], [changed, other]), 3)
        await confirmed(feed, 3)
        assert sent == [("ClusterLoadAssignment", "b")]

        sent.clear()
        feed.publish(resources(clusters[:1], places[:1], [changed]), 4)
        await confirmed(feed, 4)
        assert set(sent) == {
            ("Cluster", "-b"),
            ("ClusterLoadAssignment", "-b"),
            ("Listener", "-other"),
        }
        assert sent[-1] == ("Cluster", "-b")


async def test_a_changed_cluster_is_warm_at_once(envoy: Envoy) -> None:
    """Without its endpoints sent again, Envoy would wait for them for ever."""
    feed = Feed("web-1.shop")
    feed.publish(resources([cluster("a")], [endpoints("a", 1)]), 1)
    async with served(feed, envoy.xds), envoy.running():
        await confirmed(feed, 1)
        feed.publish(resources([cluster("a", connect_timeout="2s")], [endpoints("a", 1)]), 2)
        await confirmed(feed, 2)
        assert await envoy.stat("cluster_manager.warming_clusters") == 0


async def test_a_refused_resource_is_named_and_the_old_one_stays(envoy: Envoy) -> None:
    refused = []
    feed = Feed("web-1.shop", on_rejection=refused.append)
    feed.publish(resources(lds=[listener(envoy, "web", body="old")]), 1)
    async with served(feed, envoy.xds), envoy.running():
        await eventually(envoy.is_live, "ready")
        broken = listener(Envoy(Path("/nonexistent")), "web", body="new")
        good = listener(envoy, "other", body="good")
        feed.publish(resources(lds=[broken, good]), 2)
        await eventually(lambda: refused, "NACK")
        await confirmed(feed, 2)

        (rejection,) = feed.progress.rejections
        assert (rejection.name, rejection.version) == ("web", broken.version)
        assert "web" in rejection.message
        assert await envoy.get("web") == (200, "old")
        await serves(envoy, "other", "good")

        feed.publish(resources(lds=[listener(envoy, "web", body="fixed"), good]), 3)
        await confirmed(feed, 3)
        assert feed.progress.rejections == ()
        await serves(envoy, "web", "fixed")


async def test_after_a_restart_of_ours_nothing_is_sent_that_it_has(
    envoy: Envoy, sent: list[tuple[str, str]]
) -> None:
    state = resources(
        [cluster("a")], [endpoints("a", 1)], [listener(envoy, "web", route="r")], [route("r", "1")]
    )
    async with envoy.running():
        before = Feed("web-1.shop")
        before.publish(state, 1)
        async with served(before, envoy.xds):
            await eventually(envoy.is_live, "ready")
            await confirmed(before, 1)
        assert await envoy.get("web") == (200, "1"), "it serves without us"
        sent.clear()

        after = Feed("web-1.shop")
        after.publish(state, 1)
        async with served(after, envoy.xds):
            await confirmed(after, 1)
            assert sent == []
        async with served(after, envoy.xds):
            after.publish({**state, ROUTE: ResourceSet(Layer([route("r", "2")]))}, 2)
            await confirmed(after, 2)
            assert sent == [("RouteConfiguration", "r")]
            await serves(envoy, "web", "2")


async def test_a_stream_that_broke_during_a_warm_up_leaves_no_cluster_waiting(
    envoy: Envoy, monkeypatch: pytest.MonkeyPatch
) -> None:
    def state(connect_timeout: str) -> ProxyResources:
        clusters = [cluster("a", connect_timeout=connect_timeout)]
        return resources(clusters, [endpoints("a", 1)])

    async with envoy.running():
        before = Feed("web-1.shop")
        before.publish(state("1s"), 1)
        async with served(before, envoy.xds):
            await confirmed(before, 1)
            # The connection ends between the cluster and its endpoints.
            monkeypatch.setattr(DeltaSession, "_warm", lambda _session, _clusters: None)
            before.publish(state("2s"), 2)
            await eventually(lambda: envoy.stat("cluster_manager.warming_clusters"), "warming")
        monkeypatch.undo()

        after = Feed("web-1.shop")
        after.publish(state("2s"), 2)
        async with served(after, envoy.xds):
            await confirmed(after, 2)
            assert await envoy.stat("cluster_manager.warming_clusters") == 0


async def test_a_restarted_envoy_gets_everything_again(envoy: Envoy) -> None:
    feed = Feed("web-1.shop")
    feed.publish(resources(lds=[listener(envoy, "web", body="hello")]), 1)
    async with served(feed, envoy.xds):
        for _ in range(2):
            async with envoy.running():
                await eventually(envoy.is_live, "ready")
                assert await envoy.get("web") == (200, "hello")


async def test_a_push_has_effect_within_ten_milliseconds(
    envoy: Envoy, record_property: Callable[[str, object], None]
) -> None:
    """Push of a route to the first answer that shows it, over a fresh connection each time."""
    feed = Feed("web-1.shop")
    web = listener(envoy, "web", route="r")
    feed.publish(resources(lds=[web], rds=[route("r", "0")]), 1)
    async with served(feed, envoy.xds), envoy.running():
        await eventually(envoy.is_live, "ready")
        taken = []
        for generation in range(2, 202):
            state = resources(lds=[web], rds=[route("r", str(generation))])
            start = perf_counter()
            feed.publish(state, generation)
            while await envoy.get("web") != (200, str(generation)):
                await asyncio.sleep(0)
            taken.append(perf_counter() - start)
            await confirmed(feed, generation)
    cuts = statistics.quantiles(taken, n=100)
    record_property("push_to_effect_p50_ms", round(cuts[49] * 1000, 2))
    record_property("push_to_effect_p99_ms", round(cuts[98] * 1000, 2))
    # The aim is 10 ms at p99.  A loaded machine must not fail the suite, so what counts is the best
    # tenth; a regression slows all of them down.
    assert cuts[9] < 0.010


async def test_sockets_are_private_and_gone_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "XDS"
    path.touch()  # left by a dead process
    server = await serve_workload({path: [ads_handler(Feed("web-1.shop"))]})
    assert stat.S_ISSOCK(path.stat().st_mode)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    await server.stop()
    assert not path.exists()


async def test_a_path_too_long_for_a_socket_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Rejected, match="107 bytes"):
        await serve_workload({tmp_path / ("x" * 120): []})


METHOD = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"


async def test_a_third_stream_ends_the_first(tmp_path: Path) -> None:
    feed = Feed("web-1.shop")
    async with (
        served(feed, tmp_path / "XDS"),
        grpc.aio.insecure_channel(f"unix:{tmp_path}/XDS") as channel,
    ):
        hello = DeltaDiscoveryRequest(type_url=CLUSTER).SerializeToString()
        calls = []
        for _ in range(3):
            call = channel.stream_stream(METHOD)()
            await call.write(hello)
            calls.append(call)
            await eventually(lambda: feed.progress.connected, "stream")
        async with asyncio.timeout(10):
            assert await calls[0].read() is grpc.aio.EOF
        for call in calls:
            call.cancel()


async def test_nonsense_ends_the_stream_and_not_the_server(tmp_path: Path) -> None:
    feed = Feed("web-1.shop")
    feed.publish(resources(), 1)
    async with (
        served(feed, tmp_path / "XDS"),
        grpc.aio.insecure_channel(f"unix:{tmp_path}/XDS") as channel,
    ):
        bad = channel.stream_stream(METHOD)()
        await bad.write(b"\xff\xff\xff")
        assert await bad.code() is grpc.StatusCode.INVALID_ARGUMENT
        good = channel.stream_stream(METHOD)()
        await good.write(DeltaDiscoveryRequest(type_url=CLUSTER).SerializeToString())
        assert isinstance(await good.read(), bytes)
        good.cancel()


async def test_a_proxy_that_does_not_read_costs_nothing(tmp_path: Path) -> None:
    """It skips the states it was too slow for: one response is in flight, none are queued."""
    feed = Feed("web-1.shop")
    async with (
        served(feed, tmp_path / "XDS"),
        grpc.aio.insecure_channel(f"unix:{tmp_path}/XDS") as channel,
    ):
        call = channel.stream_stream(METHOD)()
        hello = DeltaDiscoveryRequest(type_url=ROUTE, resource_names_subscribe=["r"])
        await call.write(hello.SerializeToString())
        await eventually(lambda: feed.progress.connected, "stream")
        for generation in range(1, 500):
            body = str(generation) * 1000
            feed.publish(resources(rds=[route("r", body)]), generation)
            await asyncio.sleep(0)
        first = DeltaDiscoveryResponse.FromString(await call.read())
        await call.write(
            DeltaDiscoveryRequest(type_url=ROUTE, response_nonce=first.nonce).SerializeToString()
        )
        last = DeltaDiscoveryResponse.FromString(await call.read())
        assert last.system_version_info == "499"
        assert last.nonce == "2"
        call.cancel()


async def test_a_listener_is_confirmed_before_its_secrets_come_and_does_not_serve_yet(
    envoy: Envoy,
) -> None:
    """Why the secrets must be loaded before: what is confirmed is not what is in force."""
    feed = Feed("web-1.shop")
    feed.publish(resources(lds=[listener(envoy, "web", body="old")]), 1)
    async with served(feed, envoy.xds), envoy.running():
        await eventually(envoy.is_live, "ready")
        secured = with_transport(listener(envoy, "web", body="new"), downstream_tls(MeshSettings()))
        feed.publish(resources(lds=[secured]), 2)
        await confirmed(feed, 2)
        assert await envoy.stat("listener_manager.total_listeners_warming") == 1
        assert await envoy.get("web") == (200, "old")


async def test_a_proxy_confirms_nothing_before_it_has_its_secrets(envoy: Envoy) -> None:
    feed = Feed("web-1.shop")
    feed.publish(resources(cds=passthrough(MeshSettings())), 1)
    async with served(feed, envoy.xds), envoy.running():
        await eventually(
            lambda: envoy.stat("cluster_manager.warming_clusters"), "a cluster waits for secrets"
        )
        assert feed.progress.acknowledged == 0


def with_transport(plain: Resource, socket: dict[str, Any]) -> Resource:
    value = Listener.FromString(plain.body)
    chain = value.filter_chains[0]
    chain.transport_socket.name = socket["name"]
    chain.transport_socket.typed_config.CopyFrom(socket["typed_config"])
    return resource(plain.name, value.SerializeToString(deterministic=True))
