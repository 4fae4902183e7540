"""What is a container, and what became of it?  The values that daemon and shim exchange.

The daemon describes a container completely in one `ContainerSpec`; the shim keeps no other input.
Both directions travel as JSON, so every field is text, a number, or a tuple or mapping of those.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from mutua.foundation.errors import Rejected, Unavailable


class StartFailed(Rejected):
    """The program could not be started: it is missing, not executable, or its place is."""

    code = "runtime.start_failed"


class NoSuchContainer(Rejected):
    """The shim does not know the container, or (for exec) it has ended."""

    code = "runtime.no_such_container"


class ShimGone(Unavailable):
    """The shim does not answer: it has ended, and every container with it."""

    code = "runtime.shim_gone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """One thing to see in the container's file system.

    Attributes:
        target: Absolute path inside the container; made to appear when the host has none.
        kind: `bind` shows the file or directory `source`; `tmpfs` is empty and private.
        source: Absolute path as the daemon sees it; "" for tmpfs.
        inside: Path within `source` to show instead of it, "" for all.  Whoever can write to the
            source may have put symbolic links on the way: one that leads out is refused.
        read_only: Whether writes fail with EROFS.
        follow: Whether `source` may lead over symbolic links; False for a path that programs of
            the mesh can change, who could otherwise point it at what is hidden from them.
        owned: Whether `source` is the pod's alone, so that mount points may be made in it; other
            directories are mimicked, and the mimic is read-only.
    """

    target: str
    kind: Literal["bind", "tmpfs"] = "bind"
    source: str = ""
    inside: str = ""
    read_only: bool = False
    follow: bool = True
    owned: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerSpec:
    """Everything the shim needs to know to start one container.

    Attributes:
        id: `<pod uid>/<container>/<attempt>`.
        argv: Program (a name is looked up in PATH of `env`) and its arguments.
        env: The complete environment.
        cwd: Working directory inside the container.
        netns: Path of the pod's network namespace; "" keeps the node's own.
        hostname: Host name inside the container.
        mounts: In order; a later one may lie inside an earlier one.
        hide: Paths replaced by an empty read-only directory (or /dev/null), after `mounts`.
        log_path: Where stdout and stderr go, in CRI's log format.
        capabilities: Names (`NET_ADMIN`) kept as ambient capabilities; normally none.
        annotations: Opaque to the shim; returned by `containers()`.
    """

    id: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: str = "/"
    netns: str = ""
    hostname: str = ""
    mounts: tuple[Mount, ...] = ()
    hide: tuple[str, ...] = ()
    log_path: str
    capabilities: tuple[str, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerState:
    """One container as the shim sees it.

    Attributes:
        id: As in its spec.
        pid: The program's process id as the daemon sees it, 0 when it never ran.
        init_pid: The container's first process (PID 1 inside) as the daemon sees it, or 0.
        running: Whether it runs now.
        started_at: Unix seconds, None when it never ran.
        finished_at: Unix seconds, None while it runs.
        exit_code: Of the program; 128 + n after a fatal signal n; None while it runs.
        signal: The fatal signal, if one ended it.
        error: Why it could not start, "" if it did.
        annotations: As in its spec.
    """

    id: str
    pid: int = 0
    init_pid: int = 0
    running: bool = False
    started_at: float | None = None
    finished_at: float | None = None
    exit_code: int | None = None
    signal: int | None = None
    error: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict[str, str])


NODE: Final = "node"
"""Stands where the pod's uid is in the ids of containers that belong to the node itself."""


def pod_of(container_id: str) -> str:
    """Return the pod uid in a container id."""
    return container_id.split("/", 1)[0]


def spec_from_json(data: Any) -> ContainerSpec:
    """Read a ContainerSpec that crossed the control socket.

    Raises:
        Rejected: `data` is not one.
    """
    try:
        mounts = tuple(Mount(**mount) for mount in data["mounts"])
        lists = {name: tuple(data[name]) for name in ("argv", "hide", "capabilities")}
        return ContainerSpec(**{**data, **lists, "mounts": mounts})
    except (KeyError, TypeError) as error:
        raise Rejected(f"not a container: {error}") from error
