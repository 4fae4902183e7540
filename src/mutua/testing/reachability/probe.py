"""Many connections at once, and what became of each.

    python -m mutua.testing.reachability.probe CERTIFICATE PATIENCE   < calls > report

Reads JSON: `[{"host": …, "address": …, "port": …, "says": …}, …]`, in which an address that is not
empty is dialled instead of what the host resolves to, and prints JSON:

    answers    for each call, in order: {"outcome": …, "pod": …, "identity": …, "proved": …,
               "after": …}
    counters   what the pod's own proxy had counted before and after, see `grown`

`says` is one of `Says`, an outcome one of `Outcome`.  Calls count as silence once none of them has
been answered for PATIENCE seconds: so many silent ones cost no more than one, and a busy machine,
on which answers are slow to come, is given more time.
"""

import asyncio
import json
import re
import ssl
import sys
import time
import urllib.error
import urllib.request
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any, Final

from mutua.testing.reachability import frames

TEXT: Final = b"text\n"

SERVER_NAME: Final = "application"
"""What the applications' certificate says."""

CLUSTER: Final = "cluster."
CONNECTIONS: Final = ".upstream_cx_total"
HANDSHAKES: Final = ".ssl.handshake"
STATS: Final = "http://127.0.0.1:15000/stats?filter=^cluster\\.outbound"


class Says(StrEnum):
    """What a client says first."""

    HTTP = "HTTP/1.1"
    HTTP2 = "HTTP/2"
    TEXT = "text"
    TLS = "TLS"
    NOTHING = "nothing"


class Outcome(StrEnum):
    """What a client experiences."""

    OK = "answered by the application"
    CLOSED = "closed"
    SILENCE = "silence"
    BAD_REQUEST = "400"
    UNAVAILABLE = "503"


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a call.

    Attributes:
        outcome: Whether and how it failed.
        pod: Who answered, "" when nobody did.
        identity: The X-Forwarded-Client-Cert header that reached the application, "" when there
            was none; None when the application cannot tell.
        proved: Whom the client's proxy has proved to the application to be, "" when to be nobody.
        after: Seconds from the call to the answer.
    """

    outcome: Outcome
    pod: str = ""
    identity: str | None = None
    proved: str = ""
    after: float = 0.0


async def _over_http(reader: asyncio.StreamReader) -> Answer:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    status = head.split()[1]
    if status != "200":
        return Answer(Outcome(status))
    length = re.search(r"(?i)content-length: *(\d+)", head)
    body = await reader.readexactly(int(length[1]) if length else 0)
    return Answer(Outcome.OK, **json.loads(body))


async def _over_http2(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Answer:
    while True:
        length, frame = frames.parse_header(await reader.readexactly(frames.HEADER_LENGTH))
        payload = await reader.readexactly(length)
        read = frames.Frame(frame.kind, frame.flags, frame.stream, payload)
        writer.write(frames.reply_to(read))
        if read.kind == frames.HEADERS and not frames.is_ok(read):
            return Answer(Outcome.UNAVAILABLE)
        if read.kind == frames.DATA and payload:
            return Answer(Outcome.OK, **json.loads(payload))
        if read.kind in {frames.GOAWAY, frames.RST_STREAM}:
            return Answer(Outcome.CLOSED)


async def _as_text(reader: asyncio.StreamReader) -> Answer:
    words = (await reader.readuntil(b"\n")).decode().split()
    if words[0] == "hello":
        return Answer(Outcome.OK, words[1])
    if words[0] == "echo":
        return Answer(Outcome.OK, words[1], proved=words[2].removeprefix("-"))
    return Answer(Outcome(words[1]))


async def converse(call: dict[str, Any], tls: ssl.SSLContext) -> Answer:
    """Open one connection, say something and return what is answered.

    Raises:
        OSError, EOFError: The connection was closed.
    """
    says, host, port = Says(call["says"]), call["host"], call["port"]
    own: dict[str, Any] = {}
    if says is Says.TLS:
        own = {"ssl": tls, "server_hostname": SERVER_NAME}
    reader, writer = await asyncio.open_connection(call["address"] or host, port, **own)
    authority = f"{host}:{port}"
    try:
        if says is Says.HTTP:
            writer.write(f"GET / HTTP/1.1\r\nhost: {authority}\r\n\r\n".encode())
            return await _over_http(reader)
        if says is Says.HTTP2:
            writer.write(frames.request(authority))
            return await _over_http2(reader, writer)
        if says is not Says.NOTHING:
            writer.write(TEXT)
        return await _as_text(reader)
    finally:
        writer.transport.abort()


async def attempt(call: dict[str, Any], tls: ssl.SSLContext) -> Answer:
    """Return what becomes of a call; of one that is not answered, nothing ever does."""
    began = time.monotonic()
    try:
        answer = await converse(call, tls)
    except (OSError, EOFError):
        answer = Answer(Outcome.CLOSED)
    return replace(answer, after=time.monotonic() - began)


async def attempt_all(
    calls: list[dict[str, Any]], tls: ssl.SSLContext, patience: float
) -> list[Answer]:
    """Return what becomes of calls that are made at once."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(attempt(call, tls)) for call in calls]
        waiting, answered = set(tasks), set(tasks)
        while waiting and answered:
            answered, waiting = await asyncio.wait(
                waiting, timeout=patience, return_when=asyncio.FIRST_COMPLETED
            )
        for silent in waiting:
            silent.cancel()
    return [Answer(Outcome.SILENCE) if task.cancelled() else task.result() for task in tasks]


def counters() -> dict[str, int]:
    """Return what the pod's own proxy has counted, nothing when it has none."""
    try:
        with urllib.request.urlopen(STATS) as answer:
            lines = answer.read().decode().splitlines()
    except urllib.error.URLError:
        return {}
    pairs = (line.rpartition(": ") for line in lines)
    wanted = (CONNECTIONS, HANDSHAKES)
    return {name: int(value) for name, _, value in pairs if name.endswith(wanted)}


def grown(before: dict[str, int], after: dict[str, int]) -> dict[str, tuple[int, int]]:
    """Return how many connections and TLS handshakes each cluster has made in between.

    A cluster that was replaced meanwhile counts from zero.
    """

    def growth(name: str) -> int:
        now, then = after.get(name, 0), before.get(name, 0)
        return now - then if now >= then else now

    stems = [name.removesuffix(CONNECTIONS) for name in after if name.endswith(CONNECTIONS)]
    return {
        stem.removeprefix(CLUSTER): (growth(stem + CONNECTIONS), growth(stem + HANDSHAKES))
        for stem in stems
    }


async def _main() -> None:
    certificate, patience = sys.argv[1:]
    calls: list[dict[str, Any]] = json.load(sys.stdin)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.load_verify_locations(certificate)
    before = counters()
    answers = await attempt_all(calls, tls, float(patience))
    report = {
        "answers": [asdict(answer) for answer in answers],
        "counters": [before, counters()],
    }
    sys.stdout.write(json.dumps(report))


if __name__ == "__main__":
    asyncio.run(_main())
