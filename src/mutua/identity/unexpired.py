"""Which certificates that were issued have not expired?  By identity, by signer."""

import heapq
from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime

from mutua.foundation.spiffe import SpiffeId
from mutua.identity.journal import Issuance


class UnexpiredLeaves:
    """Certificates, until they expire.  The expired ones are dropped as others come.

    Attributes:
        forgotten: What had expired by then has been dropped, None for nothing.
    """

    def __init__(self) -> None:
        self.forgotten: datetime | None = None
        self._by_serial: dict[str, Issuance] = {}
        self._by_identity: dict[SpiffeId, set[str]] = defaultdict(set)
        self._by_expiry: list[tuple[datetime, str]] = []

    def add(self, leaf: Issuance, now: datetime) -> None:
        """Remember a certificate, unless it has expired or is known."""
        self.drop_expired(now)
        if leaf.not_after > now and leaf.serial_number not in self._by_serial:
            self._by_serial[leaf.serial_number] = leaf
            self._by_identity[leaf.identity].add(leaf.serial_number)
            heapq.heappush(self._by_expiry, (leaf.not_after, leaf.serial_number))

    def of(self, identity: SpiffeId, now: datetime) -> tuple[Issuance, ...]:
        """Return those of one identity, oldest first."""
        self.drop_expired(now)
        found = (self._by_serial[serial] for serial in self._by_identity.get(identity, ()))
        return tuple(sorted(found, key=lambda leaf: leaf.at))

    def by_signer(self, now: datetime) -> Mapping[str, tuple[Issuance, ...]]:
        """Return them by SHA-256 of the CA that signed them."""
        self.drop_expired(now)
        found: dict[str, list[Issuance]] = defaultdict(list)
        for leaf in self._by_serial.values():
            found[leaf.signer].append(leaf)
        return {signer: tuple(leaves) for signer, leaves in found.items()}

    def drop_expired(self, now: datetime) -> None:
        """Drop what has expired by `now`."""
        self.forgotten = max(self.forgotten or now, now)
        while self._by_expiry and self._by_expiry[0][0] <= now:
            leaf = self._by_serial.pop(heapq.heappop(self._by_expiry)[1])
            serials = self._by_identity[leaf.identity]
            serials.discard(leaf.serial_number)
            if not serials:
                del self._by_identity[leaf.identity]
