"""A small file in the run directory that means nothing after a reboot, and says so itself.

    {"boot": "…", "<what>": …}

Replaced as a whole, private, and never synced: after a power cut nothing is left that it could
speak of.
"""

import json
import os
from pathlib import Path
from typing import Any, Final

BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
"""Another one after every reboot (random(4))."""

MODE: Final = 0o600


class BootFile:
    """One JSON value on disk, for the processes that come later in this life of the machine."""

    def __init__(self, path: Path, what: str, boot: str | None = None) -> None:
        """Name a file.

        Args:
            path: The file; its directory exists and is private.
            what: The key under which its value stands.
            boot: Id of this boot; the kernel's unless given.
        """
        self.path = path
        self._what = what
        self._boot = boot or BOOT_ID.read_text().strip()

    def read(self) -> Any:
        """Return what was written since the machine started, None for nothing.

        Raises:
            OSError: It is there and cannot be read.
            ValueError, KeyError, TypeError, RecursionError: It is not what was written.
        """
        try:
            found = json.loads(self.path.read_bytes())
        except FileNotFoundError:
            return None
        return found[self._what] if found["boot"] == self._boot else None

    def write(self, value: Any) -> None:
        """Replace the file.

        Raises:
            OSError: The old one is still there.
        """
        draft = self.path.with_suffix(".new")
        content = json.dumps({"boot": self._boot, self._what: value})
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, MODE)
        with os.fdopen(descriptor, "w") as file:
            file.write(content)
        draft.replace(self.path)
