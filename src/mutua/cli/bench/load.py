"""A closed loop of requests over keep-alive connections; latencies as the client sees them.

    python -m mutua.cli.bench.load HOST PORT CONNECTIONS SECONDS

prints one JSON object: {"requests": n, "seconds": s, "latencies": [seconds, …], "failures": n}.
One thread; with several connections a request is written to each before answers are read, which
is what a small pool of busy clients does.
"""

import json
import selectors
import socket
import sys
import time
from typing import Final

WARM_UP: Final = 0.3
"""Share of the time spent before anything is counted (dimensionless)."""

MAX_SAMPLES: Final = 200_000
"""Latencies kept, so that a long run does not fill memory."""


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


def run(host: str, port: int, connections: int, seconds: float) -> dict[str, object]:
    """Load a server and return the counted figures."""
    clients = [_Client(host, port) for _ in range(connections)]
    poll = selectors.DefaultSelector()
    for client in clients:
        poll.register(client.socket, selectors.EVENT_READ, client)
        client.send()
    latencies: list[float] = []
    failures = 0
    begin = time.perf_counter()
    count_from, end = begin + WARM_UP * seconds, begin + seconds
    while (now := time.perf_counter()) < end:
        for key, _ in poll.select(timeout=1):
            client = key.data
            if (good := client.receive()) is None:
                continue
            if now >= count_from:
                failures += not good
                if len(latencies) < MAX_SAMPLES:
                    latencies.append(time.perf_counter() - client.sent_at)
            client.send()
    for client in clients:
        client.socket.close()
    counted = end - count_from
    return {
        "requests": len(latencies),
        "seconds": counted,
        "latencies": latencies,
        "failures": failures,
    }


if __name__ == "__main__":
    sys.stdout.write(
        json.dumps(run(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])))
    )
