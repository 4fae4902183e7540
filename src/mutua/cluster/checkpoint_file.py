"""How far a change of modes is, for the next control plane: a small file in the run directory.

It is replaced before an epoch is given out, and once more when proxies have confirmed it.  After a
reboot no proxy is left that it could speak of, hence the boot's id in it.  See
`controlplane.checkpoint` for the content.
"""

import json
import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from mutua.controlplane.checkpoint import Checkpoint, dump, load
from mutua.foundation.errors import MutuaError

BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
"""Another one after every reboot (random(4))."""

MODE: Final = 0o600

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
        self._path = path
        self._boot = boot or BOOT_ID.read_text().strip()

    def read(self) -> Checkpoint | None:
        """Return what an earlier control plane wrote since the machine started, None for nothing.

        What cannot be read counts as nothing, and is logged.
        """
        try:
            found = json.loads(self._path.read_bytes())
            return load(found["checkpoint"]) if found["boot"] == self._boot else None
        except FileNotFoundError:
            return None
        except (
            MutuaError, OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError,
        ) as error:  # fmt: skip
            log.warning(CONSEQUENCE, extra={"file": str(self._path), "reason": str(error)})
            return None

    def write(self, checkpoint: Checkpoint) -> None:
        """Replace the file; when that fails there is none, and the log says so."""
        draft = self._path.with_suffix(".new")
        content = json.dumps({"boot": self._boot, "checkpoint": dump(checkpoint)})
        try:
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, MODE)
            with os.fdopen(descriptor, "w") as file:
                file.write(content)
            draft.replace(self._path)
        except OSError as error:
            # An old checkpoint would be worse than none: proxies are about to go on from it.
            with suppress(OSError):
                self._path.unlink()
            log.warning(CONSEQUENCE, extra={"file": str(self._path), "reason": str(error)})
