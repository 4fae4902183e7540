"""Which program has this end of a connection?  Best effort, from /proc, while it is open.

A network namespace's sockets are listed in /proc/PID/net/tcp of any of its processes, with their
inodes; the program is the one that has a file descriptor of that inode.  Several programs may
share a socket: the first one found counts.  Source: proc_pid_net(5), proc_pid_fd(5).
"""

from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path
from typing import Final

PROC: Final = Path("/proc")
OWN: Final = PROC / "self/ns/net"


def program_at(address: str, port: int, namespace: Path = OWN) -> str:
    """Return the name of the program whose socket has this address, "" when none is found.

    Args:
        address: IPv4 address of that end.
        port: Its port.
        namespace: A file that stands for the network namespace the program runs in.
    """
    try:
        wanted = namespace.stat().st_ino
    except OSError:
        return ""
    members = [*_members(wanted)]
    inode = next(filter(None, (_inode(pid, address, port) for pid in members[:1])), "")
    return next((_name(pid) for pid in members if inode and _has(pid, inode)), "")


def _members(namespace: int) -> Iterator[Path]:
    for folder in PROC.iterdir():
        if folder.name.isdigit():
            try:
                if (folder / "ns/net").stat().st_ino == namespace:
                    yield folder
            except OSError:
                continue  # it ended, or is not ours to see


def _inode(process: Path, address: str, port: int) -> str:
    """Return the inode of the socket bound to an address and port, "" when there is none."""
    own = f"{int.from_bytes(IPv4Address(address).packed, 'little'):08X}:{port:04X}"
    try:
        with (process / "net/tcp").open() as lines:
            for line in lines:
                fields = line.split()
                if fields[1] == own and fields[9] != "0":
                    return fields[9]
    except (OSError, IndexError):
        pass
    return ""


def _has(process: Path, inode: str) -> bool:
    link = f"socket:[{inode}]"
    try:
        return any(str(fd.readlink()) == link for fd in (process / "fd").iterdir())
    except OSError:
        return False


def _name(process: Path) -> str:
    try:
        name = (process / "comm").read_text(errors="replace").strip()
        return name if name.isprintable() else ""
    except OSError:
        return ""
