"""`mutua daemon`: the process that `mutua up` starts in the background."""

import os
import socket
import sys

import click

from mutua.cli import lock
from mutua.cluster.progress import Progress
from mutua.cluster.settings import from_json


@click.command(hidden=True)
@click.option("--listener-fd", type=int, required=True)
@click.option("--progress-fd", type=int, required=True)
@click.option("--lock-fd", type=int, required=True)
@click.option("--settings", required=True)
def command(listener_fd: int, progress_fd: int, lock_fd: int, settings: str) -> None:
    """Serve a mesh; started by `mutua up`."""
    from mutua.cluster.daemon import run

    for fd in (listener_fd, progress_fd, lock_fd):
        os.set_inheritable(fd, False)
    lock.record(lock_fd, os.getpid())
    listener = socket.socket(fileno=listener_fd)
    told = from_json(settings)
    sys.exit(run(told, listener, Progress(progress_fd), log_file=told.layout.daemon_log))
