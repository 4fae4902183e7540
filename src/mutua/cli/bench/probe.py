"""Is a plaintext request served at this instant?  Asked again and again, until killed.

    python -m mutua.cli.bench.probe HOST PORT

prints `<state> <monotonic seconds>` each time the answer changes; the clock is CLOCK_MONOTONIC,
the same for every process of the machine.  Each question is a connection of its own.
"""

import socket
import sys
import time
from typing import Final

PAUSE: Final = 0.001
"""Seconds between two questions; without one the probe starves what it watches on two cores."""


def is_served(host: str, port: int) -> bool:
    """Ask once, over a new connection."""
    try:
        with socket.create_connection((host, port), timeout=5) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nhost: probe\r\nconnection: close\r\n\r\n")
            return connection.recv(64).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def main() -> None:
    """Probe until killed."""
    host, port = socket.gethostbyname(sys.argv[1]), int(sys.argv[2])  # once: DNS is not the subject
    last: bool | None = None
    while True:
        served = is_served(host, port)
        if served != last:
            sys.stdout.write(f"{'served' if served else 'refused'} {time.monotonic():.6f}\n")
            sys.stdout.flush()
            last = served
        time.sleep(PAUSE)


if __name__ == "__main__":
    main()
