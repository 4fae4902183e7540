"""A real Envoy behind the capture rules, in both directions: what the rules are for.

app in `client` --> VIP:80 --redirect--> Envoy 15001 --mark 1337--> VIP:80 --Service--> server
client --> server:8080 --redirect--> Envoy 15006 --from 127.0.0.6--> app in `server`
"""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from mutua.runtime.envoy import find_envoy
from mutua.runtime.network import namespace
from mutua.runtime.network.rules import Backend, CaptureRules, ServiceAddress

VIP = "10.96.0.77"
SO_MARK, SOL_SOCKET, ENVOY_MARK = 36, 1, 1337

TCP_PROXY = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
ORIGINAL_DST = "type.googleapis.com/envoy.extensions.filters.listener.original_dst.v3.OriginalDst"


def listener(name: str, address: str, port: int, cluster: str, **fields: Any) -> dict[str, Any]:
    proxy = {"@type": TCP_PROXY, "stat_prefix": name, "cluster": cluster}
    return {
        "name": name,
        "address": {"socket_address": {"address": address, "port_value": port}},
        "filter_chains": [{"filters": [{"name": "tcp", "typed_config": proxy}]}],
    } | fields


def original_dst_cluster(name: str, bind: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "type": "ORIGINAL_DST",
        "lb_policy": "CLUSTER_PROVIDED",
        "connect_timeout": "5s",
        "upstream_bind_config": bind,
    }


def bootstrap() -> dict[str, Any]:
    """Outbound: the listener of the VIP, found by original destination.  Inbound: pass through."""
    mark = {"level": SOL_SOCKET, "name": SO_MARK, "int_value": ENVOY_MARK, "state": "STATE_PREBIND"}
    handover = {"source_address": {"address": "127.0.0.6", "port_value": 0}}
    filters = [{"name": "original_dst", "typed_config": {"@type": ORIGINAL_DST}}]
    return {
        "static_resources": {
            "listeners": [
                listener("vip", VIP, 80, "outbound", bind_to_port=False),
                listener("virtualInbound", "0.0.0.0", 15006, "inbound", listener_filters=filters),
                # Envoy begins to listen in this order: who reaches the last has all of them.
                listener("virtualOutbound", "0.0.0.0", 15001, "nowhere", use_original_dst=True),
            ],
            "clusters": [
                original_dst_cluster("outbound", {"socket_options": [mark]}),
                original_dst_cluster("inbound", handover),
                {"name": "nowhere", "type": "STATIC", "connect_timeout": "1s"},
            ],
        }
    }


def start_envoy(path: Path, log: Path) -> "subprocess.Popen[bytes]":
    configuration = json.dumps(bootstrap())
    arguments = ["--config-yaml", configuration, "--disable-hot-restart", "--concurrency", "1"]
    with log.open("wb") as output:
        return subprocess.Popen(
            [find_envoy(), *arguments],
            stdout=output,
            stderr=output,
        )


@asynccontextmanager
async def envoy_in(lab: Any, uid: str, tmp_path: Path) -> AsyncIterator[None]:
    start = partial(start_envoy, tmp_path, tmp_path / f"{uid}.log")
    process = await asyncio.to_thread(namespace.call_inside, lab.directory / uid, start)
    try:
        await until_accepting(lab, uid)
        await lab.network.capture(uid, CaptureRules())
        yield
    finally:
        process.kill()
        process.wait()


async def until_accepting(lab: Any, uid: str) -> None:
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(20):
        while True:
            with await lab.network.socket(uid, "tcp") as probe:
                try:
                    await loop.sock_connect(probe, ("127.0.0.1", 15001))
                except ConnectionRefusedError:
                    await asyncio.sleep(0.05)
                else:
                    return


async def test_envoy_finds_the_service_address_and_dials_it_past_the_rules(
    lab: Any, tmp_path: Path
) -> None:
    async with lab:
        _, server = await lab.pods("client", "server")
        await lab.listen("server", 8080)
        await lab.network.services({ServiceAddress(VIP, 80): (Backend(server, 8080),)})

        async with envoy_in(lab, "client", tmp_path):
            connection = await lab.dial("client", VIP, 80)

            assert connection.answer.pod == "server"
            assert connection.answer.peer == "10.244.0.2"
            assert await connection.echoes()
            connection.close()


async def test_envoy_hands_captured_connections_to_its_application(
    lab: Any, tmp_path: Path
) -> None:
    async with lab:
        _, server = await lab.pods("client", "server")
        await lab.listen("server", 8080)
        await lab.network.services({ServiceAddress(VIP, 80): (Backend(server, 8080),)})

        async with envoy_in(lab, "server", tmp_path):
            for address, port in ((server, 8080), (VIP, 80)):
                connection = await lab.dial("client", address, port)

                assert (connection.answer.pod, connection.answer.port) == ("server", 8080)
                assert connection.answer.peer == "127.0.0.6"
                assert await connection.echoes()
                connection.close()


async def test_envoy_calling_its_own_pod_comes_in_by_the_front_door(
    lab: Any, tmp_path: Path
) -> None:
    async with lab:
        (pod,) = await lab.pods("pod")
        await lab.listen("pod", 80)

        async with envoy_in(lab, "pod", tmp_path):
            marked = await lab.dial("pod", pod, 80, mark=ENVOY_MARK)

            assert marked.answer.peer == "127.0.0.6"
            assert await marked.echoes()
            marked.close()
