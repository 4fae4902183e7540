"""A command of the tutorial, and how to tell from what it printed whether it did as promised."""

import json
import re
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

REFUSED: Final = {
    52: "the server closed the connection without an answer",
    56: "the server reset the connection",
}
"""How curl reports a refused plaintext connection: exit codes of curl(1)."""


PAUSE: Final = 0.5
"""Seconds between two tries."""

LIMIT: Final = 120
"""Seconds a command may take."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a command did."""

    status: int
    stdout: str
    stderr: str


@dataclass(frozen=True, slots=True)
class Observation:
    """What was seen, in one line, and whether it is what was expected."""

    matched: bool
    seen: str


Check = Callable[[Result], Observation]


@dataclass(frozen=True, slots=True)
class Step:
    """One command of the tutorial.

    Attributes:
        why: What the reader learns, one sentence.
        command: A shell command, in which `{kubectl}` and `{istioctl}` are replaced.
        expected: What must be seen, one line.
        check: Looks at the result.
        patience: Seconds in which the command may be tried again: nobody announces that a client's
            proxy has heard of a new server.
    """

    why: str
    command: str
    expected: str
    check: Check
    patience: float = 0.0

    def observe(
        self, folder: Path, environ: Mapping[str, str], *, kubectl: str, istioctl: str
    ) -> tuple[Result, Observation]:
        """Run the command, again while it does not show what is expected and there is patience."""
        command = self.command.format(kubectl=kubectl, istioctl=istioctl)
        deadline = time.monotonic() + self.patience
        while True:
            result = _run(command, folder, environ)
            seen = self.check(result)
            if seen.matched or time.monotonic() >= deadline:
                return result, seen
            time.sleep(PAUSE)


def _run(command: str, folder: Path, environ: Mapping[str, str]) -> Result:
    done = subprocess.run(
        command,
        shell=True,
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    return Result(done.returncode, done.stdout, done.stderr)


def succeeded(result: Result) -> Observation:
    """Expect exit status 0; show the last line that was printed."""
    lines = (result.stdout if result.status == 0 else result.stderr or result.stdout).strip()
    last = lines.splitlines()[-1] if lines else "no output"
    return Observation(result.status == 0, last if result.status == 0 else f"failed: {last}")


def shows(pattern: str) -> Check:
    """Expect success and a line of output that matches `pattern`; show that line."""

    def check(result: Result) -> Observation:
        if result.status != 0:
            return succeeded(result)
        for line in result.stdout.splitlines():
            if re.search(pattern, line):
                return Observation(matched=True, seen=" ".join(line.split()))
        return Observation(matched=False, seen=f"no line like {pattern!r} in: {result.stdout!r}")

    return check


def shows_no_other(rows: str, pattern: str) -> Check:
    """Expect success, lines that match `rows`, and `pattern` in each of them; show the last."""

    def check(result: Result) -> Observation:
        if result.status != 0:
            return succeeded(result)
        found = [line for line in result.stdout.splitlines() if re.search(rows, line)]
        others = [line for line in found if not re.search(pattern, line)]
        shown = (others or found or [f"no line like {rows!r}"])[-1]
        return Observation(bool(found) and not others, " ".join(shown.split()))

    return check


def answered(caller: str, server: str) -> Check:
    """Expect httpbin's echo of the headers, with these certified identities among them.

    Args:
        caller: The client's SPIFFE ID, "" for a call that must have come in plaintext.
        server: The server's.
    """

    def check(result: Result) -> Observation:
        if result.status != 0:
            return succeeded(result)
        try:
            headers = json.loads(result.stdout)["headers"]
        except (ValueError, KeyError, TypeError):
            return Observation(matched=False, seen=f"not httpbin's answer: {result.stdout[:200]!r}")
        xfcc = headers.get("X-Forwarded-Client-Cert", "")
        fields = dict(part.split("=", 1) for part in xfcc.split(";") if "=" in part)
        seen = f"200, caller {fields.get('URI', 'without a certificate')}"
        found = (fields.get("URI", ""), fields.get("By", ""))
        return Observation(found == ((caller, server) if caller else ("", "")), seen)

    return check


def refused(result: Result) -> Observation:
    """Expect curl to have been cut off: no status line, no body."""
    match = re.search(r"exit code (\d+)", result.stderr)
    code = int(match[1]) if match else result.status
    why = REFUSED.get(code)
    if why is None or result.stdout:
        return Observation(matched=False, seen=f"curl exit {code}, answer {result.stdout[:200]!r}")
    return Observation(matched=True, seen=f"curl exit {code}: {why}")
