import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from mutua.cluster.revocation.expiry import Deadlines
from mutua.cluster.revocation.kept import DELAY, DeadlineFile
from mutua.cluster.revocation.reaper import PATIENCE, TICK, Reaper
from mutua.cluster.revocation.register import Leaf
from mutua.foundation.spiffe import parse_spiffe_id
from mutua.identity.renewal import Validity
from mutua.runtime.network.capture import INBOUND_PORT
from mutua.runtime.network.connections import Connection, Meant
from mutua.testing.clock import ManualClock

ADDRESSES = {"stuck": "10.0.0.1", "web": "10.0.0.2"}
LIFETIME = timedelta(seconds=20)
BOOT = "one"
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


def leaf(uid: str, serial: int, not_after: datetime) -> Leaf:
    identity = parse_spiffe_id(f"spiffe://cluster.local/ns/shop/sa/{uid}")
    validity = Validity(not_before=not_after - LIFETIME, not_after=not_after)
    return Leaf(uid, identity, serial, validity)


@asynccontextmanager
async def reaping(
    folder: Path, clock: ManualClock, network: Network, *stuck: str, held: Iterable[str] = ADDRESSES
) -> AsyncIterator[Reaper]:
    reaper = Reaper(
        clock,
        network=network,
        is_presented=lambda uid: uid not in stuck,
        held=lambda: [*held],
        addresses=lambda: ADDRESSES,
        kept=DeadlineFile(folder / "deadlines.json", BOOT),
    )
    running = asyncio.create_task(reaper.run(lambda: None))
    yield reaper
    running.cancel()


async def test_a_proxy_that_is_stuck_does_not_end_the_young_connections_of_others(
    tmp_path: Path,
) -> None:
    clock, network = ManualClock(), Network()

    async with reaping(tmp_path, clock, network, "stuck") as reaper:
        network.open("web", 1)
        for uid in ("stuck", "web"):
            old, new = clock.now() + LIFETIME / 2, clock.now() + LIFETIME
            reaper.certified(leaf(uid, 2, new), leaf(uid, 1, old))
        await asyncio.sleep(LATE_BY)
        network.open("web", 2)  # made with the new certificate
        await asyncio.sleep(PATIENCE + TICK)
        clock.advance(LIFETIME / 2)
        await asyncio.sleep(2 * TICK)

    assert [one.cookie for one in network.held["web"]] == [2]


@pytest.mark.parametrize("stuck", [(), ("web",)])
async def test_connections_that_follow_a_renewal_after_the_end_are_not_taken_for_older_ones(
    tmp_path: Path, stuck: tuple[str, ...]
) -> None:
    clock, network = ManualClock(), Network()

    async with reaping(tmp_path, clock, network, *stuck) as reaper:
        network.open("web", 1)
        old = clock.now() + LIFETIME
        reaper.certified(leaf("web", 1, old), None)
        clock.advance(LIFETIME * 10)  # the clock is set, and the agent sees it first
        reaper.certified(leaf("web", 2, clock.now() + LIFETIME), leaf("web", 1, old))
        await asyncio.sleep(TICK / 10)
        network.open("web", 2)
        await asyncio.sleep(PATIENCE + 3 * TICK)

    assert [one.cookie for one in network.held["web"]] == [2]


@pytest.mark.parametrize("seconds", [DELAY / 2, LATE_BY], ids=["at once", "later"])
async def test_who_comes_next_knows_when_older_connections_end(
    tmp_path: Path, seconds: float
) -> None:
    clock, network = ManualClock(), Network()
    old, new = clock.now() + LIFETIME / 2, clock.now() + LIFETIME
    async with reaping(tmp_path, clock, network) as first:
        network.open("web", 1)
        await asyncio.sleep(TICK)
        first.certified(leaf("web", 2, new), leaf("web", 1, old))
        await asyncio.sleep(seconds)

    async with reaping(tmp_path, clock, network, held=()):  # the agent has yet to find its pods
        await asyncio.sleep(LATE_BY)
        network.open("web", 2)
        clock.advance(LIFETIME / 2)
        await asyncio.sleep(2 * TICK)
        assert [one.cookie for one in network.held["web"]] == [2]

        clock.advance(LIFETIME)  # and no third certificate came
        await asyncio.sleep(2 * TICK)
    assert network.held["web"] == []


@pytest.mark.parametrize("content", ["", "[]", '{"boot": "one"}', '{"boot": "one", "pods": [1]}'])
def test_a_file_that_cannot_be_read_is_as_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "deadlines.json").write_text(content)

    assert DeadlineFile(tmp_path / "deadlines.json", BOOT).read().dump() == {}


def test_a_reboot_ends_every_connection(tmp_path: Path) -> None:
    path, deadlines = tmp_path / "deadlines.json", Deadlines()
    deadlines.certified("web", ManualClock().now())
    DeadlineFile(path, BOOT).write(deadlines)

    assert DeadlineFile(path, BOOT).read().dump() == deadlines.dump()
    assert DeadlineFile(path, "two").read().dump() == {}
    assert path.stat().st_mode & 0o777 == 0o600
