"""The life of one container, told from the inside: its first process.

Forked from the shim (never executed, so that all containers share the interpreter's pages), it is
PID 1 of the container's PID namespace.  It makes the container's view of the machine, gives up
every right it used for that, forks the program, and from then on only copies output to the log,
passes signals on, reaps orphans, and ends as the program ends.  Its death is the container's.

It reports to the shim over a pipe, one JSON object a line:

    {"started": {"pid": 4711, "init": 4710}}      the program runs
    {"error": "program 'x' not found in PATH …"}  it does not
    {"exited": 143, "signal": 15}                 it did; `signal` is 0 when it simply exited
"""

import contextlib
import gc
import json
import os
import select
import signal
import socket
from typing import Final, NoReturn

from mutua.foundation.errors import MutuaError
from mutua.runtime import linux, mounts
from mutua.runtime.shim import program
from mutua.runtime.shim.confinement import capability_mask, confine, drop_everything
from mutua.runtime.shim.logfile import LogFile
from mutua.runtime.spec import ContainerSpec, StartFailed

NAMESPACES: Final = linux.CLONE_NEWNS | linux.CLONE_NEWUTS | linux.CLONE_NEWIPC

CHUNK: Final = 65536
"""Bytes read from the program at once: the capacity of a pipe (pipe(7))."""

NOT_FORWARDED: Final = {
    signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD, signal.SIGPIPE,
    signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGTRAP, signal.SIGSYS,
    signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGXCPU, signal.SIGXFSZ,
}  # fmt: skip
"""Signals that are about this process, or cannot be caught; all others are for the program."""


def run(spec: ContainerSpec, report: int) -> NoReturn:
    """Be the container's first process, from just after the fork to the end."""
    status = program.NEVER_RAN
    try:
        gc.disable()
        status = _Init(spec, report).live()
    except MutuaError as error:
        _tell(report, {"error": str(error)})
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        sentence = f"cannot set up the container: {place}{error.strerror or error}"
        _tell(report, {"error": sentence})
    except BaseException as error:  # noqa: BLE001 - a forked child must not return to its parent's code
        _tell(report, {"error": f"cannot set up the container: {error!r}"})
    finally:
        os._exit(status)


def host_pid(proc: int) -> int:
    """Return this process's id in the PID namespace that the mounted /proc `proc` belongs to."""
    try:
        return int(os.readlink("self", dir_fd=proc))
    except (OSError, ValueError):
        return 0


def _tell(report: int, message: dict[str, object]) -> None:
    line = json.dumps(message)
    if len(line) > program.MAX_SENTENCE:
        line = json.dumps({"error": str(message.get("error"))[: program.MAX_SENTENCE // 8]})
    os.write(report, line.encode() + b"\n")


class _Init:
    def __init__(self, spec: ContainerSpec, report: int) -> None:
        self._spec = spec
        self._report = report

    def live(self) -> int:
        spec = self._spec
        capability_mask(spec.capabilities)
        os.setsid()
        program.restore_defaults()
        program.close_except({0, 1, 2, self._report})
        proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        linux.set_process_name("mutua-init")
        self._log = LogFile(spec.log_path)
        self._enter_namespaces()
        mounts.arrange(spec.mounts, spec.hide)
        confine(spec.capabilities)
        self._wake, wakeup = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._start(proc)
        drop_everything()
        self._take_signals(wakeup)
        return self._serve()

    def _enter_namespaces(self) -> None:
        spec = self._spec
        if spec.netns:
            try:
                netns = os.open(spec.netns, os.O_RDONLY | os.O_CLOEXEC)
                linux.setns(netns, linux.CLONE_NEWNET)
            except OSError as error:
                sentence = f"network namespace {spec.netns}: {linux.reason(error)}"
                raise StartFailed(sentence) from error
            os.close(netns)
        linux.unshare(NAMESPACES)
        if spec.hostname:
            socket.sethostname(spec.hostname)

    def _start(self, proc: int) -> None:
        """Fork the program and wait until it has been executed."""
        spec = self._spec
        null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        (out, out_end), (err, err_end) = (os.pipe2(os.O_CLOEXEC) for _ in range(2))
        errors, errors_end = os.pipe2(os.O_CLOEXEC)
        self._pid = os.fork()
        if self._pid == 0:
            os.write(errors_end, b"%d\n" % host_pid(proc))
            os.setsid()
            program.take_descriptors((null, out_end, err_end), errors_end)
            program.become(spec.argv, spec.env, spec.cwd, errors_end)
        for number in (null, out_end, err_end, errors_end):
            os.close(number)
        self._streams = {out: "stdout", err: "stderr"}
        self._pids = {"init": host_pid(proc)}
        os.close(proc)
        self._await_execution(errors)

    def _await_execution(self, errors: int) -> None:
        answer = b""
        while chunk := os.read(errors, CHUNK):
            answer += chunk
        os.close(errors)
        pid, _, sentence = answer.partition(b"\n")
        if sentence:
            raise StartFailed(sentence.decode(errors="replace"))
        self._pids["pid"] = int(pid or b"0")

    def _take_signals(self, wakeup: int) -> None:
        for number in signal.valid_signals() - NOT_FORWARDED:
            signal.signal(number, self._forward)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
        _tell(self._report, {"started": self._pids})

    def _forward(self, number: int, _frame: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, number)

    def _serve(self) -> int:
        """Copy output and reap, until the program has ended; return its exit status."""
        poll = select.poll()
        for number in (self._wake, *self._streams):
            poll.register(number, select.POLLIN)
        ended = self._reap()
        while ended is None:
            for number, _ in poll.poll():
                if number == self._wake:
                    os.read(self._wake, CHUNK)
                    ended = self._reap()
                elif not self._copy(number):
                    poll.unregister(number)
        self._drain()
        code, fatal = ended
        _tell(self._report, {"exited": code, "signal": fatal})
        return code

    def _copy(self, number: int) -> bool:
        data = os.read(number, CHUNK)
        self._log.write(self._streams[number], data)
        return bool(data)

    def _drain(self) -> None:
        """Log what the program wrote before it ended; whatever it left running ends here."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)
        for number in self._streams:
            os.set_blocking(number, False)
            try:
                while self._copy(number):
                    pass
            except BlockingIOError:
                continue
        self._log.finish()

    def _reap(self) -> tuple[int, int] | None:
        """Collect the dead; return the program's exit status and fatal signal once it is one."""
        ended = None
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return ended
            if pid == 0:
                return ended
            if pid == self._pid:
                ended = exit_status(status)


def exit_status(status: int) -> tuple[int, int]:
    """Return (exit code, fatal signal or 0) of a wait status, as a shell reports them."""
    code = os.waitstatus_to_exitcode(status)
    return (code, 0) if code >= 0 else (128 - code, -code)
