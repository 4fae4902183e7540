"""What the HTTP server promises to well-behaved clients, and what it bears from others."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from typing import Any

import pytest

from mutua.cluster.apiserver.connection import Limits
from mutua.cluster.apiserver.message import Reply, Request, Response, Stream, Upgrade
from mutua.foundation.errors import MutuaError, Rejected

Serve = Any  # the fixture's type lives in conftest, which tests cannot import

GET = "GET /a?b=c HTTP/1.1\nHost: x\n\n"


async def echo(request: Request) -> Response:
    text = f"{request.method} {request.path} {request.parameter('b')} {request.body.decode()}"
    return Response(body=text.encode(), content_type="text/plain")


def refuse(error: MutuaError) -> Response:
    return Response(status=418, body=str(error).encode())


async def test_one_connection_carries_many_requests(serve: Serve) -> None:
    async with serve(echo) as server, server.connect() as peer:
        await peer.send(GET)
        first = await peer.response()
        await peer.send("POST /d/ HTTP/1.1\nHost: x\nContent-Length: 5\n\nhello")
        second = await peer.response()

    assert first == (200, "GET /a c ")
    assert second == (200, "POST /d  hello")


async def test_requests_may_be_sent_ahead(serve: Serve) -> None:
    async with serve(echo) as server, server.connect() as peer:
        await peer.send(GET + GET)

        assert [await peer.response(), await peer.response()] == [(200, "GET /a c ")] * 2


async def test_a_chunked_body_arrives_whole(serve: Serve) -> None:
    async with serve(echo) as server, server.connect() as peer:
        await peer.send("POST / HTTP/1.1\nHost: x\nTransfer-Encoding: chunked\n\n")
        await peer.send("3\nabc\n2\nde\n0\n\n")

        assert await peer.response() == (200, "POST /  abcde")


async def test_who_waits_for_100_continue_gets_it(serve: Serve) -> None:
    async with serve(echo) as server, server.connect() as peer:
        await peer.send("POST / HTTP/1.1\nHost: x\nContent-Length: 2\nExpect: 100-continue\n\n")
        interim = await peer.reader.readuntil(b"\r\n\r\n")
        await peer.send("hi")

        assert b" 100 " in interim
        assert await peer.response() == (200, "POST /  hi")


# fmt: off
HOSTILE = [
    pytest.param("BAD\n\n", 400, id="not HTTP"),
    pytest.param("GET / HTTP/1.1\n\n", 400, id="no Host"),
    pytest.param(f"GET /{'x' * 3000}", 431, id="endless head"),
    pytest.param("POST / HTTP/1.1\nHost: x\nContent-Length: 2000\n\n" + "x" * 2000, 413,
        id="body beyond the limit"),
    pytest.param("POST / HTTP/1.1\nHost: x\nTransfer-Encoding: chunked\n\n7d0\n" + "x" * 2000, 413,
        id="chunks beyond the limit"),
    pytest.param("POST / HTTP/1.1\nHost: x\nContent-Length: 2\nTransfer-Encoding: chunked\n\n",
        None, id="two framings at once"),
]
# fmt: on


@pytest.mark.parametrize(("text", "status"), HOSTILE)
async def test_a_hostile_request_ends_its_connection_only(
    serve: Serve, text: str, status: int | None
) -> None:
    # Who is refused is told at once; only one that is not is hung up on for waiting.
    limits = Limits(head=1000, stranger_body=1000, request=30 if status else 0.5)
    async with serve(echo, limits) as server:
        async with server.connect() as peer:
            await peer.send(text)
            answer = await peer.reader.read()
        async with server.connect() as other:
            await other.send(GET)
            unharmed = await other.response()

    if status is not None:
        assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert unharmed[0] == 200


@pytest.mark.parametrize("sent", ["", "GET / HT", GET.removesuffix("\n"), "POST / HTTP/1.1\n"])
async def test_a_client_that_stalls_is_hung_up_on(serve: Serve, sent: str) -> None:
    async with serve(echo, Limits(idle=0.1, request=0.1)) as server, server.connect() as peer:
        await peer.send(sent)

        assert await peer.reader.read() == b""


async def test_a_bug_in_the_handler_is_a_500_and_the_connection_goes_on(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(request: Request) -> Response:
        if request.path == "/a":
            raise KeyError("oops")
        return await echo(request)

    async with serve(broken) as server, server.connect() as peer:
        await peer.send(GET)
        status, text = await peer.response()
        await peer.send("GET /ok HTTP/1.1\nHost: x\n\n")
        after = await peer.response()

    assert (status, "oops" in text) == (500, False)
    assert "request failed" in caplog.text
    assert after[0] == 200


async def test_a_stream_ends_when_its_client_goes_away(serve: Serve) -> None:
    closed = asyncio.Event()

    async def forever() -> AsyncIterator[bytes]:
        try:
            yield b"first\n"
            await asyncio.Event().wait()
        finally:
            closed.set()

    async def stream(request: Request) -> Reply:
        return Stream(chunks=forever(), content_type="text/plain", refuse=refuse)

    async with serve(stream) as server:
        async with server.connect() as peer:
            await peer.send(GET)
            assert b"first" in await peer.reader.readuntil(b"first\n")
        await closed.wait()


async def test_a_client_that_does_not_read_is_hung_up_on(serve: Serve) -> None:
    closed = asyncio.Event()

    async def flood() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * 65536
        finally:
            closed.set()

    async def stream(request: Request) -> Reply:
        return Stream(chunks=flood(), content_type="text/plain", refuse=refuse)

    async with serve(stream, Limits(write=0.2)) as server, server.connect() as peer:
        peer.writer.transport.pause_reading()
        await peer.send(GET)

        await closed.wait()


async def test_a_stream_that_ends_leaves_the_connection_usable(serve: Serve) -> None:
    async def two() -> AsyncIterator[bytes]:
        yield b""
        yield b"one"
        yield b"two"

    async def stream(request: Request) -> Reply:
        if request.path == "/a":
            return Stream(chunks=two(), content_type="text/plain", refuse=refuse)
        return await echo(request)

    async with serve(stream) as server, server.connect() as peer:
        await peer.send(GET)
        text = await peer.reader.readuntil(b"0\r\n\r\n")
        await peer.send("GET /next HTTP/1.1\nHost: x\n\n")

        assert b"3\r\none\r\n3\r\ntwo\r\n" in text
        assert (await peer.response())[0] == 200


async def test_a_stream_may_be_refused_before_its_first_chunk(serve: Serve) -> None:
    async def none() -> AsyncIterator[bytes]:
        raise Rejected("no such container")
        yield b""

    async def stream(request: Request) -> Reply:
        return Stream(chunks=none(), content_type="text/plain", refuse=refuse)

    async with serve(stream) as server, server.connect() as peer:
        await peer.send(GET)

        assert await peer.response() == (418, "no such container")


UPGRADE = "GET /x HTTP/1.1\nHost: x\nConnection: Upgrade\nUpgrade: echo\n\n"


async def test_an_upgraded_connection_belongs_to_its_handler(serve: Serve) -> None:
    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
        while line := await reader.readline():
            writer.write(line.upper())
            await writer.drain()
            if line == b"bye\n":
                return

    async def upgrade(request: Request) -> Reply:
        return Upgrade(take=take, refuse=refuse)

    async with serve(upgrade) as server, server.connect() as peer:
        await peer.send(UPGRADE)
        await peer.reader.readuntil(b"\r\n\r\n")
        peer.writer.write(b"hello\nbye\n")

        assert await peer.reader.read() == b"HELLO\nBYE\n"


async def test_an_upgrade_may_be_refused(serve: Serve) -> None:
    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raise Rejected("not here")

    async def upgrade(request: Request) -> Reply:
        return Upgrade(take=take, refuse=refuse)

    async with serve(upgrade) as server, server.connect() as peer:
        await peer.send(UPGRADE)

        assert await peer.response() == (418, "not here")


async def test_nothing_may_be_sent_before_the_upgrade_is_granted(serve: Serve) -> None:
    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raise AssertionError("must not be asked")

    async def upgrade(request: Request) -> Reply:
        return Upgrade(take=take, refuse=refuse)

    async with serve(upgrade) as server, server.connect() as peer:
        await peer.send(UPGRADE + "smuggled")

        assert (await peer.response())[0] == 400


async def _one_request(server: Any) -> None:
    async with server.connect() as peer:
        await peer.send(GET)
        await peer.response()


async def test_connections_beyond_the_limit_are_dropped(serve: Serve) -> None:
    async with serve(echo, Limits(strangers=1)) as server, server.connect() as first:
        await first.send(GET)
        await first.response()
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await _one_request(server)
        await first.send(GET)

        assert (await first.response())[0] == 200


async def test_strangers_cannot_lock_the_owner_out(serve: Serve) -> None:
    async with (
        serve(echo, Limits(strangers=1, stranger_body=3)) as server,
        server.connect() as stranger,
    ):
        await stranger.send(GET)
        await stranger.response()
        async with server.connect(as_owner=True) as owner:
            await owner.send("POST / HTTP/1.1\nHost: x\nContent-Length: 5\n\nhello")

            assert await owner.response() == (200, "POST /  hello")


async def test_old_tls_and_no_tls_are_refused(serve: Serve) -> None:
    async with serve(echo) as server:
        old = ssl.create_default_context(cadata=server.authority)
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.open_connection("127.0.0.1", server.port, ssl=old)
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(GET.encode())
        assert b"200" not in await reader.read()
        writer.transport.abort()


async def test_stopping_the_server_closes_what_is_open(serve: Serve) -> None:
    async with serve(echo) as server:
        context = ssl.create_default_context(cadata=server.authority)
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=context)
        writer.write(GET.encode().replace(b"\n", b"\r\n"))
        await reader.readuntil(b"\r\n\r\n")

    async with asyncio.timeout(20):
        await reader.read()
    assert reader.at_eof()
    writer.transport.abort()
