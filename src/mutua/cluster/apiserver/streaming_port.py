"""What the API server asks of whoever runs the containers: logs and exec.

The API server authenticates, parses the query and checks that the pod exists; the backend knows
containers, files and processes.  Attach and port-forward will become two more methods here.

How refusals reach the user: both methods may raise a MutuaError as long as nothing has been sent
(before the first chunk of a log, before the first byte on the socket of an exec); the API server
turns it into the Status that kubectl prints.  After that a failure can only end the stream.
"""

from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class LogOptions:
    """The query of GET …/pods/NAME/log.

    Attributes:
        container: Its name; "" when the user named none (the pod's default container).
        follow: Keep sending new lines until the container has ended for good.
        previous: Read the log of the attempt before the current one.
        tail: Only the last so many lines; None for all.
        since: Only lines written at or after this instant; None for all.
        timestamps: Keep the RFC 3339 time stamp in front of every line.
        limit_bytes: Stop after so many bytes; None for no limit.
    """

    container: str = ""
    follow: bool = False
    previous: bool = False
    tail: int | None = None
    since: datetime | None = None
    timestamps: bool = False
    limit_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecRequest:
    """The query and the handshake of …/pods/NAME/exec.

    Attributes:
        namespace: Of the pod.
        pod: Its name.
        container: Its name; "" when the user named none (the pod's default container).
        command: Program and arguments; never empty.
        stdin: Whether the client will send input.
        stdout: Whether the client wants the output.
        stderr: Whether the client wants the errors.
        tty: Whether the client wants a terminal.
        method: GET (WebSocket) or POST (SPDY).
        target: Path and query as sent.
        headers: All request headers in order, names in lower case, repeated ones repeated:
            what a WebSocket handshake needs to answer.
    """

    namespace: str
    pod: str
    container: str = ""
    command: tuple[str, ...]
    stdin: bool = False
    stdout: bool = True
    stderr: bool = True
    tty: bool = False
    method: str = "GET"
    target: str = ""
    headers: tuple[tuple[bytes, bytes], ...] = ()


class StreamingBackend(Protocol):
    """Serves the contents of containers."""

    def logs(self, namespace: str, pod: str, options: LogOptions) -> AsyncIterator[bytes]:
        """Yield the chunks of a container's log, as text/plain.

        An async generator function fits: it is not awaited, only iterated and closed.
        """
        ...

    async def exec(self, request: ExecRequest, reader: StreamReader, writer: StreamWriter) -> None:
        """Run a command over an upgraded connection, from the handshake to the close.

        The connection is the backend's: it writes the 101 itself and returns when the exchange is
        over or `reader` has reached its end (the client disappeared).  The caller closes the
        writer afterwards, and cancels this call when the server stops.
        """
        ...
