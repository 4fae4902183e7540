"""Set the wall clock of a running mesh, without touching the machine's.

A preloaded library (tests/mesh/clock_step.c) adds an offset to what programs read.  Daemon and
`mutua` commands get it through the environment; Envoy, whose environment is the pod's, through a
script that `mutua up --envoy` is given.  Applications, the shim and kubectl stay on the true clock.
"""

import shlex
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from mutua.foundation.clock import SystemClock
from mutua.runtime.envoy import find_envoy

VISIBLE: Final = "/var/tmp"  # noqa: S108 - the host's, which containers see; their /tmp is their own
"""Where containers see files of the test."""


@dataclass(frozen=True, slots=True)
class SteppedClock:
    """A wall clock for one mesh.

    Attributes:
        folder: Holds the library, the offset and the script.
    """

    folder: Path

    @property
    def library(self) -> Path:
        """What to preload."""
        return self.folder / "clock_step.so"

    @property
    def envoy(self) -> Path:
        """An Envoy that goes by this clock."""
        return self.folder / "envoy"

    def now(self) -> datetime:
        """Tell what time it is for the mesh."""
        return SystemClock().now() + self._offset()

    def step(self, by: timedelta) -> None:
        """Set the clock forward, or back, for every program at once."""
        self.set_off(self._offset() + by)

    def set_off(self, offset: timedelta) -> None:
        """Set the clock to the true time plus an offset."""
        nanoseconds = offset // timedelta(microseconds=1) * 1000
        with (self.folder / "offset").open("r+b", buffering=0) as file:
            file.write(struct.pack("q", nanoseconds))  # one write: nobody sees half of it

    def _offset(self) -> timedelta:
        (nanoseconds,) = struct.unpack("q", (self.folder / "offset").read_bytes())
        return timedelta(microseconds=nanoseconds // 1000)


@contextmanager
def stepped_clock(source: Path, compiler: str) -> Iterator[SteppedClock]:
    """Compile the library and provide a clock that starts with the true time.

    Args:
        source: Of the library.
        compiler: A C compiler.
    """
    folder = Path(tempfile.mkdtemp(prefix="mutua-clock-", dir=VISIBLE))
    try:
        made = SteppedClock(folder)
        offset = folder / "offset"
        offset.write_bytes(struct.pack("q", 0))
        argv = [compiler, "-shared", "-fPIC", "-O2", "-Wall"]
        argv += [f'-DOFFSET="{offset}"', "-o", str(made.library), str(source)]
        subprocess.run(argv, check=True, timeout=60)  # noqa: S603 - the test's compiler
        preload, envoy = shlex.quote(str(made.library)), shlex.quote(str(find_envoy()))
        made.envoy.write_text(f'#!/bin/sh\nLD_PRELOAD={preload} exec {envoy} "$@"\n')
        made.envoy.chmod(0o755)
        folder.chmod(0o755)
        yield made
    finally:
        shutil.rmtree(folder)
