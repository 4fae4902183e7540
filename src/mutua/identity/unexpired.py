"""Which certificates that were issued have not expired?  By account, pod, serial number, signer."""

import heapq
from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime

from mutua.foundation.spiffe import SpiffeId
from mutua.identity.journal import Issuance

_Holder = tuple[str, ...]
"""Namespace and service account, or the uid of a pod."""


class UnexpiredLeaves:
    """Certificates, until they expire.  The expired ones are dropped as others come.

    Attributes:
        forgotten: What had expired by then has been dropped, None for nothing.
    """

    def __init__(self) -> None:
        self.forgotten: datetime | None = None
        self._by_serial: dict[str, Issuance] = {}
        self._by_holder: dict[_Holder, set[str]] = defaultdict(set)
        self._by_expiry: list[tuple[datetime, str]] = []

    def add(self, leaf: Issuance, now: datetime) -> None:
        """Remember a certificate, unless it has expired or is known."""
        self.drop_expired(now)
        if leaf.not_after > now and leaf.serial_number not in self._by_serial:
            self._by_serial[leaf.serial_number] = leaf
            for holder in _holders(leaf):
                self._by_holder[holder].add(leaf.serial_number)
            heapq.heappush(self._by_expiry, (leaf.not_after, leaf.serial_number))

    def of(self, identity: SpiffeId, now: datetime) -> tuple[Issuance, ...]:
        """Return those of one service account, in whatever trust domain, oldest first."""
        return self._of(identity.account, now)

    def of_pod(self, uid: str, now: datetime) -> tuple[Issuance, ...]:
        """Return those of one pod, oldest first."""
        return self._of((uid,), now)

    def get(self, serial_number: str, now: datetime) -> Issuance | None:
        """Return the one with this serial number, None if there is none."""
        self.drop_expired(now)
        return self._by_serial.get(serial_number)

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
            for holder in _holders(leaf):
                serials = self._by_holder[holder]
                serials.discard(leaf.serial_number)
                if not serials:
                    del self._by_holder[holder]

    def _of(self, holder: _Holder, now: datetime) -> tuple[Issuance, ...]:
        self.drop_expired(now)
        found = (self._by_serial[serial] for serial in self._by_holder.get(holder, ()))
        return tuple(sorted(found, key=lambda leaf: leaf.at))


def _holders(leaf: Issuance) -> tuple[_Holder, ...]:
    return (leaf.identity.account, (leaf.pod,)) if leaf.pod else (leaf.identity.account,)
