"""A command that wraps the data key: how a KMS, an HSM or a password store is asked.

    CMD wrap     data key on standard input, one line of base64 → anything on standard output
    CMD unwrap   that output on standard input → the same line of base64 on standard output

It runs without a shell, in the caller's environment and network (before the daemon enters its own),
and is bounded in time and size.  Its standard error is shown when it fails, without anything that
looks like a key.
"""

import base64
import binascii
import contextlib
import os
import re
import resource
import shlex
import shutil
import signal
import subprocess
from dataclasses import dataclass
from typing import BinaryIO, Final

from typing_extensions import override

from mutua.foundation.errors import Rejected, Unavailable

PATIENCE: Final = 30.0
"""Seconds; a remote KMS answers within one, a person touching a security key needs some."""

LONGEST_ANSWER: Final = 64 * 1024
"""Bytes of a wrapped key; the KMS of every large cloud stays below 1 KB."""

FLOOD: Final = 16 * 1024 * 1024
"""Bytes after which the kernel stops a command that writes without end."""

LONGEST_COMPLAINT: Final = 2000
"""Characters of standard error that are shown."""

KEY_LIKE: Final = re.compile(r"[A-Za-z0-9+/_-]{40,}={0,2}")
"""32 bytes as base64 have 43 characters, as hexadecimal 64."""


@dataclass(frozen=True, slots=True)
class KeyCommand:
    """The command with its own arguments; the program is an absolute path."""

    argv: tuple[str, ...]

    @override
    def __str__(self) -> str:
        return shlex.join(self.argv)

    @classmethod
    def parse(cls, text: str) -> "KeyCommand":
        """Read what a person typed, and find the program now rather than at every start.

        Raises:
            Rejected: Empty, badly quoted, or no such program.
        """
        try:
            argv = shlex.split(text)
        except ValueError as error:
            raise Rejected(f"--kms-command: {error}", hint="check its quotes") from error
        program = shutil.which(argv[0]) if argv else None
        if program is None:
            raise Rejected(f"--kms-command: no program {argv[0] if argv else text!r}")
        return cls((os.path.abspath(program), *argv[1:]))  # noqa: PTH100 - links stay as they are

    def wrap(self, key: bytes) -> bytes:
        """Have the data key wrapped.

        Raises:
            Unavailable: The command failed or took too long.
            Rejected: It gave the key back as it was.
        """
        line = base64.b64encode(key)
        wrapped = self._run("wrap", line + b"\n")
        if not wrapped or line in wrapped or key in wrapped or key.hex().encode() in wrapped:
            raise Rejected(
                f"{self} wrap: the answer is {'the key itself' if wrapped else 'empty'}",
                hint="the command must encrypt what it reads",
            )
        return wrapped

    def unwrap(self, wrapped: bytes) -> bytes:
        """Have the data key unwrapped.

        Raises:
            Unavailable: The command failed, took too long, or its answer is no base64 text.
        """
        answer = self._run("unwrap", wrapped)
        try:
            return base64.b64decode(answer.strip(), validate=True)
        except binascii.Error:
            raise Unavailable(
                f"{self} unwrap: the answer is not one line of base64",
                hint="it must print what `wrap` was given",
            ) from None

    def _run(self, verb: str, given: bytes) -> bytes:
        # Into memory without a name, not into pipes: a flood of output is measured, not read.
        with _memory("answer") as answer, _memory("complaint") as complaint:
            status = self._wait(verb, given, answer.fileno(), complaint.fileno())
            complaint.seek(0)
            said = complaint.read(LONGEST_COMPLAINT).decode(errors="replace").strip()
            said = KEY_LIKE.sub("[redacted]", said)
            if status != 0:
                raise Unavailable(
                    f"{self} {verb}: exit status {status}" + (f": {said}" if said else ""),
                    hint="run it by hand to see what it needs",
                )
            size = os.fstat(answer.fileno()).st_size
            if size > LONGEST_ANSWER:
                raise Unavailable(f"{self} {verb}: the answer is longer than {LONGEST_ANSWER} B")
            answer.seek(0)
            return answer.read()

    def _wait(self, verb: str, given: bytes, answer: int, complaint: int) -> int:
        try:
            process = subprocess.Popen(  # noqa: S603 - what the mesh's owner told us to run
                [*self.argv, verb],
                stdin=subprocess.PIPE,
                stdout=answer,
                stderr=complaint,
                start_new_session=True,
            )
        except OSError as error:
            raise Unavailable(f"{self}: {error.strerror}", hint="is it still there?") from error
        try:
            with contextlib.suppress(ProcessLookupError):
                resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (FLOOD, FLOOD))
            process.communicate(given, timeout=PATIENCE)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)  # not waited for yet: the pid is still its own
            process.wait()
            if isinstance(error, subprocess.TimeoutExpired):
                raise Unavailable(f"{self} {verb}: no answer within {PATIENCE:g} s") from None
            raise
        return process.returncode


def _memory(name: str) -> BinaryIO:
    return os.fdopen(os.memfd_create(name), "w+b")
