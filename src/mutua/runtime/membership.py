"""Which processes belong to a mesh?  Those that live in its user namespace: the kernel's own list.

Every process of a mesh is in the shim's user namespace U or has been started there, so this also
finds what no bookkeeping of ours knows about.
"""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Member:
    """One live process of a mesh.

    Attributes:
        pid: As seen from here.
        command: Its command line, arguments separated by spaces.
    """

    pid: int
    command: str


def user_namespace(pid: int) -> str:
    """Return the identity of a process's user namespace, "" when it is gone or not ours to see."""
    try:
        return str((PROC / str(pid) / "ns/user").readlink())
    except OSError:
        return ""


@contextlib.contextmanager
def kept_user_namespace(pid: int) -> Iterator[str]:
    """Yield the identity of a process's user namespace, and keep it from meaning another one.

    The kernel gives the number of a namespace that has gone to the next one that is made.
    """
    try:
        held = os.open(PROC / str(pid) / "ns/user", os.O_RDONLY)
    except OSError:
        yield ""
        return
    try:
        yield f"user:[{os.fstat(held).st_ino}]"
    finally:
        os.close(held)


def live_members(namespace: str) -> list[Member]:
    """Return the processes of a user namespace that have not ended, by pid.

    A process that has ended but was not waited for yet (a zombie) holds nothing and is left out.
    """
    found = []
    for folder in PROC.iterdir():
        if not folder.name.isdigit() or user_namespace(int(folder.name)) != namespace:
            continue
        try:
            state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
            command = (
                (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            )
        except OSError:
            continue  # it ended while we looked
        if state not in {"Z", "X"}:
            found.append(Member(int(folder.name), command.strip()))
    return sorted(found, key=lambda member: member.pid)
