"""A proxy without Envoy: takes what its feed gives, refuses what the test wants refused.

For tests of the control plane in virtual time, together with a store in memory.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from mutua.api.object import Object
from mutua.lifecycle.supervisor import Service
from mutua.xds.feed import Attachment, Feed
from mutua.xds.resource import CLUSTER, ENDPOINT, LISTENER, ROUTE
from mutua.xds.session import DeltaSession
from mutua.xds.subscription import Request


@asynccontextmanager
async def running(service: Service) -> AsyncIterator[None]:
    """Run one service until the block ends."""
    ready = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(service(ready.set))
        await ready.wait()
        yield
        task.cancel()


@dataclass(eq=False)
class Proxy:
    """One proxy at a feed.

    Attributes:
        feed: Where it is served.
        refuses: Names of resources of which it answers every new version with a NACK.
        answers: Whether it reads at all.
        has: Version of each resource it took, by name.
    """

    feed: Feed
    refuses: set[str] = field(default_factory=set)
    answers: bool = True
    has: dict[str, str] = field(default_factory=dict)

    def connect(self) -> None:
        """Open a stream, as a new Envoy does: with nothing."""
        self.session = DeltaSession()
        self.attachment = Attachment(self.session, self.serve, lambda: None)
        for type_url in (CLUSTER, ENDPOINT, LISTENER, ROUTE):
            self.session.receive(Request(type_url=type_url))
        self.feed.attach(self.attachment)
        self.serve()

    def disconnect(self) -> None:
        """Close the stream."""
        self.feed.detach(self.attachment)

    def serve(self) -> None:
        """Take and answer what there is."""
        while self.answers and (response := self.session.next_response()) is not None:
            bad = [
                one.name
                for one in response.resources
                if one.name in self.refuses and one.version != self.has.get(one.name)
            ]
            self.has.update(
                {one.name: one.version for one in response.resources if one.name not in bad}
            )
            error = f"Error adding/updating listener(s) {', '.join(bad)}: no" if bad else ""
            request = Request(type_url=response.type_url, nonce=response.nonce, error=error)
            for rejection in self.session.receive(request):
                self.feed.on_rejection(rejection)
        self.feed.report()


def condition(obj: Object, kind: str) -> dict[str, Any]:
    """Return a condition of an object's status, {} when it has none of this type."""
    found = (obj.get("status") or {}).get("conditions") or []
    return next((one for one in found if one["type"] == kind), {})
