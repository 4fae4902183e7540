"""The secret service as a raw gRPC peer sees it."""

import asyncio
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from mutua.agent.sds import MAX_STREAMS
from mutua.agent.sds_resources import SECRET
from mutua.xds.proto import (
    DeltaDiscoveryRequest,
    DeltaDiscoveryResponse,
    DiscoveryRequest,
    DiscoveryResponse,
)

SERVICE = "/envoy.service.secret.v3.SecretDiscoveryService"


def open_stream(channel: Any, method: str) -> Any:
    return channel.stream_stream(f"{SERVICE}/{method}")()


async def delta(channel: Any, *names: str) -> tuple[Any, Any]:
    stream = open_stream(channel, "DeltaSecrets")
    request = DeltaDiscoveryRequest(type_url=SECRET, resource_names_subscribe=names)
    await stream.write(request.SerializeToString())
    return stream, DeltaDiscoveryResponse.FromString(await stream.read())


def channel_to(socket: Path) -> Any:
    return grpc.aio.insecure_channel(f"unix:{socket}")


async def test_both_variants_answer_on_one_socket(mesh: Any) -> None:
    async with mesh.serving("web") as socket, channel_to(socket) as channel:
        _, incremental = await delta(channel, "default", "ROOTCA")
        stream = open_stream(channel, "StreamSecrets")
        request = DiscoveryRequest(type_url=SECRET, resource_names=["default", "ROOTCA"])
        await stream.write(request.SerializeToString())
        whole = DiscoveryResponse.FromString(await stream.read())

    values = [one.resource.value for one in incremental.resources]
    assert sorted(one.name for one in incremental.resources) == ["ROOTCA", "default"]
    assert sorted(one.value for one in whole.resources) == sorted(values)


@pytest.mark.parametrize("method", ["DeltaSecrets", "StreamSecrets"])
async def test_bytes_that_are_no_request_end_the_stream(mesh: Any, method: str) -> None:
    async with mesh.serving("web") as socket, channel_to(socket) as channel:
        stream = open_stream(channel, method)
        await stream.write(b"\xff\xff\xff")

        assert await stream.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_secret_service_serves_nothing_else(mesh: Any) -> None:
    async with mesh.serving("web") as socket, channel_to(socket) as channel:
        stream = open_stream(channel, "StreamSecrets")
        request = DiscoveryRequest(type_url="type.googleapis.com/envoy.config.cluster.v3.Cluster")
        await stream.write(request.SerializeToString())

        assert await stream.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_workload_gets_its_own_key_only(mesh: Any) -> None:
    async with (
        mesh.serving("web") as web,
        mesh.serving("job") as job,
        channel_to(web) as first,
        channel_to(job) as second,
    ):
        _, of_web = await delta(first, "default")
        _, of_job = await delta(second, "default")

    keys = {one.resources[0].resource.value for one in (of_web, of_job)}
    assert len(keys) == 2


async def test_one_stream_too_many_ends_the_oldest(mesh: Any) -> None:
    async with mesh.serving("web") as socket, channel_to(socket) as channel:
        streams = [(await delta(channel, "default"))[0] for _ in range(MAX_STREAMS)]
        _, answer = await delta(channel, "default")

        async with asyncio.timeout(20):
            assert await streams[0].read() is grpc.aio.EOF
        assert not streams[1].done()
        assert len(answer.resources) == 1
