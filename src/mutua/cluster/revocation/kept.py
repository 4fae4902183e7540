"""What the next daemon has to know about connections that are older than it.

A small file in the run directory, written anew when something has changed:

    {"boot": "…", "pods": {"<uid>": {
        "ends": "…", "replaced": ["…", …], "noted": [["…", [cookie, …]], …]}, …}}

The kernel's names for connections (cookies) mean nothing after a reboot, hence its id.  A daemon
that is killed may lose the last `DELAY`.
"""

import json
import logging
import os
from pathlib import Path
from typing import Final

from mutua.cluster.revocation.expiry import Deadlines

BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
"""Another one after every reboot (random(4))."""

DELAY: Final = 0.1
"""Seconds between two writes, at least."""

MODE: Final = 0o600

log = logging.getLogger(__name__)


class DeadlineFile:
    """Deadlines on disk.  Nothing is synced: after a power cut there are no connections."""

    def __init__(self, path: Path, boot: str | None = None) -> None:
        """Name a file.

        Args:
            path: The file; its directory exists and is private.
            boot: Id of this boot; the kernel's unless given.
        """
        self._path = path
        self._boot = boot or BOOT_ID.read_text().strip()

    def read(self) -> Deadlines:
        """Return what an earlier daemon wrote since the machine started; else nothing."""
        try:
            found = json.loads(self._path.read_bytes())
            return Deadlines.load(found["pods"]) if found["boot"] == self._boot else Deadlines()
        except FileNotFoundError:
            return Deadlines()
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            log.warning("older connections end later", extra={"reason": str(error)})
            return Deadlines()

    def write(self, deadlines: Deadlines) -> None:
        """Replace the file.

        Raises:
            OSError: The old one is still there.
        """
        draft = self._path.with_suffix(".new")
        content = json.dumps({"boot": self._boot, "pods": deadlines.dump()})
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, MODE)
        with os.fdopen(descriptor, "w") as file:
            file.write(content)
        draft.replace(self._path)
