"""What a client of a Service sees: a backend, another backend, or a refusal, at once."""

import asyncio
import socket
import time
from collections import Counter
from typing import Any

import pytest

from mutua.runtime.network.rules import Backend, ServiceAddress

VIP = "10.96.0.77"
WEB = ServiceAddress(VIP, 80)


async def test_a_plain_pod_reaches_a_service(lab: Any) -> None:
    async with lab:
        _, server = await lab.pods("client", "server")
        await lab.listen("server", 8080)

        await lab.network.services({WEB: (Backend(server, 8080),)})

        answer = await lab.ask("client", VIP, 80)
        assert (answer.pod, answer.port, answer.peer) == ("server", 8080, "10.244.0.2")


async def test_every_backend_gets_as_many_connections(lab: Any) -> None:
    async with lab:
        _, *servers = await lab.pods("client", "one", "two", "three")
        for pod in ("one", "two", "three"):
            await lab.listen(pod, 8080)

        await lab.network.services({WEB: tuple(Backend(server, 8080) for server in servers)})

        reached = Counter([(await lab.ask("client", VIP, 80)).pod for _ in range(600)])
        assert reached.keys() == {"one", "two", "three"}
        assert all(150 < times < 250 for times in reached.values())  # standard deviation: 11.5


async def test_a_service_without_backends_refuses_at_once(lab: Any) -> None:
    async with lab:
        await lab.pods("client")
        await lab.network.services({WEB: ()})

        with pytest.raises(ConnectionRefusedError):
            await lab.ask("client", VIP, 80)


async def test_an_address_of_no_service_is_unreachable_at_once(lab: Any) -> None:
    async with lab:
        await lab.pods("client")
        await lab.network.services({})

        with pytest.raises(OSError, match="Errno 101"):
            await lab.ask("client", VIP, 80)


async def test_a_pod_reaches_itself_through_its_service(lab: Any) -> None:
    async with lab:
        (pod,) = await lab.pods("pod")
        await lab.listen("pod", 8080)

        await lab.network.services({WEB: (Backend(pod, 8080),)})

        answer = await lab.ask("pod", VIP, 80)
        assert (answer.pod, answer.peer) == ("pod", "10.244.0.1")


async def test_the_node_reaches_pods(lab: Any) -> None:
    async with lab:
        (server,) = await lab.pods("server")
        await lab.listen("server", 8080)

        reader, writer = await asyncio.open_connection(server, 8080)

        assert b'"pod": "server"' in await reader.readline()
        writer.close()
        await writer.wait_closed()


async def test_ports_and_protocols_are_told_apart(lab: Any) -> None:
    async with lab:
        _, one, two = await lab.pods("client", "one", "two")
        for pod in ("one", "two"):
            await lab.listen(pod, 8080)
        await lab.network.services(
            {
                WEB: (Backend(one, 8080),),
                ServiceAddress(VIP, 81): (Backend(two, 8080),),
                ServiceAddress(VIP, 80, "udp"): (Backend(two, 8080),),
            }
        )

        reached = [(await lab.ask("client", VIP, port)).pod for port in (80, 81)]

        assert reached == ["one", "two"]


async def test_udp_reaches_a_service_and_is_refused_without_backends(lab: Any) -> None:
    loop = asyncio.get_running_loop()
    async with lab:
        _, server = await lab.pods("client", "server")
        listener = await lab.network.socket("server", "udp")
        listener.bind((server, 53))
        client = await lab.network.socket("client", "udp")
        await lab.network.services(
            {
                ServiceAddress(VIP, 53, "udp"): (Backend(server, 53),),
                ServiceAddress(VIP, 54, "udp"): (),
            }
        )

        with client, listener:
            async with asyncio.timeout(20):
                await loop.sock_connect(client, (VIP, 53))
                await loop.sock_sendall(client, b"ping")
                data, peer = await loop.sock_recvfrom(listener, 64)
                await loop.sock_sendto(listener, data, peer)
                assert await loop.sock_recv(client, 64) == b"ping"
                await loop.sock_connect(client, (VIP, 54))
                await loop.sock_sendall(client, b"ping")
                with pytest.raises(ConnectionRefusedError):
                    await loop.sock_recv(client, 64)


async def test_udp_leaves_a_backend_that_is_gone(lab: Any) -> None:
    loop = asyncio.get_running_loop()
    service = ServiceAddress(VIP, 53, "udp")
    async with lab, asyncio.timeout(20):
        _, one, two = await lab.pods("client", "one", "two")
        listeners = [await lab.network.socket(pod, "udp") for pod in ("one", "two")]
        client = await lab.network.socket("client", "udp")
        with client, listeners[0], listeners[1]:
            for listener, address in zip(listeners, (one, two), strict=True):
                listener.bind((address, 53))
            await loop.sock_connect(client, (VIP, 53))
            await lab.network.services({service: (Backend(one, 53),)})
            await loop.sock_sendall(client, b"first")
            assert await loop.sock_recv(listeners[0], 64) == b"first"

            await lab.network.services({service: (Backend(two, 53),)})
            await loop.sock_sendall(client, b"second")

            assert await loop.sock_recv(listeners[1], 64) == b"second"


async def test_established_connections_outlive_every_change(lab: Any) -> None:
    async with lab:
        _, one, two = await lab.pods("client", "one", "two")
        for pod in ("one", "two"):
            await lab.listen(pod, 8080)
        await lab.network.services({WEB: (Backend(one, 8080),)})
        open_before = await lab.dial("client", VIP, 80)

        for table in ({WEB: (Backend(two, 8080),)}, {WEB: ()}, {}, {WEB: (Backend(two, 8080),)}):
            await lab.network.services(table)
            assert await open_before.echoes()

        assert open_before.answer.pod == "one"
        assert (await lab.ask("client", VIP, 80)).pod == "two"


async def test_no_connection_fails_while_backends_are_exchanged(lab: Any) -> None:
    async with lab:
        _, one, two = await lab.pods("client", "one", "two")
        for pod in ("one", "two"):
            await lab.listen(pod, 8080)
        await lab.network.services({WEB: (Backend(one, 8080),)})
        other = {ServiceAddress("10.96.1.1", n): (Backend(one, n),) for n in range(1, 50)}

        async def exchange() -> None:
            for _ in range(20):
                await lab.network.services({WEB: (Backend(two, 8080),)} | other)
                await lab.network.services({WEB: (Backend(one, 8080), Backend(two, 8080))})

        async with asyncio.TaskGroup() as tasks:
            exchanging = tasks.create_task(exchange())
            dials = 0
            while not exchanging.done():
                await lab.ask("client", VIP, 80)
                dials += 1

        assert dials > 10


async def test_a_restarted_daemon_takes_over_the_table(lab: Any) -> None:
    async with lab:
        _, one, two = await lab.pods("client", "one", "two")
        for pod in ("one", "two"):
            await lab.listen(pod, 8080)
        await lab.network.services({WEB: (Backend(one, 8080),), ServiceAddress(VIP, 81): ()})
        open_before = await lab.dial("client", VIP, 80)

        second = type(lab)(lab.directory)
        async with second:
            assert await second.network.attached() == {"client", "one", "two"}
            assert (await second.ask("client", VIP, 80)).pod == "one"
            await second.network.services({WEB: (Backend(two, 8080),)})

            assert (await second.ask("client", VIP, 80)).pod == "two"
            assert await open_before.echoes()


async def test_hundreds_of_services_stay_cheap(lab: Any) -> None:
    table = {
        ServiceAddress(f"10.96.{1 + n // 200}.{1 + n % 200}", 80): tuple(
            Backend(f"10.244.{1 + k}.{1 + n % 200}", 8080) for k in range(3)
        )
        for n in range(1000)
    }
    async with lab:
        _, server = await lab.pods("client", "server")
        await lab.listen("server", 8080)

        started = time.process_time()  # of all threads: the machine may be busy
        await lab.network.services(table)
        built = time.process_time()
        await lab.network.services(table | {WEB: (Backend(server, 8080),)})
        changed = time.process_time()

        assert (await lab.ask("client", VIP, 80)).pod == "server"
        assert built - started < 2
        assert changed - built < 0.1
        print(
            f"1000 services: built in {built - started:.3f} s, one added in {changed - built:.4f} s"
        )


async def test_a_pod_cannot_speak_for_another(lab: Any) -> None:
    async with lab:
        _, server = await lab.pods("client", "server")
        listener = await lab.network.socket("server", "udp")
        client = await lab.network.socket("client", "udp")
        with listener, client:
            listener.bind((server, 53))
            client.setsockopt(socket.SOL_IP, 15, 1)  # IP_FREEBIND
            client.setsockopt(socket.SOL_IP, 19, 1)  # IP_TRANSPARENT
            client.bind(("10.244.0.99", 5000))
            client.sendto(b"forged", (server, 53))
            honest = await lab.network.socket("client", "udp")
            with honest:
                honest.sendto(b"honest", (server, 53))

            async with asyncio.timeout(20):
                first = await asyncio.get_running_loop().sock_recv(listener, 64)

        assert first == b"honest"
