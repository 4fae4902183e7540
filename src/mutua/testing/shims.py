"""A private shim for a test, and programs in its containers.

with private_mesh() as mesh:
    async with mesh.connect() as shim:
        state = await shim.start(mesh.spec("sleep", "1000"))
        result = await mesh.run(shim, state.id, "cat", "/proc/self/status")
"""

import asyncio
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any, Final

import mutua
from mutua.foundation.layout import Layout
from mutua.runtime.enter import SHIM_LOG, start_shim
from mutua.runtime.shim.client import ShimClient
from mutua.runtime.spec import ContainerSpec, ContainerState

PATH: Final = "/usr/local/bin:/usr/bin:/bin"

SOURCES: Final = Path(mutua.__file__).parents[1]
"""What an interpreter needs on its path to import mutua."""

DEADLINE: Final = 60.0
"""Seconds until a condition that should come at once is called missing."""

_PRELUDE: Final = """
import sys; sys.path.insert(0, {sources!r})
from pathlib import Path
from mutua.foundation.layout import Layout
from mutua.runtime import enter, linux
layout = Layout('t', Path({state!r}), Path({run!r}))
enter.enter_shim(layout)
"""


@dataclass(frozen=True, slots=True)
class Result:
    """What a program printed, and how it ended."""

    code: int
    output: str


class PrivateMesh:
    """A shim of one's own, with its directories."""

    def __init__(self, base: Path) -> None:
        """Make the directories of a mesh under `base`."""
        self.base = base
        self.layout = Layout("t", base / "state", base / "run")
        self.layout.state.mkdir(mode=0o700)
        self.layout.run.mkdir(mode=0o700)
        self.shim_pid = 0
        self._numbers = count(1)

    def start(self) -> None:
        """Start the shim."""
        self.shim_pid = start_shim(self.layout, python=sys.executable)

    def kill(self) -> None:
        """Kill the shim, and wait until the kernel has ended everything it owned."""
        with suppress(ProcessLookupError):
            descriptor = os.pidfd_open(self.shim_pid)
            try:
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
                select.select([descriptor], [], [], DEADLINE)
            finally:
                os.close(descriptor)

    @property
    def troubles(self) -> str:
        """What the shim wrote to its log."""
        return (self.layout.state / SHIM_LOG).read_text()

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[ShimClient]:
        """Connect to the shim."""
        client = await ShimClient.connect(self.layout.shim_socket)
        try:
            yield client
        finally:
            await client.close()

    def spec(self, *argv: str, **changes: Any) -> ContainerSpec:
        """Describe a container of its own pod; it sleeps unless told what to run."""
        number = next(self._numbers)
        spec = ContainerSpec(
            id=f"pod{number}/app/0",
            argv=argv or ("sleep", "1000"),
            env={"PATH": PATH},
            log_path=str(self.layout.logs / f"pod{number}" / "app" / "0.log"),
        )
        return replace(spec, **changes)

    def log(self, spec: ContainerSpec) -> list[str]:
        """Return the lines that a container wrote."""
        lines = Path(spec.log_path).read_text().splitlines()
        return [line.split(" ", 3)[3] for line in lines]

    def python_inside(self, code: str) -> str:
        """Run Python in the mesh's U, M and N, as the daemon does; return what it printed."""
        prelude = _PRELUDE.format(
            sources=str(SOURCES), state=str(self.layout.state), run=str(self.layout.run)
        )
        command = [sys.executable, "-c", prelude + code]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - a test's own code
        if done.returncode:
            raise AssertionError(done.stderr)
        return done.stdout

    async def run(
        self, shim: ShimClient, identifier: str, *argv: str, stdin: bytes | None = None
    ) -> Result:
        """Execute a program in a container; `stdin` must fit into a pipe."""
        read, write = os.pipe2(os.O_CLOEXEC)
        source = None
        if stdin is not None:
            source, sink = os.pipe2(os.O_CLOEXEC)
            os.write(sink, stdin)
            os.close(sink)
        try:
            execution = await shim.exec(identifier, argv, stdin=source, stdout=write, stderr=None)
        except BaseException:
            os.close(read)
            raise
        finally:
            os.close(write)
            if source is not None:
                os.close(source)
        with os.fdopen(read, "rb") as file:
            output = await asyncio.to_thread(file.read)
        return Result(await execution.wait(), output.decode())

    async def python(self, shim: ShimClient, identifier: str, code: str) -> Result:
        """Execute Python in a container."""
        return await self.run(shim, identifier, sys.executable, "-I", "-c", code)

    async def wait_end(self, shim: ShimClient, identifier: str) -> ContainerState:
        """Return how a container ended."""
        async with asyncio.timeout(DEADLINE):
            while True:
                for state in await shim.containers():
                    if state.id == identifier and not state.running:
                        return state
                await asyncio.sleep(0.02)


@contextmanager
def private_mesh() -> Iterator[PrivateMesh]:
    """Start a shim in a directory of its own; kill it and remove the directory afterwards.

    Raises:
        AssertionError: A bug left a traceback in the shim's log.
    """
    base = Path(tempfile.mkdtemp(prefix="mutua-t-"))
    mesh = PrivateMesh(base)
    try:
        mesh.start()
        yield mesh
        troubles = mesh.troubles
    finally:
        mesh.kill()
        shutil.rmtree(base)
    if "Traceback" in troubles:
        raise AssertionError(troubles)


def sleep_of_ours(seconds: int) -> tuple[str, str]:
    """Return the command of a program that sleeps, and no other test suite on this machine has."""
    return "sleep", f"{seconds}.{os.getpid()}"


def is_alive(pid: int) -> bool:
    """Tell whether a process exists and is no zombie."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rsplit(")", 1)[1].split()[0] != "Z"


def processes_of(*argv: str) -> Sequence[int]:
    """Return the processes of this machine with this command line."""
    wanted = "".join(f"{one}\0" for one in argv).encode()
    found = []
    for directory in Path("/proc").iterdir():
        with suppress(OSError):
            if directory.name.isdecimal() and (directory / "cmdline").read_bytes() == wanted:
                found.append(int(directory.name))
    return [pid for pid in found if is_alive(pid)]
