"""The benchmark's load on a server that is slow to answer."""

import contextlib
import socket
import threading
import time

from mutua.cli.bench.load import WARM_UP, run

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"

SLOW = 0.3
"""Seconds until the server answers."""

EXACT = 1e-6
"""Seconds by which sums of them may differ."""


def _answer_late(listener: socket.socket) -> None:
    peer, _ = listener.accept()
    with peer, contextlib.suppress(ConnectionError):  # it goes away without its last answer
        while peer.recv(4096):
            time.sleep(SLOW)
            peer.sendall(ANSWER)


def test_a_run_in_which_nothing_was_answered_goes_on_until_something_is() -> None:
    seconds = SLOW / 3
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=_answer_late, args=(listener,))
        server.start()
        result = run("127.0.0.1", listener.getsockname()[1], 1, seconds)
        server.join()

    assert (result.requests, result.failures) == (1, 0)
    assert result.p50 >= SLOW
    assert result.seconds >= seconds - WARM_UP * seconds - EXACT
