"""From a forked process to a running program, or to the sentence that says what is missing.

`become` runs in the last moments of a forked child: it finds the program as a shell would (PATH
of the container's environment, inside the container's view of the file system) and replaces the
process.  What went wrong is written to a close-on-exec pipe: the parent reads a sentence, or end
of file once the program runs.
"""

import errno
import fcntl
import os
import resource
import signal
from collections.abc import Mapping, Sequence
from typing import Final, NoReturn

from mutua.runtime import linux

DEFAULT_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""PATH of a container that sets none, as container runtimes have it."""

NEVER_RAN: Final = 127
"""Exit status of a child whose program could not be executed (a shell's "not found")."""

MAX_SENTENCE: Final = 4000
"""Bytes of an error sentence: less than PIPE_BUF (4096, pipe(7)), so the write cannot block."""


def find_program(name: str, search: str) -> str:
    """Return the path of the program `name`.

    Raises:
        OSError: A sentence says what is missing.
    """
    if "/" in name:
        return name
    forbidden = ""
    for directory in search.split(":"):
        path = f"{directory or '.'}/{name}"
        if os.path.isfile(path):  # noqa: PTH113 - pathlib would cost the shim memory
            if os.access(path, os.X_OK):
                return path
            forbidden = forbidden or path
    if forbidden:
        raise PermissionError(errno.EACCES, f"program {forbidden!r} is not executable")
    raise FileNotFoundError(errno.ENOENT, f"program {name!r} not found in PATH ({search})")


def execute(argv: Sequence[str], env: Mapping[str, str], cwd: str) -> NoReturn:
    """Replace the process by a program.

    Raises:
        OSError: A sentence says what is missing.
    """
    try:
        os.chdir(cwd)
    except OSError as error:
        sentence = f"working directory {cwd!r}: {linux.reason(error)}"
        raise OSError(error.errno, sentence) from error
    path = find_program(argv[0], env.get("PATH", DEFAULT_PATH))
    try:
        os.execve(path, list(argv), dict(env))  # noqa: S606 - no shell is the point
    except OSError as error:
        raise OSError(error.errno, _explain(path, error)) from error


def _explain(path: str, error: OSError) -> str:
    if error.errno == errno.ENOENT and os.path.exists(path):  # noqa: PTH110
        return f"program {path!r}: its interpreter is missing"
    if error.errno == errno.EACCES:
        return f"program {path!r} is not executable"
    if error.errno == errno.ENOENT:
        return f"program {path!r} not found"
    return f"program {path!r}: {linux.reason(error)}"


_descriptor_limits: Final = resource.getrlimit(resource.RLIMIT_NOFILE)
"""What the shim was started with, which is what programs get."""


def raise_descriptor_limit() -> None:
    """Let the shim hold a descriptor per container, however low its user's soft limit is."""
    _, hard = _descriptor_limits
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def restore_defaults() -> None:
    """Undo what the shim chose for itself: every signal at its default, the limits as given."""
    resource.setrlimit(resource.RLIMIT_NOFILE, _descriptor_limits)
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)
    linux.reset_reserved_signals()
    signal.pthread_sigmask(signal.SIG_SETMASK, set())


def take_descriptors(descriptors: Sequence[int], *keep: int) -> None:
    """Make `descriptors` 0, 1, 2 … of this process and close everything else except `keep`.

    The kept ones stay where they are and stay close-on-exec.
    """
    floor = max((len(descriptors), *descriptors, *keep)) + 1
    moved = [_duplicate_above(number, floor) for number in descriptors]
    for target, source in enumerate(moved):
        os.dup2(source, target)
    close_except(set(range(len(descriptors))) | set(keep))


def _duplicate_above(number: int, floor: int) -> int:
    return fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, floor)


def close_except(keep: set[int]) -> None:
    """Close every descriptor of this process that is not in `keep`."""
    first = 0
    for number in sorted(keep):
        linux.close_range(first, number - 1)
        first = number + 1
    linux.close_range(first, 2**31 - 1)


def become(argv: Sequence[str], env: Mapping[str, str], cwd: str, errors: int) -> NoReturn:
    """Become the program, or write why not to `errors` and exit."""
    try:
        restore_defaults()
        execute(argv, env, cwd)
    except BaseException as error:  # noqa: BLE001 - a forked child must not return to its parent's code
        sentence = error.strerror if isinstance(error, OSError) else f"{error!r}"
        os.write(errors, str(sentence).encode(errors="replace")[:MAX_SENTENCE])
    finally:
        os._exit(NEVER_RAN)
