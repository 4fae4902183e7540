"""A client in a pod that never stops asking.  Standard library only.

Each argument is a stream of requests: `kind:host:port[:pause]`.

    keepalive   HTTP/1.1 on one connection
    new         HTTP/1.1, a connection per request
    lines       one line on a connection of its own
    session     lines on one connection for a second, then a new one
    held        lines on one connection for as long as the other side lets it be
    greeted     the server speaks first, on a connection of its own

It prints, as JSON lines, runs of equal outcomes without a gap: stream, outcome, when the first and
the last request of the run began (CLOCK_MONOTONIC), how many there were, and when the last ended.
Outcomes are what the server said ("m", "p", "ok"), or what went wrong.  An HTTP connection that
ends in order (`connection: close`) is opened anew and is no outcome; a request without an answer is
one.  A held connection that ends says after how many seconds it did, "cut after 23.4 s"; raw TCP
cannot announce its end, so a line may be on its way.
"""

import asyncio
import json
import sys
import time

PATIENCE = 30.0
SESSION = 1.0
PAUSE = 0.02
LINE = b"how are you\n"  # with less than five bytes a proxy would wait whether TLS comes
LONGEST, GAP = 1.0, 0.05  # seconds a run covers, and between two requests of one run


class Stream:
    """One stream of requests."""

    def __init__(self, text: str) -> None:
        kind, self.host, port, *pause = text.split(":")
        self.name, self.kind, self.port = text, kind, int(port)
        self.pause = float(pause[0]) if pause else PAUSE
        self.run = ("", 0.0, 0.0, 0, 0.0)
        self.link: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self.opened = 0.0

    async def ask(self) -> None:
        """Ask for ever."""
        while True:
            began = time.monotonic()
            try:
                async with asyncio.timeout(PATIENCE):
                    outcome = await self.once()
            except (OSError, EOFError, asyncio.LimitOverrunError) as error:
                outcome = f"{type(error).__name__}: {error}"
                outcome = self.cut() or outcome
                self.hang_up()
            self.note(outcome, began)
            await asyncio.sleep(self.pause)

    async def once(self) -> str:
        """Make one request."""
        keeps = self.kind in {"keepalive", "session", "held"}
        if self.kind == "session" and time.monotonic() > self.opened + SESSION:
            self.hang_up()
        if self.link is None:
            self.link = await asyncio.open_connection(self.host, self.port)
            self.opened = time.monotonic()
        reader, writer = self.link
        if self.kind in {"keepalive", "new"}:
            outcome = await self.http(reader, writer)
        else:
            outcome = await self.line(reader, writer)
        if not keeps:
            self.hang_up()
        return outcome

    async def http(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
        """Ask in HTTP."""
        writer.write(f"GET / HTTP/1.1\r\nHost: {self.host}\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.split("content-length:")[1].split()[0])
        body = (await reader.readexactly(length)).decode()
        if "\r\nconnection: close" in head:
            self.hang_up()
        return body if head.startswith("http/1.1 200") else f"{head.split()[1]} {body}"

    async def line(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
        """Ask with a line."""
        if self.kind == "greeted" and await reader.readline() != b"hello\n":
            return "not greeted"
        writer.write(LINE)
        answer = await reader.readline()
        if not answer and self.kind == "held":
            raise EOFError
        return "ok" if answer == b"echo " + LINE else "no answer"

    def cut(self) -> str:
        """Say how old a held connection became, "" for other kinds and when there was none."""
        is_held = self.kind == "held" and self.link is not None
        return f"cut after {time.monotonic() - self.opened:.1f} s" if is_held else ""

    def hang_up(self) -> None:
        """Close the connection, if there is one."""
        if self.link is not None:
            self.link[1].close()
            self.link = None

    def note(self, outcome: str, began: float) -> None:
        """Add an outcome to the run, or begin another."""
        before, first, last, count, _ = self.run
        ended = time.monotonic()
        if outcome == before and began - first < LONGEST and began - last < GAP:
            self.run = (before, first, began, count + 1, ended)
            return
        self.tell()
        self.run = (outcome, began, began, 1, ended)

    def tell(self) -> None:
        """Print the run."""
        if self.run[3]:
            sys.stdout.write(json.dumps([self.name, *self.run]) + "\n")
            sys.stdout.flush()


async def main() -> None:
    """Ask all at once."""
    async with asyncio.TaskGroup() as group:
        for text in sys.argv[1:]:
            group.create_task(Stream(text).ask())


if __name__ == "__main__":
    asyncio.run(main())
