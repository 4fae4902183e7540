"""`mutua daemon`: the process that `mutua up` starts in the background."""

import os
import socket
import sys
from typing import Final

import click

from mutua.cli import lock
from mutua.cluster.progress import Progress
from mutua.cluster.settings import from_json

LONGEST_KEY: Final = 1024
"""Characters of the data key as JSON, with room to spare."""


@click.command(hidden=True)
@click.option("--listener-fd", type=int, required=True)
@click.option("--progress-fd", type=int, required=True)
@click.option("--lock-fd", type=int, required=True)
@click.option("--settings", required=True)
def command(listener_fd: int, progress_fd: int, lock_fd: int, settings: str) -> None:
    """Serve a mesh; started by `mutua up`, which sends the data key on standard input."""
    from mutua.cluster.daemon import run
    from mutua.identity.data_key import DataKey

    data_key = DataKey.from_json(sys.stdin.read(LONGEST_KEY))
    with open(os.devnull, "rb") as nothing:  # noqa: PTH123 - not a path of ours
        os.dup2(nothing.fileno(), sys.stdin.fileno())
    for fd in (listener_fd, progress_fd, lock_fd):
        os.set_inheritable(fd, False)
    lock.record(lock_fd, os.getpid())
    listener = socket.socket(fileno=listener_fd)
    told = from_json(settings)
    progress = Progress(progress_fd)
    sys.exit(run(told, listener, progress, data_key, log_file=told.layout.daemon_log))
