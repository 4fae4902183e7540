"""Whose connections are ended when a pod is not trusted any longer?  All that it has in the mesh.

    in its own namespace    its proxy's connections with other meshed pods
    in every other one      the connections of that proxy with its address

Either side alone would do, as the other end gets a reset; both are looked at, because a connection
that is being made is not in both yet.  What it has outside the mesh, and with pods without a
sidecar, proves no identity and stays.  Of a pod without a sidecar that got a certificate itself,
what it has with proxies ends.
"""

import asyncio
from collections.abc import Collection, Mapping
from typing import Protocol

from mutua.runtime.network.connections import Connection, Meant


class Connections(Protocol):
    """The part of the network that this needs."""

    async def connections(self, uid: str) -> list[Connection]:
        """Return the connections of a pod's proxy."""
        ...

    async def end_connections(self, uid: str, is_meant: Meant) -> int:
        """End some of them; return how many."""
        ...


async def close_connections(
    network: Connections, meshed: Mapping[str, str], closed: Collection[str]
) -> int:
    """End every connection in the mesh of some pods.

    Args:
        network: Where they are.
        meshed: Addresses of all pods with a proxy, by uid, and of `closed` that have none.
        closed: Uids of the pods whose connections are to end.

    Returns:
        How many were ended.

    Raises:
        Unavailable: The kernel refuses.
    """
    everybody = frozenset(meshed.values())
    theirs = frozenset(meshed[uid] for uid in closed if uid in meshed)
    if not theirs:
        return 0

    def scope(uid: str) -> Meant:
        addresses = everybody if uid in closed else theirs
        return lambda connection: connection.peer in addresses

    # Its own first: what they send ends there.
    order = sorted(meshed, key=lambda uid: uid not in closed)
    return sum(await asyncio.gather(*(network.end_connections(uid, scope(uid)) for uid in order)))
