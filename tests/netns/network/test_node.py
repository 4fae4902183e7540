"""Attaching, adopting and detaching pods, and what is left afterwards."""

import asyncio
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from mutua.foundation.errors import Rejected, Unavailable
from mutua.runtime.network import links, namespace
from mutua.runtime.network.links import interface_index, node_end
from mutua.runtime.network.rules import Backend, CaptureRules, ServiceAddress

SERVICE = ServiceAddress("10.96.0.77", 80)


def setting(name: str) -> str:
    return Path("/proc/sys/net", name).read_text().split()[0]


async def test_pods_reach_each_other_and_see_each_others_address(lab: Any) -> None:
    async with lab:
        one, two = await lab.pods("one", "two")
        await lab.listen("one", 80)
        await lab.listen("two", 80)

        there = await lab.ask("one", two, 80)
        back = await lab.ask("two", one, 80)

        assert (there.pod, there.peer) == ("two", one)
        assert (back.pod, back.peer) == ("one", two)


async def test_a_pod_reaches_itself_by_its_own_address_and_by_loopback(lab: Any) -> None:
    async with lab:
        (address,) = await lab.pods("pod")
        await lab.listen("pod", 80)

        for target in (address, "127.0.0.1", "127.0.0.6"):
            assert (await lab.ask("pod", target, 80)).pod == "pod"


async def test_a_pod_reaches_the_node_and_its_dns_address(lab: Any) -> None:
    loop = asyncio.get_running_loop()
    async with lab:
        await lab.pods("pod")
        client = await lab.network.socket("pod", "udp")
        with socket.socket(type=socket.SOCK_DGRAM) as server, client:
            server.setblocking(False)
            server.bind(("10.96.0.10", 53))
            async with asyncio.timeout(20):
                await loop.sock_sendto(client, b"question", ("10.96.0.10", 53))
                data, peer = await loop.sock_recvfrom(server, 64)

        assert (data, peer[0]) == (b"question", "10.244.0.2")


async def test_programs_without_capabilities_may_listen_on_port_80(lab: Any) -> None:
    async with lab:
        await lab.pods("pod")

        first_free = namespace.call_inside(
            lab.directory / "pod", lambda: setting("ipv4/ip_unprivileged_port_start")
        )

        assert first_free == "0"


async def test_the_wire_of_a_pod_has_no_ipv6(lab: Any) -> None:
    async with lab:
        await lab.pods("pod")

        def addresses() -> list[str]:
            return [
                line.split()[-1] for line in Path("/proc/net/if_inet6").read_text().splitlines()
            ]

        inside = namespace.call_inside(lab.directory / "pod", addresses)

        assert set(inside) <= {"lo"}
        assert set(addresses()) <= {"lo"}


async def test_attaching_again_changes_nothing(lab: Any) -> None:
    async with lab:
        _, two = await lab.pods("one", "two")
        await lab.listen("two", 80)
        connection = await lab.dial("one", two, 80)

        again = await lab.network.attach("two", two)

        assert again == str(lab.directory / "two")
        assert await connection.echoes()
        assert (await lab.ask("one", two, 80)).pod == "two"


@pytest.mark.parametrize("half", ["only the mount point", "only the namespace"])
async def test_a_half_made_attachment_is_completed(lab: Any, half: str) -> None:
    async with lab:
        path = lab.directory / "two"
        if half == "only the mount point":
            path.touch()
        else:
            namespace.create(path, lambda: None)

        _, two = await lab.pods("one", "two")
        await lab.listen("two", 80)

        assert (await lab.ask("one", two, 80)).pod == "two"


async def test_a_restarted_daemon_adopts_its_pods(lab: Any) -> None:
    async with lab:
        one, two = await lab.pods("one", "two")
        await lab.listen("two", 80)
        await lab.network.capture("one", CaptureRules(include_outbound_cidrs=()))
        connection = await lab.dial("one", two, 80)

        second = type(lab)(lab.directory)
        async with second:
            assert await second.network.attached() == {"one", "two"}
            await second.network.attach("one", one)
            assert await connection.echoes()
            await second.network.detach("one")
            assert await second.network.attached() == {"two"}


async def test_detaching_leaves_nothing(lab: Any) -> None:
    async with lab:
        before = open_files()
        for _ in range(3):
            _, server = await lab.pods("client", "server")
            await lab.network.capture("server", CaptureRules())
            await lab.network.services({SERVICE: (Backend(server, 80),)})
            for uid in ("client", "server"):
                await lab.network.detach(uid)
                await lab.network.detach(uid)

        assert await lab.network.attached() == frozenset()
        assert list(lab.directory.iterdir()) == []
        assert [interface_index(node_end(uid)) for uid in ("client", "server")] == [None, None]
        assert str(lab.directory) not in Path("/proc/self/mounts").read_text()
        assert "10.244.0" not in routes_by_wire()
        assert open_files() == before


def routes_by_wire() -> str:
    return Path("/proc/net/route").read_text()


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_a_pod_that_is_gone_is_unreachable_at_once(lab: Any) -> None:
    async with lab:
        _, two = await lab.pods("one", "two")
        await lab.network.detach("two")

        with pytest.raises(OSError, match="Errno 101"):
            await lab.ask("one", two, 80)


async def test_a_pod_without_network_has_no_socket_and_no_capture(lab: Any) -> None:
    async with lab:
        with pytest.raises(Unavailable, match="no network namespace for pod ghost"):
            await lab.network.socket("ghost", "tcp")
        with pytest.raises(Unavailable, match="ghost"):
            await lab.network.capture("ghost", CaptureRules())


@pytest.mark.parametrize("uid", ["", ".", "..", "../other", "a/b"])
async def test_a_uid_cannot_leave_the_directory(lab: Any, uid: str) -> None:
    async with lab:
        with pytest.raises(Rejected, match="not a pod uid"):
            await lab.network.attach(uid, "10.244.0.9")


@pytest.mark.parametrize("address", ["", "10.244.0", "fd00::1", "10.244.0.2/32"])
async def test_an_address_that_is_none_is_rejected(lab: Any, address: str) -> None:
    async with lab:
        with pytest.raises(Rejected, match="not an IPv4 address"):
            await lab.network.attach("pod", address)

        assert await lab.network.attached() == frozenset()


async def test_what_the_kernel_refuses_is_unavailable_and_says_what(lab: Any) -> None:
    async with lab:
        lab.directory.rmdir()

        with pytest.raises(Unavailable, match=r"cannot attach pod one: .*No such file"):
            await lab.network.attach("one", "10.244.0.2")

        lab.directory.mkdir()
        assert await lab.network.attach("one", "10.244.0.2")


def test_what_netlink_refuses_is_unavailable_too() -> None:
    with (
        pytest.raises(Unavailable, match=r"cannot raise the dead: .*No such device"),
        links.told("raise the dead"),
        links.open_routes() as routes,
    ):
        routes.link("set", index=9999, state="up")


async def test_starting_twice_is_starting_once(lab: Any) -> None:
    async with lab:
        await lab.network.start()

        assert await lab.network.attached() == frozenset()


async def test_attaching_is_quick(lab: Any) -> None:
    async with lab:
        await lab.network.attach("warm", "10.244.0.100")
        took = []
        for index in range(2, 12):
            started = time.perf_counter()
            await lab.network.attach(f"pod-{index}", f"10.244.0.{index}")
            took.append(time.perf_counter() - started)

        print(f"attach: at best {min(took) * 1000:.1f} ms")
        assert min(took) < 0.1
