"""The shim's program: into new namespaces first (`launch`), then serve as their PID 1 (`serve`).

    python -I -S …/shim/__main__.py launch RUN READY
      unshare user, PID, mount and network namespace; map the caller to 0; fork; execute again:
    python -I -S …/shim/__main__.py serve RUN READY

It is executed twice because ptrace-like access to a process is judged in the user namespace of
its last execve(2): a process that only unshared could not be inspected by its own children.

READY is a descriptor on which one line says that the socket answers, or why it does not and, after
a tab, what to do.
"""

import errno
import gc
import os
import socket
import sys
from typing import Final, NoReturn

_SOURCE: Final = os.path.abspath(f"{__file__}/../../../..")  # noqa: PTH100 - pathlib costs memory
if __name__ == "__main__":
    sys.path.insert(0, _SOURCE)

from mutua.runtime import linux  # noqa: E402 - needs the path set just above
from mutua.runtime.shim import program  # noqa: E402
from mutua.runtime.shim.server import Server  # noqa: E402

NAMESPACES: Final = (
    linux.CLONE_NEWUSER | linux.CLONE_NEWPID | linux.CLONE_NEWNS | linux.CLONE_NEWNET
)

SOCKET_NAME: Final = "shim.sock"
PRIVATE: Final = ("netns", "pods")
"""Directories in RUN that exist only inside the mesh, in memory.  See foundation.layout."""

REASONS: Final = {
    errno.EPERM: (
        "they are forbidden",
        (
            "as root, set those that exist: sysctl -w kernel.unprivileged_userns_clone=1"
            " kernel.apparmor_restrict_unprivileged_userns=0; in a container, allow unshare(2) and"
            " mount(2) in its seccomp profile"
        ),
    ),
    errno.ENOSPC: (
        "their number is exhausted",
        "as root: sysctl -w user.max_user_namespaces=15000",
    ),
    errno.EUSERS: ("they are nested too deeply, or too many", "run mutua outside of containers"),
    errno.EINVAL: ("this kernel lacks them", "use a kernel with CONFIG_USER_NS"),
}
"""Why user namespaces do not work, and what to do about it."""


def main(arguments: list[str]) -> None:
    """Run one of the two stages."""
    stage, run, ready = arguments[0], arguments[1], int(arguments[2])
    try:
        if stage == "launch":
            launch(run, ready)
        listener = prepare(run)
    except OSError as error:
        reason = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
        hints = [hint for why, hint in REASONS.values() if str(reason).endswith(f": {why}")]
        os.write(ready, "\t".join([f"{reason}", *hints[:1]]).encode() + b"\n")
        sys.exit(1)
    server = Server(listener)
    os.write(ready, b"ready\n")
    os.close(ready)
    gc.collect()
    gc.freeze()  # forked children then share these objects' pages for good
    server.serve()


def launch(run: str, ready: int) -> NoReturn:
    """Enter the new namespaces and execute the second stage as their first process.

    Raises:
        OSError: Says in one line why there are no user namespaces.
    """
    uid, gid = os.geteuid(), os.getegid()
    try:
        linux.unshare(NAMESPACES)
    except OSError as error:
        reason, _ = REASONS.get(error.errno or 0, (linux.reason(error), ""))
        raise OSError(error.errno, f"user namespaces are not available: {reason}") from error
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:  # noqa: PTH123
            file.write(text)
    if os.fork() == 0:
        os.set_inheritable(ready, True)  # noqa: FBT003 - its only argument
        script = os.path.abspath(__file__)  # noqa: PTH100
        os.execv(sys.executable, [sys.executable, "-I", "-S", script, "serve", run, str(ready)])  # noqa: S606
    os._exit(0)


def prepare(run: str) -> socket.socket:
    """Make the mesh's private mounts and its control socket.

    Raises:
        OSError: Says what the kernel refused.
    """
    linux.set_process_name("mutua-shim")
    program.raise_descriptor_limit()
    try:
        linux.mount("", "/", "", linux.MS_REC | linux.MS_SLAVE)
        for name in PRIVATE:
            path = f"{run}/{name}"
            os.makedirs(path, mode=0o700, exist_ok=True)  # noqa: PTH103
            linux.mount("tmpfs", path, "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, "mode=0700")
    except OSError as error:
        reason, _ = REASONS.get(error.errno or 0, (linux.reason(error), ""))
        raise OSError(error.errno, f"user namespaces are not usable: {reason}") from error
    linux.prctl(linux.PR_SET_DUMPABLE, 0)
    path = f"{run}/{SOCKET_NAME}"
    if os.path.lexists(path):
        os.unlink(path)  # noqa: PTH108
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    os.umask(0o177)
    listener.bind(path)
    os.umask(0o022)  # what containers start with, whatever the caller's was
    listener.listen()
    return listener


if __name__ == "__main__":
    main(sys.argv[1:])
