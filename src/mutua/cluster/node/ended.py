"""How did a container end?  From the shim's words to a Terminated state with a useful message."""

from pathlib import Path
from typing import Final

from mutua.cluster.node.record import Terminated
from mutua.runtime.spec import ContainerState

LINES: Final = 10
"""Last lines of the log that go into the message (Kubernetes allows 80 lines, 2048 bytes)."""

BYTES: Final = 2048

START_ERROR: Final = 128
"""Exit code of a container that could not start (containerd's StartError)."""


def terminated(state: ContainerState, log: Path) -> Terminated:
    """Return how a container ended.

    A failure carries the end of its log, as with terminationMessagePolicy
    FallbackToLogsOnError: `kubectl describe` then says what went wrong.
    """
    code = START_ERROR if state.exit_code is None else state.exit_code
    if state.error:
        reason, message = "StartError", state.error
    elif code == 0:
        reason, message = "Completed", ""
    else:
        reason, message = "Error", last_lines(log)
    return Terminated(code, reason, message, state.signal, state.started_at, state.finished_at)


def last_lines(log: Path) -> str:
    """Return the end of a CRI log without its prefixes; "" when there is none."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - 2 * BYTES))
            raw = file.read()
    except OSError:
        return ""
    lines = raw.decode(errors="replace").splitlines()[-LINES:]
    texts = [line.split(" ", 3)[3] for line in lines if line.count(" ") >= 3]
    return "\n".join(texts)[-BYTES:]
