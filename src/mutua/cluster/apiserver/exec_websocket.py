"""kubectl exec over WebSocket: pipes on one side, numbered channels on the other.

    channel 0 stdin, 1 stdout, 2 stderr: bytes; 3: one JSON Status at the end
    channel 255 (v5 only): closes the channel in the next byte; only stdin can be closed

Each binary message starts with its channel's number.  Protocols v5.channel.k8s.io and v4 differ
only in channel 255.  Source: Kubernetes KEP-4006; client-go tools/remotecommand.

Back-pressure holds in both directions: input is not read from the client while the program does
not read its own, output is not read from the program while the client's socket is full.
"""

import asyncio
import contextlib
import json
import os
import signal
from asyncio import StreamReader, StreamWriter
from dataclasses import dataclass
from typing import Any, Final

import h11
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Message,
    Ping,
    Request,
)
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from mutua.cluster.apiserver.status import bad_request
from mutua.cluster.apiserver.streaming_port import ExecRequest
from mutua.cluster.node.ports import Containers, Execution
from mutua.foundation.errors import MutuaError
from mutua.runtime.spec import StartFailed

PROTOCOLS: Final = ("v5.channel.k8s.io", "v4.channel.k8s.io")

STDIN: Final = 0
STDOUT: Final = 1
STDERR: Final = 2
STATUS: Final = 3
CLOSE: Final = 255

CHUNK: Final = 32768
"""Bytes per message and per read; client-go's own buffer."""

LINGER: Final = 1.0
"""Seconds to wait for output once the program has ended.

Whatever the program left in the background may hold the pipes open for ever.
"""

FAREWELL: Final = 2.0
"""Seconds the client gets to answer the closing handshake."""


class WebSocketExec:
    """One exec over one upgraded connection."""

    def __init__(self, request: ExecRequest, reader: StreamReader, writer: StreamWriter) -> None:
        """Check the handshake.

        Raises:
            Refusal: It is none that can be answered.
        """
        self._request = request
        self._reader = reader
        self._writer = writer
        self._socket = WSConnection(ConnectionType.SERVER)
        offered = self._offered()
        self._protocol = next((name for name in PROTOCOLS if name in offered), "")
        if not self._protocol:
            raise bad_request(f"exec needs the WebSocket subprotocol {PROTOCOLS[0]}")
        self._channel = STDIN
        self._message_begins = True

    async def run(self, containers: Containers, identifier: str) -> None:
        """Run the command in container `identifier`, from the handshake to the close."""
        await self._send(AcceptConnection(subprotocol=self._protocol))
        request = self._request
        with contextlib.closing(_Pipes.open(stdin=request.stdin)) as pipes:
            try:
                try:
                    execution = await containers.exec(
                        identifier,
                        request.command,
                        stdin=pipes.child_stdin,
                        stdout=pipes.child_stdout,
                        stderr=pipes.child_stderr,
                    )
                finally:
                    pipes.close_child_ends()
            except MutuaError as error:
                await self._finish(_failure(error))
                return
            await self._converse(execution, pipes)

    def _offered(self) -> list[str]:
        """Feed the handshake to the protocol machine; return the subprotocols in it."""
        headers = list(self._request.headers)
        try:
            self._socket.initiate_upgrade_connection(headers, self._request.target)
            events = list(self._socket.events())
        except (h11.ProtocolError, RemoteProtocolError, LocalProtocolError) as error:
            raise bad_request("exec is offered over WebSocket only; SPDY is not") from error
        return [name for one in events if isinstance(one, Request) for name in one.subprotocols]

    async def _converse(self, execution: Execution, pipes: "_Pipes") -> None:
        """Copy until the program has ended and is drained, or the client has gone."""
        async with contextlib.AsyncExitStack() as stack:
            stdin = _Input(pipes.take(pipes.stdin)) if pipes.stdin is not None else None
            if stdin is not None:
                stack.callback(stdin.close)
            outputs = [
                _Output(self, channel, await _read_pipe(pipes.take(number), stack))
                for channel, number in ((STDOUT, pipes.stdout), (STDERR, pipes.stderr))
            ]
            async with asyncio.TaskGroup() as group:
                client = group.create_task(self._listen(stdin))
                ended = group.create_task(self._outlive(execution, outputs, group))
                await asyncio.wait((client, ended), return_when=asyncio.FIRST_COMPLETED)
                if not ended.done():
                    ended.cancel()
                    await execution.signal(signal.SIGHUP)  # as when a terminal is closed
                    return
                await self._finish(_status(ended.result()))
                await asyncio.wait((client,), timeout=FAREWELL)
                client.cancel()

    async def _outlive(
        self, execution: Execution, outputs: "list[_Output]", group: asyncio.TaskGroup
    ) -> int:
        """Return the exit code once the output is delivered."""
        pumps = [group.create_task(output.pump()) for output in outputs]
        try:
            code = await execution.wait()
            pending = set(pumps)
            while pending:
                moved = [output.moved for output in outputs]
                _, pending = await asyncio.wait(pending, timeout=LINGER)
                if moved == [output.moved for output in outputs] and not any(
                    output.sending for output in outputs
                ):
                    break
        finally:
            for pump in pumps:
                pump.cancel()
        return code

    async def _listen(self, stdin: "_Input | None") -> None:
        """Take what the client sends until it closes."""
        while data := await self._reader.read(CHUNK):
            try:
                self._socket.receive_data(data)
                for event in self._socket.events():
                    if isinstance(event, Ping):
                        await self._send(event.response())
                    elif isinstance(event, CloseConnection):
                        await self._send(event.response())
                        return
                    elif isinstance(event, BytesMessage):
                        await self._take(event, stdin)
            except (RemoteProtocolError, LocalProtocolError):
                return

    async def _take(self, event: "Message[Any]", stdin: "_Input | None") -> None:
        data = bytes(event.data)
        if self._message_begins and data:
            self._channel, data = data[0], data[1:]
            self._message_begins = False
        self._message_begins = self._message_begins or event.message_finished
        if stdin is None:
            return
        if self._channel == STDIN:
            await stdin.write(data)
        elif self._channel == CLOSE and data[:1] == bytes([STDIN]):
            stdin.close()

    async def send_output(self, channel: int, data: bytes) -> None:
        """Send output of the program."""
        await self._send(BytesMessage(data=bytes([channel]) + data))

    async def _finish(self, status: dict[str, Any]) -> None:
        await self.send_output(STATUS, json.dumps(status).encode())
        await self._send(CloseConnection(code=CloseReason.NORMAL_CLOSURE))

    async def _send(self, event: Any) -> None:
        # A peer that has gone is noticed by whoever reads; the program ends as it would.
        with contextlib.suppress(LocalProtocolError, ConnectionError):
            self._writer.write(self._socket.send(event))
            await self._writer.drain()


class _Input:
    """The program's input; what it does not want any more is dropped."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._open = True
        os.set_blocking(descriptor, False)

    async def write(self, data: bytes) -> None:
        """Return once the program's pipe has taken everything."""
        while data and self._open:
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:
                await self._wait_writable()
            except OSError:
                self.close()

    def close(self) -> None:
        """Let the program see the end of its input."""
        if self._open:
            self._open = False
            os.close(self._descriptor)

    async def _wait_writable(self) -> None:
        loop = asyncio.get_running_loop()
        writable = asyncio.Event()
        loop.add_writer(self._descriptor, writable.set)
        try:
            await writable.wait()
        finally:
            loop.remove_writer(self._descriptor)


class _Output:
    """One output of the program on its way to the client."""

    def __init__(self, session: WebSocketExec, channel: int, source: StreamReader) -> None:
        self._session = session
        self._channel = channel
        self._source = source
        self.moved = 0
        self.sending = False

    async def pump(self) -> None:
        """Copy until the program (and all it left behind) has closed its end."""
        while data := await self._source.read(CHUNK):
            self.sending = True
            await self._session.send_output(self._channel, data)
            self.moved += len(data)
            self.sending = False


@dataclass(slots=True, kw_only=True)
class _Pipes:
    """Both ends of the program's standard streams."""

    stdin: int | None
    stdout: int
    stderr: int
    child_stdin: int | None
    child_stdout: int
    child_stderr: int
    _ours: "list[int]"

    @classmethod
    def open(cls, *, stdin: bool) -> "_Pipes":
        child_stdin, own_stdin = os.pipe2(os.O_CLOEXEC) if stdin else (None, None)
        (stdout, child_stdout), (stderr, child_stderr) = (os.pipe2(os.O_CLOEXEC) for _ in range(2))
        return cls(
            stdin=own_stdin,
            stdout=stdout,
            stderr=stderr,
            child_stdin=child_stdin,
            child_stdout=child_stdout,
            child_stderr=child_stderr,
            _ours=[one for one in (own_stdin, stdout, stderr) if one is not None],
        )

    def close_child_ends(self) -> None:
        for number in (self.child_stdin, self.child_stdout, self.child_stderr):
            if number is not None:
                os.close(number)

    def take(self, number: int) -> int:
        """Hand one of our ends over: from now on somebody else closes it, exactly once."""
        self._ours.remove(number)
        return number

    def close(self) -> None:
        """Close the ends that nobody took."""
        while self._ours:
            os.close(self._ours.pop())


async def _read_pipe(number: int, stack: contextlib.AsyncExitStack) -> StreamReader:
    reader = StreamReader(limit=CHUNK)
    # The file owns the descriptor: closing it twice, here and by the transport, closes it once.
    file = stack.enter_context(os.fdopen(number, "rb", buffering=0))
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), file
    )
    stack.callback(transport.close)
    return reader


def _status(code: int) -> dict[str, Any]:
    """Return the Status of a program that has ended."""
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    return {
        "metadata": {},
        "status": "Failure",
        "reason": "NonZeroExitCode",
        "message": f"command terminated with non-zero exit code: {code}",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }


def _failure(error: MutuaError) -> dict[str, Any]:
    """Return the Status of a program that never ran."""
    message = str(error)
    if isinstance(error, StartFailed):
        message = f"error executing command in container: {error}"
    return {
        "metadata": {},
        "status": "Failure",
        "reason": "InternalError",
        "message": message,
        "code": 500,
    }
