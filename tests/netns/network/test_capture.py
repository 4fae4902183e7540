"""What the capture rules do to real connections, row by row of Istio's `istio-iptables`."""

from typing import Any

import pytest

from mutua.runtime.network.rules import Backend, CaptureRules, ServiceAddress

ENVOY = 1337
VIP = "10.96.0.77"
EVERYTHING = CaptureRules()


def rules(**fields: Any) -> CaptureRules:
    return CaptureRules(**fields)


# fmt: off
INBOUND = [
    pytest.param(EVERYTHING, 80, 15006, id="everything inbound goes to Envoy"),
    pytest.param(EVERYTHING, 15008, 15008, id="the tunnel port is never captured"),
    pytest.param(EVERYTHING, 15020, 15020, id="the status port is never captured"),
    pytest.param(EVERYTHING, 15021, 15021, id="the health port is never captured"),
    pytest.param(EVERYTHING, 15090, 15090, id="the metrics port is never captured"),
    pytest.param(rules(exclude_inbound_ports=(80,)), 80, 80, id="an excluded port goes to the app"),
    pytest.param(rules(exclude_inbound_ports=(80,)), 81, 15006, id="its neighbour does not"),
    pytest.param(rules(include_inbound_ports=(80,)), 80, 15006, id="an included one to Envoy"),
    pytest.param(rules(include_inbound_ports=(80,)), 81, 81, id="one that is not goes to the app"),
    pytest.param(rules(include_inbound_ports=()), 80, 80, id="an empty list captures nothing"),
    pytest.param(rules(include_inbound_ports=(80,), exclude_inbound_ports=(80,)), 80, 80,
                 id="exclusion wins"),
    pytest.param(None, 80, 80, id="no rules capture nothing"),
]

OUTBOUND = [
    pytest.param(EVERYTHING, {}, 80, 15001, id="everything outbound goes to Envoy"),
    pytest.param(EVERYTHING, {"mark": ENVOY}, 80, 80, id="Envoy's own traffic leaves"),
    pytest.param(EVERYTHING, {"mark": 1338}, 80, 15001, id="another mark is nobody's"),
    pytest.param(rules(exclude_outbound_ports=(80,)), {}, 80, 80, id="an excluded port leaves"),
    pytest.param(rules(exclude_outbound_ports=(80,)), {}, 81, 15001, id="its neighbour does not"),
    pytest.param(rules(exclude_outbound_cidrs=("10.244.0.0/24",)), {}, 80, 80,
                 id="an excluded range leaves"),
    pytest.param(rules(exclude_outbound_cidrs=("10.245.0.0/16",)), {}, 80, 15001,
                 id="another range does not"),
    pytest.param(rules(include_outbound_cidrs=("10.244.0.3/32", "10.244.0.2/31")), {}, 80, 15001,
                 id="an included range goes to Envoy"),
    pytest.param(rules(include_outbound_cidrs=("10.245.0.0/16",)), {}, 80, 80,
                 id="what is not included leaves"),
    pytest.param(rules(include_outbound_cidrs=()), {}, 80, 80, id="an empty list captures nothing"),
    pytest.param(rules(include_outbound_cidrs=(), include_outbound_ports=(80,)), {}, 80, 15001,
                 id="an included port goes to Envoy whatever its range"),
    pytest.param(rules(include_outbound_cidrs=("10.0.0.0/8",),
                       exclude_outbound_cidrs=("10.244.0.3",)), {}, 80, 80,
                 id="excluded ranges win over included ones"),
    pytest.param(None, {}, 80, 80, id="no rules capture nothing"),
]

LOOPBACK = [
    pytest.param("127.0.0.1", {}, 80, id="the app calls itself on 127.0.0.1: directly"),
    pytest.param("10.244.0.2", {}, 80, id="the app calls its own address: directly"),
    pytest.param("10.244.0.2", {"mark": ENVOY}, 15006, id="Envoy calls its own pod: as inbound"),
    pytest.param("127.0.0.1", {"mark": ENVOY}, 80, id="Envoy calls 127.0.0.1: directly"),
    pytest.param("10.244.0.2", {"mark": ENVOY, "source": "127.0.0.6"}, 80,
                 id="Envoy hands over from 127.0.0.6: directly"),
    pytest.param("10.244.0.2", {"source": "127.0.0.6"}, 80, id="a probe from 127.0.0.6: directly"),
]
# fmt: on


@pytest.mark.parametrize(("capture", "port", "reached"), INBOUND)
async def test_inbound(lab: Any, capture: CaptureRules | None, port: int, reached: int) -> None:
    async with lab:
        _, server = await lab.pods("client", "server")
        await lab.listen("server", *{port, 15006})
        await lab.network.capture("server", capture)

        answer = await lab.ask("client", server, port)

        assert (answer.pod, answer.port) == ("server", reached)
        assert answer.peer == "10.244.0.2"
        assert reached == port or answer.original == (server, port)


@pytest.mark.parametrize(("capture", "options", "port", "reached"), OUTBOUND)
async def test_outbound(
    lab: Any, capture: CaptureRules | None, options: dict[str, int], port: int, reached: int
) -> None:
    async with lab:
        _, server = await lab.pods("client", "server")
        await lab.listen("client", 15001)
        await lab.listen("server", port)
        await lab.network.capture("client", capture)

        answer = await lab.ask("client", server, port, **options)

        captured = reached == 15001
        assert (answer.pod, answer.port) == ("client" if captured else "server", reached)
        assert not captured or answer.original == (server, port)


@pytest.mark.parametrize(("address", "options", "reached"), LOOPBACK)
async def test_over_loopback(lab: Any, address: str, options: dict[str, Any], reached: int) -> None:
    async with lab:
        await lab.pods("pod")
        await lab.listen("pod", 80, 15001, 15006)
        await lab.network.capture("pod", EVERYTHING)

        answer = await lab.ask("pod", address, 80, **options)

        assert answer.port == reached
        assert reached == 80 or answer.original == (address, 80)


async def test_envoy_sees_the_service_address_the_app_asked_for(lab: Any) -> None:
    async with lab:
        _, server = await lab.pods("client", "server")
        await lab.listen("client", 15001)
        await lab.listen("server", 8080)
        await lab.network.services({ServiceAddress(VIP, 80): (Backend(server, 8080),)})
        await lab.network.capture("client", EVERYTHING)

        app = await lab.ask("client", VIP, 80)
        envoy = await lab.ask("client", VIP, 80, mark=ENVOY)

        assert (app.pod, app.original) == ("client", (VIP, 80))
        assert (envoy.pod, envoy.port) == ("server", 8080)


async def test_the_server_side_envoy_sees_the_pods_address_behind_a_service(lab: Any) -> None:
    async with lab:
        _, server = await lab.pods("client", "server")
        await lab.listen("server", 15006)
        await lab.network.services({ServiceAddress(VIP, 80): (Backend(server, 8080),)})
        await lab.network.capture("server", EVERYTHING)

        answer = await lab.ask("client", VIP, 80)

        assert (answer.port, answer.original) == (15006, (server, 8080))


async def test_capture_can_be_replaced_and_taken_away(lab: Any) -> None:
    async with lab:
        _, server = await lab.pods("client", "server")
        await lab.listen("server", 80, 15006)
        reached = []

        for capture in (EVERYTHING, rules(exclude_inbound_ports=(80,)), EVERYTHING, None, None):
            await lab.network.capture("server", capture)
            reached.append((await lab.ask("client", server, 80)).port)

        assert reached == [15006, 80, 15006, 80, 80]


async def test_established_connections_outlive_a_replacement(lab: Any) -> None:
    async with lab:
        _, server = await lab.pods("client", "server")
        await lab.listen("server", 80, 15006)
        await lab.network.capture("server", EVERYTHING)
        captured = await lab.dial("client", server, 80)

        await lab.network.capture("server", EVERYTHING)
        assert await captured.echoes()
        await lab.network.capture("server", None)
        assert await captured.echoes()
        direct = await lab.dial("client", server, 80)
        await lab.network.capture("server", EVERYTHING)

        assert await captured.echoes()
        assert await direct.echoes()
        assert (captured.answer.port, direct.answer.port) == (15006, 80)


async def test_one_pods_capture_is_not_anothers(lab: Any) -> None:
    async with lab:
        addresses = await lab.pods("client", "meshed", "plain")
        for pod in ("meshed", "plain"):
            await lab.listen(pod, 80, 15006)

        await lab.network.capture("meshed", EVERYTHING)

        ports = [(await lab.ask("client", address, 80)).port for address in addresses[1:]]
        assert ports == [15006, 80]
