"""A server in a pod that says whether a request came by mutual TLS.  Standard library only.

    8080   HTTP/1.1, keep-alive: answers "m" when the proxy saw a client certificate, else "p"
    9000   lines: answers each one
    9001   speaks first, then like 9000

It serves until it is killed.
"""

import asyncio


async def http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer requests until the client leaves."""
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            kind = b"m" if b"\r\nx-forwarded-client-cert:" in head.lower() else b"p"
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n" + kind)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def lines(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer lines until the client leaves."""
    try:
        while line := await reader.readline():
            writer.write(b"echo " + line)
            await writer.drain()
    except ConnectionError:
        pass
    writer.close()


async def greeting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Speak first."""
    writer.write(b"hello\n")
    await lines(reader, writer)


async def main() -> None:
    """Serve for ever."""
    for port, serve in ((8080, http), (9000, lines), (9001, greeting)):
        await asyncio.start_server(serve, "0.0.0.0", port)  # noqa: S104 - in a pod
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
