"""A closed loop of requests over keep-alive connections; latencies as the client sees them.

    python -m mutua.cli.bench.load HOST PORT CONNECTIONS SECONDS

prints one JSON object, see `Result`.  One thread; each connection sends its next request when the
last one is answered.  An answer counts if it arrives between the end of the warm-up and the end of
the run; what is on its way at the end does not.  A run in which none did, since the machine stood
still, goes on until one does.  A failure at any time counts, warm-up included.
"""

import contextlib
import json
import selectors
import socket
import sys
import time
from array import array
from dataclasses import asdict, dataclass
from typing import Final

from mutua.cli.bench.figure import percentile

WARM_UP: Final = 0.3
"""Share of the time spent before anything is counted (dimensionless)."""

STALL: Final = 5.0
"""Seconds without any answer after which the run has failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What one run measured.

    Attributes:
        requests: Counted answers.
        seconds: Time in which they were counted.
        failures: Answers that were not 200.
        p50: Median latency in seconds.
        p99: 99th percentile of latency in seconds.
        busy: CPU time of this process divided by wall clock; near 1, it measured itself.
    """

    requests: int
    seconds: float
    failures: int
    p50: float
    p99: float
    busy: float


class _Client:
    """One connection with at most one request on its way."""

    def __init__(self, host: str, port: int) -> None:
        self.socket = socket.create_connection((host, port), timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._request = f"GET / HTTP/1.1\r\nhost: {host}:{port}\r\n\r\n".encode()
        self._expected = 0
        self._got = b""
        self.sent_at = 0.0

    def send(self) -> None:
        self._got, self._expected = b"", 0
        self.sent_at = time.perf_counter()
        self.socket.sendall(self._request)

    def receive(self) -> bool | None:
        """Read what is there: None while incomplete, else whether the answer was a 200."""
        chunk = self.socket.recv(65536)
        if not chunk:
            raise ConnectionError("closed")
        self._got += chunk
        if not self._expected:
            head, end, _ = self._got.partition(b"\r\n\r\n")
            if not end:
                return None
            length = head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]
            self._expected = len(head) + 4 + int(length or b"0")
        if len(self._got) < self._expected:
            return None
        return self._got.startswith(b"HTTP/1.1 200")


def run(host: str, port: int, connections: int, seconds: float) -> Result:
    """Load a server and return the counted figures.

    Raises:
        OSError: The server refused, closed a connection, or stopped answering.
    """
    with contextlib.ExitStack() as stack:
        poll = stack.enter_context(selectors.DefaultSelector())
        clients = [_Client(host, port) for _ in range(connections)]
        for client in clients:
            stack.callback(client.socket.close)
            poll.register(client.socket, selectors.EVENT_READ, client)
            client.send()
        return _drive(poll, seconds)


def _drive(poll: selectors.BaseSelector, seconds: float) -> Result:
    latencies = array("d")
    failures = 0
    begin, cpu = time.perf_counter(), time.process_time()
    count_from, end = begin + WARM_UP * seconds, begin + seconds
    now = last = begin
    while now < end or not latencies:
        ready = poll.select(timeout=STALL)
        if not ready:
            raise TimeoutError(f"no answer for {STALL:g} s")
        for key, _ in ready:
            client = key.data
            if (good := client.receive()) is None:
                continue
            now = time.perf_counter()
            failures += not good
            if now >= count_from and (now < end or not latencies):
                latencies.append(now - client.sent_at)
                last = now
            client.send()
    busy = (time.process_time() - cpu) / (time.perf_counter() - begin)
    return Result(
        requests=len(latencies),
        seconds=max(end, last) - count_from,
        failures=failures,
        p50=percentile(latencies, 0.5),
        p99=percentile(latencies, 0.99),
        busy=busy,
    )


def main() -> None:
    """Load a server as the arguments say."""
    host, port, connections, seconds = sys.argv[1:]
    result = run(host, int(port), int(connections), float(seconds))
    sys.stdout.write(json.dumps(asdict(result)))


if __name__ == "__main__":
    main()
