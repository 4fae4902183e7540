"""Which address does a pod get?  Pure bookkeeping; pods' status is the durable record.

Addresses are given out in a circle: one that a pod has just left is the last to be used again, so
that a client with an old address meets a refusal rather than a stranger.
"""

from ipaddress import IPv4Network
from typing import Final

from mutua.foundation.errors import Unavailable

POD_RANGE: Final = IPv4Network("10.244.0.0/16")
"""Pod addresses (flannel's and kubeadm's usual range)."""

FIRST: Final = 2
"""Offset of the first usable address: .0.0 is the network, .0.1 the node."""


class PodAddresses:
    """Allocates pod addresses."""

    def __init__(self) -> None:
        self._holders: dict[str, str] = {}
        self._next = FIRST

    def reserve(self, uid: str, address: str) -> bool:
        """Let a pod keep the address it has; False when another pod has it."""
        if self._holders.setdefault(address, uid) != uid:
            return False
        offset = int.from_bytes(bytes(map(int, address.split(".")))) - int(POD_RANGE[0])
        if FIRST <= offset < POD_RANGE.num_addresses - 1:
            self._next = max(self._next, offset + 1)
        return True

    def allocate(self, uid: str) -> str:
        """Return a free address and remember who has it.

        Raises:
            Unavailable: All are in use.
        """
        for _ in range(POD_RANGE.num_addresses):
            if self._next >= POD_RANGE.num_addresses - 1:  # the last one is the broadcast address
                self._next = FIRST
            address = str(POD_RANGE[self._next])
            self._next += 1
            if address not in self._holders:
                self._holders[address] = uid
                return address
        raise Unavailable("no pod address is free", hint="delete pods that are no longer needed")

    def release(self, uid: str) -> None:
        """Give back what a pod has."""
        for address in [a for a, holder in self._holders.items() if holder == uid]:
            del self._holders[address]
