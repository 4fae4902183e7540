import asyncio
from datetime import timedelta

from mutua.cluster.revocation.reaper import PATIENCE, TICK, Reaper
from mutua.cluster.revocation.register import Leaf
from mutua.foundation.spiffe import parse_spiffe_id
from mutua.runtime.network.capture import INBOUND_PORT
from mutua.runtime.network.connections import Connection, Meant
from mutua.testing.clock import ManualClock

ADDRESSES = {"stuck": "10.0.0.1", "web": "10.0.0.2"}
LIFETIME = timedelta(seconds=20)
LATE_BY = 3.0
"""Seconds that a renewal takes to be presented and noted, at most."""


class Network:
    """Connections by pod; a connection that was ended is gone."""

    def __init__(self) -> None:
        self.held: dict[str, list[Connection]] = {uid: [] for uid in ADDRESSES}

    def open(self, uid: str, cookie: int) -> None:
        peer = next(address for other, address in ADDRESSES.items() if other != uid)
        self.held[uid].append(Connection(False, INBOUND_PORT, peer, 40000 + cookie, cookie, b""))

    async def connections(self, uid: str) -> list[Connection]:
        return [*self.held[uid]]

    async def end_connections(self, uid: str, is_meant: Meant) -> int:
        kept = [one for one in self.held[uid] if not is_meant(one)]
        ended = len(self.held[uid]) - len(kept)
        self.held[uid] = kept
        return ended


async def test_a_proxy_that_is_stuck_does_not_end_the_young_connections_of_others() -> None:
    clock, network = ManualClock(), Network()
    reaper = Reaper(
        clock,
        network=network,
        is_presented=lambda uid: uid != "stuck",
        held=lambda: ADDRESSES,
        addresses=lambda: ADDRESSES,
        graceful=LIFETIME * 0.4,
    )

    def leaf(uid: str, serial: int, left: timedelta) -> Leaf:
        identity = parse_spiffe_id(f"spiffe://cluster.local/ns/shop/sa/{uid}")
        return Leaf(uid, identity, serial, clock.now() + left)

    running = asyncio.create_task(reaper.run(lambda: None))
    network.open("web", 1)
    for uid in ("stuck", "web"):
        reaper.certified(leaf(uid, 2, LIFETIME), leaf(uid, 1, LIFETIME / 2))
    await asyncio.sleep(LATE_BY)
    network.open("web", 2)  # made with the new certificate
    await asyncio.sleep(PATIENCE + TICK)
    clock.advance(LIFETIME / 2)
    await asyncio.sleep(2 * TICK)
    running.cancel()

    assert [one.cookie for one in network.held["web"]] == [2]
