"""`mutua down`: stop the mesh, and leave nothing running.

The daemon goes first, so that nobody restarts what is being stopped; then the shim ends its pods,
gently at first, and takes every process, namespace, mount and rule of the mesh with it.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import time
from typing import Final

import click

from mutua.cli import lock
from mutua.cli.main import layout_of, mesh_options
from mutua.foundation.errors import MutuaError, Unavailable
from mutua.foundation.layout import Layout

PATIENCE: Final = 10.0
"""Seconds the daemon gets between SIGTERM and SIGKILL; it only has to close its files."""

POD_GRACE: Final = 5.0
"""Seconds the pods get between SIGTERM and SIGKILL when the whole mesh ends."""


@click.command()
@mesh_options
@click.option("--purge", is_flag=True, help="Also delete its objects, keys and logs.")
@click.option(
    "--grace",
    type=click.FloatRange(0),
    default=POD_GRACE,
    show_default=True,
    help="Seconds between asking pods to end and ending them.",
)
def command(name: str | None, state_dir: str | None, *, purge: bool, grace: float) -> None:
    """Stop the mesh; objects and keys stay for the next `mutua up`."""
    layout = layout_of(name, state_dir)
    stopped = stop_daemon(layout)
    stopped = stop_shim(layout, grace=grace) or stopped
    if purge and layout.state.exists():
        shutil.rmtree(layout.state)
    click.echo(f"mesh {layout.name!r} " + ("is down" if stopped else "was not running"), err=True)


def stop_daemon(layout: Layout) -> bool:
    """End the daemon, if one runs, and wait until it is gone.

    Raises:
        Unavailable: It survived SIGKILL (a process in uninterruptible sleep).
    """
    pid = lock.holder(layout)
    if pid is None:
        return False
    for signum, patience in ((signal.SIGTERM, PATIENCE), (signal.SIGKILL, PATIENCE)):
        _kill(pid, signum)
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            if lock.holder(layout) is None:
                return True
            time.sleep(0.02)
    raise Unavailable(
        f"the daemon (pid {pid}) does not end",
        hint=f"see what it waits for: ps -o stat,wchan -p {pid}",
    )


def stop_shim(layout: Layout, *, grace: float = POD_GRACE) -> bool:
    """End the shim with everything below it, and remove the run directory.

    Returns:
        Whether there was one.

    Raises:
        Unavailable: A process survived; it is named.
    """
    from mutua.runtime.membership import kept_user_namespace

    pid = _find_shim(layout)
    if pid:
        with kept_user_namespace(pid) as namespace:
            _end_shim(layout, pid, grace)
            _wait_until_empty(namespace)
    shutil.rmtree(layout.run, ignore_errors=True)
    with contextlib.suppress(OSError):
        layout.run.parent.rmdir()  # of all meshes of this user; stays while another one runs
    return bool(pid)


def _wait_until_empty(namespace: str) -> None:
    from mutua.runtime.membership import live_members

    deadline = time.monotonic() + PATIENCE
    while left := live_members(namespace) if namespace else []:
        if time.monotonic() > deadline:
            raise Unavailable(
                f"still running: {left[0].command} (pid {left[0].pid})",
                hint=f"end it with: kill -9 {left[0].pid}",
            )
        time.sleep(0.01)


def _find_shim(layout: Layout) -> int:
    """Return the shim's pid, or 0; also when somebody has removed its socket."""
    from mutua.runtime.enter import NoShim, shim_pid
    from mutua.runtime.membership import PROC

    try:
        return shim_pid(layout)
    except NoShim:
        pass
    tail = b"\0serve\0" + os.fsencode(layout.run) + b"\0"
    for folder in PROC.iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                ours = folder.stat().st_uid in {os.getuid(), 0}  # not dumpable: root's in /proc
                if ours and tail in (folder / "cmdline").read_bytes():
                    return int(folder.name)
    return 0


def _end_shim(layout: Layout, pid: int, grace: float) -> None:
    """Ask the shim to end its pods and itself; kill it, and them with it, when it cannot."""
    from mutua.runtime.shim.client import ShimClient

    async def shutdown() -> None:
        async with asyncio.timeout(grace + PATIENCE):
            client = await ShimClient.connect(layout.shim_socket)
            await client.shutdown(grace)

    try:
        asyncio.run(shutdown())
    except (MutuaError, TimeoutError):
        with contextlib.suppress(PermissionError):
            _kill(pid, signal.SIGKILL)


def _kill(pid: int, signum: signal.Signals) -> None:
    try:
        os.kill(pid, signum)
    except ProcessLookupError:
        return
