"""How does the daemon talk to the shim?  One asyncio connection, requests answered out of order.

Several clients may be connected at once; a client that dies takes nothing with it.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Self

from mutua.runtime.spec import ContainerSpec, ContainerState


class Execution:
    """One program started inside a running container."""

    async def wait(self) -> int:
        """Return the exit code once the program has ended; 128 + n after a fatal signal n."""
        raise NotImplementedError

    async def signal(self, signum: int) -> None:
        """Send a signal to the program; nothing happens when it has ended."""
        raise NotImplementedError


class ShimClient:
    """A connection to the shim."""

    @classmethod
    async def connect(cls, socket_path: Path) -> Self:
        """Connect to a live shim.

        Raises:
            ShimGone: Nothing answers at `socket_path`.
        """
        raise NotImplementedError

    async def close(self) -> None:
        """End the connection; containers keep running."""
        raise NotImplementedError

    async def start(self, spec: ContainerSpec) -> ContainerState:
        """Start a container and return once its program runs.

        Raises:
            StartFailed: Says what is missing.
            ShimGone: The shim has ended.
        """
        raise NotImplementedError

    async def exec(
        self,
        container_id: str,
        argv: Sequence[str],
        *,
        stdin: int | None,
        stdout: int,
        stderr: int | None,
        tty: bool = False,
        env: Mapping[str, str] | None = None,
    ) -> Execution:
        """Start a program in a running container, on file descriptors of the caller.

        The caller keeps its descriptors and closes them itself.

        Args:
            container_id: Of a running container.
            argv: Program (looked up in the container's PATH) and arguments.
            stdin: None for /dev/null.
            stdout: Where its output goes.
            stderr: None for the same as `stdout`.
            tty: Whether the descriptors are a terminal that becomes its controlling terminal.
            env: Added to the container's environment.

        Raises:
            StartFailed: The program is missing or not executable.
            NoSuchContainer: The container does not run.
        """
        raise NotImplementedError

    async def signal(self, container_id: str, signum: int) -> None:
        """Signal the container's program; SIGKILL ends the whole container at once.

        Raises:
            NoSuchContainer: The shim does not know it.  (A finished one is silently left alone.)
        """
        raise NotImplementedError

    async def remove(self, container_id: str) -> None:
        """Forget a finished container; kills it first when it still runs.  Idempotent."""
        raise NotImplementedError

    async def containers(self) -> list[ContainerState]:
        """Return every container not yet removed."""
        raise NotImplementedError

    def exits(self) -> AsyncIterator[ContainerState]:
        """Yield containers as they end, from the moment of `connect`; ends with the connection.

        An exit that happened before `connect` shows in `containers()`.
        """
        raise NotImplementedError

    async def shutdown(self, grace: float) -> None:
        """Ask every container to end (SIGTERM), kill what is left after `grace` s, end the shim.

        Returns once the shim is gone.
        """
        raise NotImplementedError
