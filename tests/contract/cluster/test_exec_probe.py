"""Exec probes with real programs: what they say, and what they can cost."""

import asyncio
import os
import sys
from collections.abc import Iterator, Sequence

import pytest
from typing_extensions import override

from mutua.cluster.node.exec_probe import OUTPUT, run_inside
from mutua.foundation.clock import SystemClock
from mutua.runtime.shim.client import Execution
from mutua.testing.node import FakeContainers

ENOUGH = 30.0
"""Seconds for a small program of Python's on a busy machine."""


class Process(Execution):
    """A program of this machine instead of one in a container."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @override
    async def wait(self) -> int:
        return await self._process.wait()

    @override
    async def signal(self, signum: int) -> None:
        self._process.send_signal(signum)
        await self._process.wait()


class Machine(FakeContainers):
    """Runs what it is asked to, and keeps a hand on where the output goes."""

    output = -1

    @override
    async def exec(
        self,
        container_id: str,
        argv: Sequence[str],
        *,
        stdin: int | None,
        stdout: int,
        stderr: int | None,
    ) -> Execution:
        self.output = os.dup(stdout)
        return Process(await asyncio.create_subprocess_exec(*argv, stdout=stdout, stderr=stdout))


@pytest.fixture
def machine() -> Iterator[Machine]:
    one = Machine(SystemClock())
    yield one
    os.close(one.output)


@pytest.mark.parametrize(
    ("script", "seconds", "verdict"),
    [
        pytest.param("print('fine')", ENOUGH, "", id="well"),
        pytest.param("raise SystemExit('not ready')", ENOUGH, "not ready", id="says why"),
        pytest.param("raise SystemExit(3)", ENOUGH, "command exited with 3", id="says nothing"),
        pytest.param(
            "print('x' * 1000000); raise SystemExit(1)", ENOUGH, "x" * OUTPUT, id="says a lot"
        ),
        pytest.param("print('x' * 1000000)", ENOUGH, "", id="a lot, and well"),
        pytest.param("import time; time.sleep(60)", 2, "command timed out after 2s", id="hangs"),
    ],
)
async def test_a_verdict_and_its_reason(
    machine: Machine, script: str, seconds: float, verdict: str
) -> None:
    assert await run_inside(machine, "c", [sys.executable, "-c", script], seconds) == verdict


async def test_output_without_end_is_not_kept(machine: Machine) -> None:
    script = "import os\nwhile True: os.write(1, b'x' * 65536)"

    assert "timed out" in await run_inside(machine, "c", [sys.executable, "-c", script], 1)

    assert os.fstat(machine.output).st_size < 1024 * 1024
