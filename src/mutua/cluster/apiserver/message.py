"""HTTP requests and replies as values: what the API server's logic sees of HTTP.

Handlers get a complete `Request` and return a `Reply`; they never touch a socket.
"""

from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qs, unquote

from mutua.foundation.errors import MutuaError

JSON: Final = "application/json"

Headers = tuple[tuple[bytes, bytes], ...]
"""Names in lower case, in order, repeated ones repeated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One HTTP request.

    Attributes:
        method: Upper case.
        target: Path and query as sent.
        headers: All of them.
        body: Complete, within the server's limit.
        certificate: DER of the client's certificate, verified by TLS; None without one.
        path: Of the target, percent-decoded, without a trailing slash.
        query: Of the target, every value of every name.
    """

    method: str
    target: str
    headers: Headers = ()
    body: bytes = b""
    certificate: bytes | None = None
    path: str = field(init=False)
    query: Mapping[str, list[str]] = field(init=False)

    def __post_init__(self) -> None:
        path, _, query = self.target.partition("?")
        # Frozen for users; these two are derived once, here.
        object.__setattr__(self, "path", "/" + unquote(path).strip("/"))
        object.__setattr__(self, "query", parse_qs(query, keep_blank_values=True))

    def header(self, name: str) -> str:
        """Return the header's values joined with commas, "" when it is absent.

        Args:
            name: In lower case.
        """
        wanted = name.encode()
        return ", ".join(value.decode("latin-1") for key, value in self.headers if key == wanted)

    def parameter(self, name: str) -> str:
        """Return the last value of a query parameter, "" when it is absent."""
        values = self.query.get(name)
        return values[-1] if values else ""

    def flag(self, name: str) -> bool:
        """Tell whether a query parameter is given and true."""
        return name in self.query and self.parameter(name).lower() in {"", "1", "t", "true"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """A complete reply.

    Attributes:
        status: HTTP status code.
        body: Sent with a Content-Length.
        content_type: Of the body.
        headers: More headers.
    """

    status: int = 200
    body: bytes = b""
    content_type: str = JSON
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """A reply of unknown length; the first chunk commits to status 200, even an empty one.

    Attributes:
        chunks: The body; closed when the client goes away.
        content_type: Of the body.
        refuse: Turns an error raised before the first chunk into the reply instead.
        headers: More headers.
    """

    chunks: AsyncIterator[bytes]
    content_type: str
    refuse: Callable[[MutuaError], Response]
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Upgrade:
    """Leave HTTP: the connection belongs to `take` until it returns.

    Attributes:
        take: Writes its own 101; may raise a MutuaError before it has written anything.
        refuse: Turns that error into the reply.
    """

    take: Callable[[StreamReader, StreamWriter], Awaitable[None]]
    refuse: Callable[[MutuaError], Response]


Reply = Response | Stream | Upgrade
Handler = Callable[[Request], Awaitable[Reply]]
