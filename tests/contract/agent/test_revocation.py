"""Envoy refuses what is on a revocation list, in both roles, resumed sessions included."""

import asyncio
import http.client
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mutua.agent.sds import sds_handler
from mutua.agent.secret import SecretSource
from mutua.identity.crl import sign_lists
from mutua.xds.server import serve_workload

PATIENCE = 20.0
"""Seconds for one answer on a busy machine."""


def check(mesh: Any, source: SecretSource, *serials: int) -> None:
    """Have a proxy check its peers against a list with these serial numbers."""
    signer, now, secret = mesh.authority.material.signer, mesh.clock.now(), source.current
    assert secret is not None
    crl = sign_lists([signer], serials, number=int(now.timestamp()), now=now)
    source.publish(replace(secret, bundle=replace(secret.bundle, crl=crl)))


def check_nobody(source: SecretSource) -> None:
    """Have a proxy not check for revocation."""
    assert source.current is not None
    bundle = replace(source.current.bundle, crl="")
    source.publish(replace(source.current, bundle=bundle))


def serial(source: SecretSource) -> int:
    assert source.current is not None
    return int(source.current.issued.serial_number, 16)


@asynccontextmanager
async def serving(mesh: Any, name: str) -> AsyncIterator[tuple[Path, SecretSource]]:
    """Serve a workload's secrets."""
    source = await mesh.add(name)
    path = mesh.directory / name / "socket"
    server = await serve_workload({path: [sds_handler(source)]})
    try:
        yield path, source
    finally:
        await server.stop()


def status(port: int) -> int:
    """Return the status that the client's Envoy answers with: 503 when the handshake failed."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.parametrize("revoked", ["web", "job"], ids=["the server is", "the client is"])
async def test_new_handshakes_with_a_revoked_peer_fail(mesh: Any, kit: Any, revoked: str) -> None:
    """The one that checks is the other one: only it gets the list."""
    async with (
        serving(mesh, "web") as (web, server_secret),
        serving(mesh, "job") as (job, client_secret),
        kit.running(kit.binary, web.parent, kit.server(web)) as server,
        kit.running(
            kit.binary, job.parent, kit.client(job, server.port, expect=str(mesh.identity("web")))
        ) as client,
    ):
        checker, other = client_secret, server_secret
        if revoked == "job":
            checker, other = server_secret, client_secret
        assert await asyncio.to_thread(status, client.port) == 200

        check(mesh, checker)  # against an empty list
        await asyncio.sleep(0)
        await kit.until(lambda: status(client.port) == 200)

        # The pool may keep the connection it has: a kick closes it.  Here the server does.
        check(mesh, checker, serial(other))
        assert await refuses_new(client, server, kit)

        check_nobody(checker)
        await kit.until(lambda: status(client.port) == 200)


async def refuses_new(client: Any, server: Any, kit: Any) -> bool:
    """Drain the server's connections until the client has to make a new one, and fails."""

    def fails() -> bool:
        drain = http.client.HTTPConnection(server.admin, timeout=PATIENCE)
        try:
            drain.request("POST", "/drain_listeners?graceful&skip_exit")
            drain.getresponse().read()
        finally:
            drain.close()
        return status(client.port) == 503

    await kit.until(fails)
    return True


def request(port: int, context: ssl.SSLContext, session: Any = None) -> tuple[Any, bool]:
    """Make one request; return the session for the next, and whether this one was resumed."""
    with (
        socket.create_connection(("127.0.0.1", port), PATIENCE) as raw,
        context.wrap_socket(raw, session=session) as tls,
    ):
        tls.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        answer = tls.recv(65536)
        if not answer.startswith(b"HTTP/1.1 200"):
            raise OSError(answer[:40])
        return tls.session, bool(tls.session_reused)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_session_is_not_resumed_past_a_revocation(
    mesh: Any, kit: Any, version: ssl.TLSVersion
) -> None:
    async with (
        serving(mesh, "web") as (web, checker),
        serving(mesh, "job") as (_, other),
        kit.running(kit.binary, web.parent, kit.server(web)) as server,
    ):
        context = mesh.client("job")
        context.minimum_version = context.maximum_version = version
        session, _ = await asyncio.to_thread(request, server.port, context)
        _, resumed = await asyncio.to_thread(request, server.port, context, session)
        assert resumed, "Envoy resumes sessions, or this test shows nothing"

        check(mesh, checker, serial(other))

        def refused() -> bool:
            try:
                request(server.port, context, session)
            except OSError:
                return True
            return False

        await kit.until(refused)
