"""What the next daemon has to know about connections that are older than it.

A small file in the run directory, written anew when something has changed:

    {"boot": "…", "pods": {"<uid>": {
        "ends": "…", "replaced": ["…", …], "noted": [["…", [cookie, …]], …]}, …}}

The kernel's names for connections (cookies) mean nothing after a reboot, hence its id.  A daemon
that is killed may lose the last `DELAY`.
"""

import logging
from pathlib import Path
from typing import Final

from mutua.cluster.boot_file import BootFile
from mutua.cluster.revocation.expiry import Deadlines

DELAY: Final = 0.1
"""Seconds between two writes, at least."""

log = logging.getLogger(__name__)


class DeadlineFile:
    """Deadlines on disk.  Nothing is synced: after a power cut there are no connections."""

    def __init__(self, path: Path, boot: str | None = None) -> None:
        """Name a file.

        Args:
            path: The file; its directory exists and is private.
            boot: Id of this boot; the kernel's unless given.
        """
        self._file = BootFile(path, "pods", boot)

    def read(self) -> Deadlines:
        """Return what an earlier daemon wrote since the machine started; else nothing."""
        try:
            found = self._file.read()
            return Deadlines.load(found) if found is not None else Deadlines()
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            log.warning("older connections end later", extra={"reason": str(error)})
            return Deadlines()

    def write(self, deadlines: Deadlines) -> None:
        """Replace the file.

        Raises:
            OSError: The old one is still there.
        """
        self._file.write(deadlines.dump())
