"""How far a change of modes is, for the next control plane: a small file in the run directory.

It is replaced before an epoch is given out, and once more when proxies have confirmed it.  After a
reboot no proxy is left that it could speak of, hence the boot's id in it.  See
`controlplane.checkpoint` for the content.
"""

import logging
from contextlib import suppress
from pathlib import Path
from typing import Final

from mutua.cluster.boot_file import BootFile
from mutua.controlplane.checkpoint import Checkpoint, dump, load
from mutua.foundation.errors import MutuaError

CONSEQUENCE: Final = "a change of modes that is interrupted would be finished in one step"

log = logging.getLogger(__name__)


class CheckpointFile:
    """A checkpoint on disk.  Nothing is synced: after a power cut there are no proxies."""

    def __init__(self, path: Path, boot: str | None = None) -> None:
        """Name a file.

        Args:
            path: The file; its directory exists and is private.
            boot: Id of this boot; the kernel's unless given.
        """
        self._file = BootFile(path, "checkpoint", boot)

    def read(self) -> Checkpoint | None:
        """Return what an earlier control plane wrote since the machine started, None for nothing.

        What cannot be read counts as nothing, and is logged.
        """
        try:
            found = self._file.read()
            return load(found) if found is not None else None
        except (
            MutuaError, OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError,
        ) as error:  # fmt: skip
            log.warning(CONSEQUENCE, extra={"file": str(self._file.path), "reason": str(error)})
            return None

    def write(self, checkpoint: Checkpoint) -> None:
        """Replace the file; when that fails there is none, and the log says so."""
        content = dump(checkpoint)
        try:
            self._file.write(content)
        except OSError as error:
            # An old checkpoint would be worse than none: proxies are about to go on from it.
            with suppress(OSError):
                self._file.path.unlink()
            log.warning(CONSEQUENCE, extra={"file": str(self._file.path), "reason": str(error)})
