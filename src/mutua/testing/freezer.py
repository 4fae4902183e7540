"""Freeze processes and wake them up again, as a closed laptop lid or a snapshot does.

`frozen` uses the cgroup freezer where this machine lets us write to it, and SIGSTOP otherwise;
`stopped` always uses SIGSTOP.  Whatever happens inside, the processes are woken up at the end.
"""

import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from mutua.testing.running_mesh import eventually

V1: Final = Path("/sys/fs/cgroup/freezer")
"""Hierarchy of cgroup v1's freezer."""

V2: Final = Path("/sys/fs/cgroup")


@contextmanager
def stopped(pids: Iterable[int]) -> Iterator[str]:
    """Hold processes with SIGSTOP inside; parents first if they come first."""
    held = [*pids]
    try:
        for pid in held:
            _signal(pid, signal.SIGSTOP)
        yield "SIGSTOP"
    finally:
        for pid in held:
            _signal(pid, signal.SIGCONT)


@contextmanager
def frozen(pids: Iterable[int]) -> Iterator[str]:
    """Hold processes inside, all at the same instant where that is possible.

    Yields:
        How: "cgroup freezer" or "SIGSTOP".
    """
    held = [*pids]
    folder = _new_group(held)
    if folder is None:
        with stopped(held) as how:
            yield how
        return
    try:
        _freeze(folder)
        yield "cgroup freezer"
    finally:
        _thaw(folder)
        for pid in _members(folder):
            _move(folder.parent, pid)
        eventually(lambda: not _members(folder), "the group is empty", patience=10)
        folder.rmdir()


def _new_group(pids: list[int]) -> Path | None:
    """Return a new control group with these processes, None where we may not make one."""
    root = V1 if (V1 / "cgroup.procs").exists() else V2
    if not (root / "cgroup.procs").exists():
        return None
    folder = root / f"mutua-test-{os.getpid()}"
    try:
        folder.mkdir()
    except OSError:
        return None
    try:
        for pid in pids:
            _move(folder, pid)
    except PermissionError:
        for pid in _members(folder):
            _move(root, pid)
        folder.rmdir()
        return None
    return folder


def _freeze(folder: Path) -> None:
    if (folder / "freezer.state").exists():
        (folder / "freezer.state").write_text("FROZEN")
        state = folder / "freezer.state"
        eventually(lambda: state.read_text().strip() == "FROZEN", "frozen", patience=10)
    else:
        (folder / "cgroup.freeze").write_text("1")
        events = folder / "cgroup.events"
        eventually(lambda: "frozen 1" in events.read_text(), "frozen", patience=10)


def _thaw(folder: Path) -> None:
    if (folder / "freezer.state").exists():
        (folder / "freezer.state").write_text("THAWED")
    else:
        (folder / "cgroup.freeze").write_text("0")


def _members(folder: Path) -> list[int]:
    return [int(line) for line in (folder / "cgroup.procs").read_text().split()]


def _move(folder: Path, pid: int) -> None:
    with suppress(ProcessLookupError):
        (folder / "cgroup.procs").write_text(f"{pid}\n")


def _signal(pid: int, signum: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signum)
