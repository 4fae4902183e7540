"""An API server without sockets: requests in, replies out."""

import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from typing_extensions import override

from mutua.api.object import NAMESPACES
from mutua.cluster.apiserver.auth import MASTERS, Authenticator, User
from mutua.cluster.apiserver.message import Request, Response, Stream
from mutua.cluster.apiserver.registry import Registry
from mutua.cluster.apiserver.server import ApiServer
from mutua.cluster.apiserver.streaming_port import LogOptions, StreamingBackend
from mutua.cluster.apiserver.tokens import TokenIssuer
from mutua.foundation.clock import Clock
from mutua.store.memory import MemoryStore

OWNER = User("kubernetes-admin", (MASTERS,))


class FixedClock(Clock):
    """Does not move."""

    @override
    def now(self) -> datetime:
        return datetime(2030, 1, 1, tzinfo=UTC)


class Everybody(Authenticator):
    """Takes everybody for the owner, unless they say `X-User`."""

    @override
    async def authenticate(self, request: Request) -> User | None:
        name = request.header("x-user")
        if name == "nobody":
            return None
        return User(name, ("system:authenticated",)) if name else OWNER


class NoContainers(StreamingBackend):
    """Has logs of no lines."""

    @override
    async def logs(self, namespace: str, pod: str, options: LogOptions) -> AsyncIterator[bytes]:
        return
        yield b""

    @override
    async def exec(self, request: Any, reader: Any, writer: Any) -> None:
        raise NotImplementedError


class Api:
    """Sends requests and decodes replies."""

    def __init__(self) -> None:
        clock = FixedClock()
        self.store = MemoryStore(clock, capacity=16)
        self.registry = Registry(self.store, clock=clock)
        self.server = ApiServer(
            self.registry,
            authenticator=Everybody(),
            streaming=NoContainers(),
            tokens=TokenIssuer(b"k" * 32, clock),
            clock=clock,
            pages={"/debug/syncz": lambda: {"uid": []}},
        )

    async def prepare(self, *namespaces: str) -> "Api":
        for name in namespaces:
            obj = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
            await self.registry.create(NAMESPACES, obj)
        return self

    async def reply(self, method: str, target: str, body: Any = None, **headers: str) -> Any:
        encoded = (
            b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        )
        pairs = tuple((k.replace("_", "-").encode(), v.encode()) for k, v in headers.items())
        request = Request(method=method, target=target, body=encoded, headers=pairs)
        return await self.server.answer(request)

    async def __call__(
        self, method: str, target: str, body: Any = None, **headers: str
    ) -> tuple[int, Any]:
        reply = await self.reply(method, target, body, **headers)
        assert isinstance(reply, Response)
        return reply.status, json.loads(reply.body)

    async def events(self, target: str, count: int, **headers: str) -> list[dict[str, Any]]:
        """Return the first events of a watch."""
        reply = await self.reply("GET", target, **headers)
        assert isinstance(reply, Stream)
        found = []
        async for line in reply.chunks:
            if line:
                found.append(json.loads(line))
            if len(found) == count:
                break
        await reply.chunks.aclose()  # type: ignore[attr-defined]
        return found


@pytest.fixture
def api() -> Callable[..., Any]:
    return lambda *namespaces: Api().prepare(*namespaces)
