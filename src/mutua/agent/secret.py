"""The current key and certificate of one workload, and the news that they changed."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from mutua.identity.authority import IssuedChain
from mutua.identity.bundle import TrustBundle
from mutua.identity.keys import PrivateKey
from mutua.identity.renewal import Schedule


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadSecret:
    """What a proxy presents and verifies with.  The key redacts itself in every text form.

    Attributes:
        key: The private key.
        issued: Its certificate, with the chain.
        bundle: What to verify peers with.
        schedule: When it is to be replaced.
    """

    key: PrivateKey
    issued: IssuedChain
    bundle: TrustBundle
    schedule: Schedule

    def is_of(self, signer: str) -> bool:
        """Tell whether this CA signed it; "" stands for any."""
        return signer in {"", self.issued.signer}


Listener = Callable[[WorkloadSecret, int], None]


class SecretSource:
    """Where SDS reads a workload's secret, now and whenever it changes.

    Attributes:
        name: Whose, for logs.
        version: Number of secrets published so far; 0 before the first.
        current: The latest, None before the first.
        confirmed: Returns the version up to which the proxy has confirmed everything.
    """

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.version = 0
        self.current: WorkloadSecret | None = None
        self.confirmed: Callable[[], int] = lambda: 0
        self._changed = asyncio.Event()
        self._listeners: list[Listener] = []

    def publish(self, secret: WorkloadSecret) -> None:
        """Replace the secret and tell everyone who listens or waits for it."""
        self.current = secret
        self.version += 1
        for listener in self._listeners:
            listener(secret, self.version)
        self._changed.set()
        self._changed = asyncio.Event()

    def listen(self, listener: Listener) -> None:
        """Call `listener` with every secret and its version, the current one at once."""
        self._listeners.append(listener)
        if self.current is not None:
            listener(self.current, self.version)

    async def wait_newer(self, seen: int) -> WorkloadSecret:
        """Return the current secret as soon as its version exceeds `seen`."""
        while self.current is None or self.version <= seen:
            await self._changed.wait()
        return self.current
