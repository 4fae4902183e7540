"""The containers the shim owns: started by a fork into a new PID namespace, ended by a death.

Nothing here waits.  A start is answered when the container's first process reports, an end is
noticed when it has been reaped.
"""

import contextlib
import errno
import json
import os
import signal
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Final, NoReturn

from mutua.foundation.errors import Rejected
from mutua.runtime import container, linux
from mutua.runtime.shim.pipe import ChildPipe, Watch
from mutua.runtime.spec import ContainerSpec, ContainerState, NoSuchContainer, StartFailed

ENDED: Final = {errno.ENOMEM, errno.ESRCH, errno.EINVAL}
"""How setns(2) and fork(2) say that a PID namespace's first process is gone (pid_namespaces(7))."""

Answer = Callable[[object], None]
"""Takes the value of `ok`, or the exception that became of it."""


class Container:
    """One container: its state, and what later requests need of its spec."""

    def __init__(self, spec: ContainerSpec, answer: Answer) -> None:
        self.env = dict(spec.env)
        self.cwd = spec.cwd
        self.state = ContainerState(id=spec.id, annotations=dict(spec.annotations))
        self.init = 0  # as the shim's own PID namespace counts
        self.answer: Answer | None = answer
        self.pipe: ChildPipe | None = None
        self.ended: tuple[int, int] | None = None
        self.unwanted = False
        self._lines = 0

    def heard(self, received: bytes, _all: bool) -> None:  # noqa: FBT001 - ChildPipe's callback
        """React to what the container's first process reports."""
        for line in received.split(b"\n")[self._lines : -1]:
            self._lines += 1
            message = json.loads(line)
            if "started" in message:
                pids = message["started"]
                self.state = replace(
                    self.state, running=True, started_at=linux.realtime(),
                    pid=pids["pid"], init_pid=pids["init"],
                )  # fmt: skip
                self.reply(asdict(self.state))
            elif "error" in message:
                self.state = replace(self.state, error=message["error"])
            elif "exited" in message:
                self.ended = (message["exited"], message["signal"])

    def reply(self, value: object) -> None:
        """Answer the request that started it, once."""
        answer, self.answer = self.answer, None
        if answer is not None:
            answer(value)


class Table:
    """All containers of a mesh."""

    def __init__(self, watch: Watch, announce: Callable[[ContainerState], None]) -> None:
        """Make an empty table.

        Args:
            watch: Of the event loop.
            announce: Told the state of every container that ran and has ended.
        """
        self._watch = watch
        self._announce = announce
        self._containers: dict[str, Container] = {}
        self._by_init: dict[int, Container] = {}
        self._pid_namespace = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)

    def states(self) -> list[ContainerState]:
        """Return every container not yet removed."""
        return [c.state for c in self._containers.values()]

    @property
    def alive(self) -> int:
        """How many containers have a living process."""
        return len(self._by_init)

    def running(self, identifier: object) -> Container:
        """Return a running container.

        Raises:
            NoSuchContainer: There is none.
        """
        found = self._containers.get(str(identifier))
        if found is None or not found.state.running:
            raise NoSuchContainer(f"container {identifier!r} is not running")
        return found

    def start(self, spec: ContainerSpec, answer: Answer) -> None:
        """Begin to start a container; `answer` gets its state, or why it cannot run.

        Raises:
            Rejected: The id is taken, or the spec is nonsense.
        """
        if spec.id in self._containers:
            raise Rejected(f"container {spec.id!r} exists")
        if not (spec.argv and spec.argv[0]):
            raise StartFailed("the container has no command")
        one = Container(spec, answer)
        one.pipe = pipe = ChildPipe(self._watch, one.heard)
        one.init = self.fork_inside(None, pipe, lambda: container.run(spec, pipe.child_end))
        self._containers[spec.id] = self._by_init[one.init] = one

    def fork_inside(self, pidfd: int | None, pipe: ChildPipe, child: Callable[[], NoReturn]) -> int:
        """Fork a process that runs `child` in another PID namespace.

        Args:
            pidfd: A process of that namespace; None for a new namespace.
            pipe: What the child reports on.
            child: What the forked process does.

        Raises:
            StartFailed: The process or its namespace cannot be made.
            NoSuchContainer: The namespace has ended.
        """
        try:
            if pidfd is None:
                linux.unshare(linux.CLONE_NEWPID)
            else:
                linux.setns(pidfd, linux.CLONE_NEWPID)
            pid = os.fork()
        except OSError as error:
            linux.setns(self._pid_namespace, linux.CLONE_NEWPID)
            pipe.discard()
            if pidfd is not None and error.errno in ENDED:
                raise NoSuchContainer("the container has just ended") from error
            raise StartFailed(f"cannot start a process: {linux.reason(error)}") from error
        if pid == 0:
            try:
                child()
            finally:
                os._exit(1)
        linux.setns(self._pid_namespace, linux.CLONE_NEWPID)
        pipe.forked()
        return pid

    def reaped(self, pid: int, status: int) -> bool:
        """Take note of a dead child; False when it was no container's first process."""
        one = self._by_init.pop(pid, None)
        if one is None or one.pipe is None:
            return False
        one.pipe.drain()
        one.pipe.close()
        state = one.state
        if not state.running:
            del self._containers[state.id]
            one.reply(StartFailed(state.error or "the container was killed while it started"))
            return True
        code, fatal = one.ended or container.exit_status(status)
        one.state = replace(
            state, running=False, finished_at=linux.realtime(), exit_code=code, signal=fatal or None
        )
        if one.unwanted:
            del self._containers[state.id]
        self._announce(one.state)
        return True

    def signal(self, identifier: object, signum: object) -> None:
        """Signal a container's program; SIGKILL ends the whole container.

        Raises:
            NoSuchContainer: There is none of this id.
            Rejected: There is no such signal.
        """
        one = self._containers.get(str(identifier))
        if one is None:
            raise NoSuchContainer(f"there is no container {identifier!r}")
        number = valid_signal(signum)
        if one.init in self._by_init:
            os.kill(one.init, number)

    def remove(self, identifier: object) -> None:
        """Forget a container, after killing it if need be; unknown ones are forgotten already."""
        one = self._containers.get(str(identifier))
        if one is None:
            return
        if one.init in self._by_init:
            one.unwanted = True
            os.kill(one.init, signal.SIGKILL)
        else:
            del self._containers[one.state.id]

    def signal_all(self, signum: int) -> None:
        """Signal every living container."""
        for pid in self._by_init:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signum)


def valid_signal(signum: object) -> int:
    """Return a signal number that a peer sent.

    Raises:
        Rejected: There is no such signal.
    """
    if not isinstance(signum, int) or signum not in signal.valid_signals():
        raise Rejected(f"there is no signal {signum!r}")
    return signum
