"""A program is found by the socket it holds, as long as it holds it."""

import socket
import subprocess
import sys
from pathlib import Path

from mutua.runtime.network.socket_owner import program_at

HOLD = """
import socket, sys
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as link:
    print(link.getsockname()[1], flush=True)
    sys.stdin.read()
"""


def test_the_program_at_the_other_end_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        command = [sys.executable, "-c", HOLD, str(listener.getsockname()[1])]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            port = int(process.stdout.readline())
            name = Path(f"/proc/{process.pid}/comm").read_text().strip()
            assert program_at("127.0.0.1", port) == name
            process.communicate("")
        assert program_at("127.0.0.1", port) == ""


def test_nobody_is_found_where_nobody_is() -> None:
    assert program_at("127.0.0.1", 1, Path("/nonexistent")) == ""
    assert program_at("203.0.113.1", 1) == ""
