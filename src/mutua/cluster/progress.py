"""How the daemon tells whoever started it what it is doing, until it is ready.

One JSON object a line, on a pipe:

    {"step": "starting the node"}
    {"ready": {"server": "https://127.0.0.1:6443"}}         the last line of a good start
    {"error": "…", "hint": "…"}                              the last line of a bad one

A reader that has gone away is no reason to stop: writing then does nothing.
"""

import contextlib
import json
import os
from dataclasses import dataclass, field
from typing import Any

from mutua.foundation.errors import MutuaError


@dataclass(slots=True)
class Progress:
    """The writing end.  `fd` is -1 when nobody listens."""

    fd: int = -1
    _closed: bool = field(default=False, init=False)

    def step(self, text: str) -> None:
        """Say what starts now."""
        self._write({"step": text})

    def ready(self, **facts: str) -> None:
        """Say that the mesh is up, and close the channel."""
        self._write({"ready": facts})
        self._close()

    def failed(self, error: BaseException) -> None:
        """Say why it will not come up, and close the channel."""
        hint = error.hint if isinstance(error, MutuaError) else ""
        text = str(error) if isinstance(error, MutuaError) else f"{type(error).__name__}: {error}"
        self._write({"error": text, "hint": hint})
        self._close()

    def _write(self, message: dict[str, Any]) -> None:
        if self.fd < 0 or self._closed:
            return
        with contextlib.suppress(BrokenPipeError):
            os.write(self.fd, json.dumps(message).encode() + b"\n")

    def _close(self) -> None:
        if self.fd >= 0 and not self._closed:
            os.close(self.fd)
            self._closed = True
