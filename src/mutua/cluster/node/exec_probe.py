"""Does a command in a container succeed, and if not, what did it say?

Its output is read while it runs and thrown away beyond what a message can hold: a program that
prints without end costs the node nothing but the reading.
"""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from mutua.cluster.node.ports import Containers

OUTPUT: Final = 1024
"""Bytes of a command's output that reach the event (kubelet: 10 kB)."""

CHUNK: Final = 64 * 1024
"""Bytes per read: what a pipe holds (pipe(7))."""


async def run_inside(
    containers: Containers, container_id: str, command: list[str], seconds: float
) -> str:
    """Run a command in a container; return "" when it exits 0 in time, else what happened.

    Cancellation:
        The command is killed.
    """
    with _collected() as (output, said):
        execution = await containers.exec(
            container_id, command, stdin=None, stdout=output, stderr=None
        )
        try:
            async with asyncio.timeout(seconds):
                code = await execution.wait()
        except TimeoutError:
            await execution.signal(9)
            return f"command timed out after {seconds:g}s"
        except asyncio.CancelledError:
            await execution.signal(9)
            raise
        text = said.text()
        return "" if code == 0 else text or f"command exited with {code}"


class _Said:
    """The beginning of what comes out of a pipe."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._kept = bytearray()

    def text(self) -> str:
        """Return what was said; complete once the program has ended."""
        while self.take():
            pass
        return self._kept.decode(errors="replace").strip()

    def take(self) -> bool:
        """Read once; tell whether more of the beginning may follow."""
        try:
            data = os.read(self._descriptor, CHUNK)
        except BlockingIOError:
            return False
        if not data:
            asyncio.get_running_loop().remove_reader(self._descriptor)
        self._kept += data[: OUTPUT - len(self._kept)]
        return bool(data) and len(self._kept) < OUTPUT


@contextmanager
def _collected() -> Iterator[tuple[int, _Said]]:
    """Provide a descriptor to write to, and what was written there."""
    reader, writer = os.pipe()
    try:
        os.set_blocking(reader, False)
        said, loop = _Said(reader), asyncio.get_running_loop()
        loop.add_reader(reader, said.take)
        try:
            yield writer, said
        finally:
            loop.remove_reader(reader)
    finally:
        os.close(reader)
        os.close(writer)
