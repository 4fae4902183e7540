"""Envoy and OpenSSL, as peers that do not know mutua, accept what the agent hands out."""

import asyncio
import http.client
import ssl
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from mutua.identity.x509 import parse_certificates

PATIENCE = 20.0
"""Seconds for one answer on a busy machine."""


def get(port: int, context: ssl.SSLContext | None = None) -> tuple[int, str, str]:
    """Return status, the server's idea of its peer, and the TLS version."""
    connection = (
        http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=PATIENCE)
        if context
        else http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    )
    try:
        connection.request("GET", "/")
        answer = connection.getresponse()
        answer.read()
        return answer.status, answer.getheader("peer", ""), answer.getheader("tls", "")
    finally:
        connection.close()


def served_serial(port: int, context: ssl.SSLContext) -> int:
    """Return the serial of the certificate a server presents now."""
    connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=PATIENCE)
    try:
        connection.connect()
        der = connection.sock.getpeercert(binary_form=True)
    finally:
        connection.close()
    return parse_certificates(ssl.DER_cert_to_PEM_cert(der))[0].serial_number


def current_serial(source: Any) -> int:
    return parse_certificates(source.current.issued.leaf)[0].serial_number


async def test_two_envoys_talk_mutual_tls_and_each_knows_the_other(mesh: Any, kit: Any) -> None:
    async with (
        mesh.serving("web") as web,
        mesh.serving("job") as job,
        kit.running(kit.binary, web.parent, kit.server(web)) as server,
        kit.running(
            kit.binary,
            job.parent,
            kit.client(job, server.port, expect=str(mesh.identity("web"))),
        ) as client,
    ):
        seen = await asyncio.to_thread(get, client.port)

    assert seen == (200, "spiffe://cluster.local/ns/shop/sa/job", "TLSv1.3")


async def test_a_client_refuses_a_server_of_another_identity(mesh: Any, kit: Any) -> None:
    async with (
        mesh.serving("web") as web,
        mesh.serving("job") as job,
        kit.running(kit.binary, web.parent, kit.server(web)) as server,
        kit.running(
            kit.binary, job.parent, kit.client(job, server.port, expect=str(mesh.identity("bank")))
        ) as client,
    ):
        status, _, _ = await asyncio.to_thread(get, client.port)

    assert status == 503


@pytest.mark.parametrize("api", ["DELTA_GRPC", "GRPC"])
async def test_a_renewed_certificate_reaches_envoy_without_a_restart(
    mesh: Any, kit: Any, api: str
) -> None:
    source = await mesh.add("web")
    await mesh.add("probe")
    probe = mesh.client("probe")
    async with asyncio.TaskGroup() as tasks:
        agent = tasks.create_task(mesh.agent.run())
        async with (
            mesh.serving("web") as socket,
            kit.running(kit.binary, socket.parent, kit.server(socket, api=api)) as server,
        ):
            before = await asyncio.to_thread(served_serial, server.port, probe)
            first = current_serial(source)
            long_lived = http.client.HTTPSConnection("127.0.0.1", server.port, context=probe)
            await asyncio.to_thread(long_lived.request, "GET", "/")
            (await asyncio.to_thread(long_lived.getresponse)).read()

            mesh.clock.step = timedelta(hours=13)
            async with asyncio.timeout(PATIENCE):
                await source.wait_newer(1)
            mesh.clock.step = timedelta()
            await kit.until(
                lambda: served_serial(server.port, probe) == current_serial(source) != first
            )
            after = await asyncio.to_thread(get, server.port, probe)
            await asyncio.to_thread(long_lived.request, "GET", "/")
            survivor = (await asyncio.to_thread(long_lived.getresponse)).status
            long_lived.close()
        agent.cancel()

    assert before == first
    assert after == (200, "spiffe://cluster.local/ns/shop/sa/probe", "TLSv1.3")
    assert survivor == 200


async def test_who_is_let_in(mesh: Any, kit: Any, tmp_path: Path) -> None:
    stranger = type(mesh)(tmp_path)  # another mesh: same names, another root
    await stranger.add("job")
    await mesh.add("job")
    async with (
        mesh.serving("web") as socket,
        kit.running(kit.binary, socket.parent, kit.server(socket)) as server,
    ):
        member = await asyncio.to_thread(get, server.port, mesh.client("job"))
        roots = mesh.authority.roots_pem
        with pytest.raises((ssl.SSLError, OSError)):
            await asyncio.to_thread(get, server.port, mesh.client(""))
        with pytest.raises((ssl.SSLError, OSError)):
            await asyncio.to_thread(get, server.port, stranger.client("job", roots=roots))
        with pytest.raises((http.client.HTTPException, OSError)):
            await asyncio.to_thread(get, server.port)

    assert member == (200, "spiffe://cluster.local/ns/shop/sa/job", "TLSv1.3")


async def test_envoy_waits_for_the_first_certificate_and_then_serves(mesh: Any, kit: Any) -> None:
    """The authority is down when the pod starts: nothing is served until it is back."""
    sign: Callable[..., Any] = mesh.agent._issuer.sign

    async def refuse(*_: Any) -> Any:
        raise ConnectionRefusedError("the authority is down")

    mesh.agent._issuer.sign = refuse
    await mesh.add("web")
    async with asyncio.TaskGroup() as tasks:
        agent = tasks.create_task(mesh.agent.run())
        async with mesh.serving("web") as socket:
            mesh.agent._issuer.sign = sign
            await mesh.add("job")
            async with kit.running(kit.binary, socket.parent, kit.server(socket)) as server:
                await kit.until(lambda: get(server.port, mesh.client("job"))[0] == 200)
        agent.cancel()


async def test_a_new_server_on_the_socket_is_found_and_its_certificate_used(
    mesh: Any, kit: Any
) -> None:
    """The daemon dies and comes back: Envoy reconnects and takes the new certificate."""
    await mesh.add("job")
    probe = mesh.client("job")
    async with mesh.serving("web") as socket:
        pass  # learn the path
    source = await mesh.add("web")
    serving = mesh.serving("web")
    await serving.__aenter__()
    async with kit.running(kit.binary, socket.parent, kit.server(socket)) as server:
        before = await asyncio.to_thread(served_serial, server.port, probe)
        await serving.__aexit__(None, None, None)
        while_down = await asyncio.to_thread(served_serial, server.port, probe)
        mesh.agent.remove("web")
        async with mesh.serving("web"):
            fresh = await mesh.add("web")
            await kit.until(lambda: served_serial(server.port, probe) == current_serial(fresh))

    assert before == while_down == current_serial(source)
    assert current_serial(fresh) != before
