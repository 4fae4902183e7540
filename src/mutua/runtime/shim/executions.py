"""Programs started inside running containers: probes, hooks, kubectl exec.

An execution is a child of the shim that joined the container's namespaces.  It belongs to the
connection that asked for it: when that goes, nobody can read what it says, and it is killed.
"""

import contextlib
import fcntl
import gc
import os
import signal
import termios
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

from mutua.foundation.errors import Rejected
from mutua.runtime import container, linux
from mutua.runtime.shim import program
from mutua.runtime.shim.confinement import confine
from mutua.runtime.shim.connection import Connection
from mutua.runtime.shim.pipe import ChildPipe, Watch
from mutua.runtime.shim.protocol import Message
from mutua.runtime.shim.table import Answer, Container, Table, valid_signal
from mutua.runtime.spec import NoSuchContainer, StartFailed

NAMESPACES: Final = linux.CLONE_NEWNS | linux.CLONE_NEWNET | linux.CLONE_NEWUTS | linux.CLONE_NEWIPC


NOT_ENTERED: Final = "cannot enter the container"
"""Begins the sentence of a child whose container ended under its feet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What to run.

    Attributes:
        argv: Program and arguments.
        env: Complete environment.
        cwd: Working directory.
        descriptors: Standard input, output and error.
        tty: Whether standard input is a terminal to make the controlling one.
    """

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: str
    descriptors: tuple[int, int, int]
    tty: bool = False


def command_of(request: Message, one: Container, descriptors: Sequence[int], null: int) -> Command:
    """Read an exec request.

    Raises:
        Rejected: It is not one.
    """
    argv: Any = request.get("argv")
    extra: Any = request.get("env") or {}
    has_stdin, has_stderr = bool(request.get("stdin")), bool(request.get("stderr"))
    if len(descriptors) != 1 + has_stdin + has_stderr:
        raise Rejected("standard output is missing")
    texts = isinstance(argv, list) and isinstance(extra, dict) and [*argv, *extra, *extra.values()]
    if not texts or not argv[0] or not all(isinstance(text, str) for text in texts):
        raise Rejected("not a command")
    remaining = iter(descriptors)
    stdin = next(remaining) if has_stdin else null
    stdout = next(remaining)
    return Command(
        argv=argv,
        env={**one.env, **extra},
        cwd=one.cwd,
        descriptors=(stdin, stdout, next(remaining, stdout)),
        tty=bool(request.get("tty")),
    )


@dataclass(slots=True, kw_only=True)
class _Execution:
    identifier: int
    owner: Connection
    answer: Answer | None
    pid: int = 0
    pipe: ChildPipe | None = None
    failure: str = field(default="")

    def heard(self, received: bytes, complete: bool) -> None:  # noqa: FBT001 - ChildPipe's callback
        """React to the child: its pid, then nothing when the program runs, else a sentence."""
        answer = self.answer
        if not complete or answer is None:
            return
        self.answer = None
        pid, _, sentence = received.partition(b"\n")
        self.failure = sentence.decode(errors="replace")
        if self.failure.startswith(NOT_ENTERED):
            answer(NoSuchContainer(self.failure))
        elif self.failure:
            answer(StartFailed(self.failure))
        else:
            answer({"exec": self.identifier, "pid": int(pid) if pid.isdigit() else 0})


class Executions:
    """All programs running by way of exec."""

    def __init__(self, watch: Watch, table: Table) -> None:
        self._watch = watch
        self._table = table
        self._by_pid: dict[int, _Execution] = {}
        self._last = 0

    def start(self, one: Container, command: Command, owner: Connection, answer: Answer) -> None:
        """Begin to start a program in a container; `answer` gets its number or what is missing.

        Raises:
            NoSuchContainer: The container has just ended.
            StartFailed: No process could be made.
        """
        self._last += 1
        execution = _Execution(identifier=self._last, owner=owner, answer=answer)
        try:
            pidfd = os.pidfd_open(one.init)
        except OSError as error:
            raise NoSuchContainer(f"container {one.state.id!r} has ended") from error
        execution.pipe = pipe = ChildPipe(self._watch, execution.heard)
        try:
            child = _Child(pidfd, command, pipe.child_end)
            execution.pid = self._table.fork_inside(pidfd, pipe, child.run)
            self._by_pid[execution.pid] = execution
        finally:
            os.close(pidfd)

    def reaped(self, pid: int, status: int) -> tuple[Connection, Message] | None:
        """Take note of a dead child: whom to tell what; None when it was none of ours."""
        execution = self._by_pid.pop(pid, None)
        if execution is None or execution.pipe is None:
            return None
        execution.pipe.drain()
        execution.pipe.close()
        if execution.failure:
            return None
        code, _ = container.exit_status(status)
        return execution.owner, {"event": "exec", "exec": execution.identifier, "code": code}

    def signal(self, identifier: object, signum: object, owner: Connection) -> None:
        """Signal a program of `owner`; one that has ended is left alone.

        Raises:
            Rejected: There is no such signal.
        """
        number = valid_signal(signum)
        for execution in self._by_pid.values():
            if execution.identifier == identifier and execution.owner is owner:
                os.kill(execution.pid, number)

    def abandon(self, owner: Connection) -> None:
        """Kill the programs of a connection that has gone."""
        for execution in self._by_pid.values():
            if execution.owner is owner:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(execution.pid, signal.SIGKILL)


class _Child:
    """The forked process: into the container, out of every right, and into the program."""

    def __init__(self, pidfd: int, command: Command, errors: int) -> None:
        self._pidfd = pidfd
        self._command = command
        self._errors = errors

    def run(self) -> NoReturn:
        try:
            self._enter()
        except BaseException as error:  # noqa: BLE001 - must not return to the parent's code
            os.write(self._errors, f"{NOT_ENTERED}: {error}".encode()[:1000])
            os._exit(program.NEVER_RAN)
        command = self._command
        program.become(command.argv, command.env, command.cwd, self._errors)

    def _enter(self) -> None:
        gc.disable()
        proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        os.write(self._errors, b"%d\n" % container.host_pid(proc))
        os.setsid()
        program.restore_defaults()
        linux.setns(self._pidfd, NAMESPACES)
        confine()
        program.take_descriptors(self._command.descriptors, self._errors)
        if self._command.tty:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
