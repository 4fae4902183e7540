"""How does the daemon talk to the shim?  One asyncio connection, requests answered out of order.

Several clients may be connected at once; a client that dies takes nothing with it but its
executions.

File descriptors cross only with `exec`, which asyncio's transports cannot carry; hence a plain
non-blocking socket, watched by the loop.  No task is needed: what arrives resolves futures.
"""

import array
import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, Self

from mutua.foundation.errors import MutuaError, Rejected, Unavailable
from mutua.runtime.shim.protocol import Decoder, Message, ProtocolViolation, encode
from mutua.runtime.spec import (
    ContainerSpec,
    ContainerState,
    NoSuchContainer,
    ShimGone,
    StartFailed,
)

READ_SIZE: Final = 262144

KINDS: Final[Mapping[str, type[MutuaError]]] = {
    error.code: error for error in (StartFailed, NoSuchContainer, Unavailable, ProtocolViolation)
}
"""The exceptions that an answer's `code` stands for; anything else is Rejected."""


class Execution:
    """One program started inside a running container."""

    def __init__(self, client: "ShimClient", number: int, ended: "asyncio.Future[int]") -> None:
        self._client = client
        self._number = number
        self._ended = ended

    async def wait(self) -> int:
        """Return the exit code once the program has ended; 128 + n after a fatal signal n.

        Raises:
            ShimGone: The shim ended first.
        """
        return await asyncio.shield(self._ended)

    async def signal(self, signum: int) -> None:
        """Send a signal to the program; nothing happens when it has ended."""
        await self._client.request({"op": "signal-exec", "exec": self._number, "signal": signum})


class ShimClient:
    """A connection to the shim."""

    def __init__(self, sock: socket.socket) -> None:
        """Use `connect` instead."""
        self._loop = asyncio.get_running_loop()
        self._sock = sock
        self._decoder = Decoder()
        self._last = 0
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._executions: dict[int, asyncio.Future[int]] = {}
        self._exits: asyncio.Queue[ContainerState | None] = asyncio.Queue()
        self._writing = asyncio.Lock()
        self._closed = asyncio.Event()
        self._loop.add_reader(sock, self._receive)

    @classmethod
    async def connect(cls, socket_path: Path) -> Self:
        """Connect to a live shim.

        Raises:
            ShimGone: Nothing answers at `socket_path`.
        """
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        sock.settimeout(0)
        try:
            await asyncio.get_running_loop().sock_connect(sock, str(socket_path))
        except OSError as error:
            sock.close()
            raise ShimGone(f"no shim answers at {socket_path}: {error.strerror}") from error
        client = cls(sock)
        await client.containers()  # a shim that does not trust us hangs up here
        return client

    async def close(self) -> None:
        """End the connection; containers keep running, executions do not."""
        self._hang_up()

    async def start(self, spec: ContainerSpec) -> ContainerState:
        """Start a container and return once its program runs.

        Raises:
            StartFailed: Says what is missing.
            ShimGone: The shim has ended.
        """
        data = asdict(spec)
        return ContainerState(**await self.request({"op": "start", "spec": data}))

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
        message = {
            "op": "exec", "container": container_id, "argv": list(argv), "env": dict(env or {}),
            "tty": tty, "stdin": stdin is not None, "stderr": stderr is not None,
        }  # fmt: skip
        descriptors = [number for number in (stdin, stdout, stderr) if number is not None]
        execution: Execution = await self.request(message, descriptors)
        return execution

    async def signal(self, container_id: str, signum: int) -> None:
        """Signal the container's program; SIGKILL ends the whole container at once.

        Raises:
            NoSuchContainer: The shim does not know it.  (A finished one is silently left alone.)
        """
        await self.request({"op": "signal", "container": container_id, "signal": int(signum)})

    async def remove(self, container_id: str) -> None:
        """Forget a finished container; kills it first when it still runs.  Idempotent."""
        await self.request({"op": "remove", "container": container_id})

    async def containers(self) -> list[ContainerState]:
        """Return every container not yet removed."""
        return [ContainerState(**state) for state in await self.request({"op": "containers"})]

    async def exits(self) -> AsyncIterator[ContainerState]:
        """Yield containers as they end, from the moment of `connect`; ends with the connection.

        An exit that happened before `connect` shows in `containers()`.  One consumer only: every
        exit is yielded once.
        """
        while (state := await self._exits.get()) is not None:
            yield state
        self._exits.put_nowait(None)

    async def shutdown(self, grace: float) -> None:
        """Ask every container to end (SIGTERM), kill what is left after `grace` s, end the shim.

        Returns once the shim is gone.
        """
        with contextlib.suppress(ShimGone):
            await self.request({"op": "shutdown", "grace": grace})
        await self._closed.wait()

    async def request(self, message: Message, descriptors: Sequence[int] = ()) -> Any:
        """Send one request and return the `ok` of its answer.  See mutua.runtime.shim.protocol.

        Raises:
            MutuaError: What the shim answered instead.
            ShimGone: The connection ended first.
        """
        self._last = number = self._last + 1
        answer = self._answers[number] = self._loop.create_future()
        try:
            await self._send({**message, "id": number, "fds": len(descriptors)}, descriptors)
            return await answer
        finally:
            self._answers.pop(number, None)

    async def _send(self, message: Message, descriptors: Sequence[int]) -> None:
        frame = encode(message)
        async with self._writing:
            if self._closed.is_set():
                raise ShimGone("the connection to the shim has ended")
            try:
                if descriptors:
                    frame = frame[await self._send_descriptors(frame[:1], descriptors) :]
                await self._loop.sock_sendall(self._sock, frame)
            except OSError as error:
                self._hang_up()
                raise ShimGone("the shim has ended") from error

    async def _send_descriptors(self, first: bytes, descriptors: Sequence[int]) -> int:
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))
        while True:
            try:
                return self._sock.sendmsg([first], [rights])
            except BlockingIOError:
                writable = self._loop.create_future()
                self._loop.add_writer(self._sock, _resolve, writable)
                try:
                    await writable
                finally:
                    self._loop.remove_writer(self._sock)

    def _receive(self) -> None:
        try:
            data = self._sock.recv(READ_SIZE)
            messages = self._decoder.feed(data)
        except BlockingIOError:
            return
        except (OSError, ProtocolViolation):
            data, messages = b"", []
        for message in messages:
            self._take(message)
        if not data:
            self._hang_up()

    def _take(self, message: Message) -> None:
        match message:
            case {"event": "exit", "container": state}:
                self._exits.put_nowait(ContainerState(**state))
            case {"event": "exec", "exec": number, "code": code}:
                _resolve(self._execution(number), code)
                self._executions.pop(number, None)
            case {"id": number, "ok": {"exec": execution}}:
                ended = self._execution(execution)  # made before its exit can arrive
                _resolve(self._answers.get(number), Execution(self, execution, ended))
            case {"id": number, "ok": value}:
                _resolve(self._answers.get(number), value)
            case {"id": number, "code": str(code), "error": str(text)}:
                _fail(self._answers.get(number), KINDS.get(code, Rejected)(text))
            case _:
                self._hang_up()

    def _execution(self, number: int) -> "asyncio.Future[int]":
        return self._executions.setdefault(number, self._loop.create_future())

    def _hang_up(self) -> None:
        if self._closed.is_set():
            return
        self._closed.set()
        self._loop.remove_reader(self._sock)
        self._sock.close()
        self._exits.put_nowait(None)
        for future in (*self._answers.values(), *self._executions.values()):
            _fail(future, ShimGone("the connection to the shim has ended"))


def _resolve(future: "asyncio.Future[Any] | None", value: object = None) -> None:
    if future is not None and not future.done():
        future.set_result(value)


def _fail(future: "asyncio.Future[Any] | None", error: Exception) -> None:
    if future is not None and not future.done():
        future.set_exception(error)
        future.exception()  # looked at: nobody may be waiting for it any more
