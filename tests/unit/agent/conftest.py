"""An authority, an issuer that misbehaves on request, and a wall clock that follows the loop."""

import asyncio
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from mutua.agent.issuer import CertificateIssuer, LocalIssuer
from mutua.agent.workload import Workload
from mutua.foundation.errors import Unavailable
from mutua.foundation.spiffe import SpiffeId
from mutua.identity.authority import Authority, IssuedChain
from mutua.identity.x509 import self_signed_ca
from mutua.testing.clock import START, ManualClock

TD = "cluster.local"


class LoopClock:
    """Wall time that advances with virtual time, plus a step that the test sets."""

    def __init__(self) -> None:
        self.step = timedelta()

    def now(self) -> datetime:
        try:
            elapsed = asyncio.get_running_loop().time()
        except RuntimeError:
            elapsed = 0.0
        return START + timedelta(seconds=elapsed) + self.step


class MoodyIssuer(CertificateIssuer):
    """Signs, unless told to refuse or to keep silent for some workloads.

    Attributes:
        down: Uids that get Unavailable; "*" for all.
        silent: Uids that get no answer.
        asked: When (loop time) which uid asked.
    """

    def __init__(self, authority: Authority, ttl: timedelta = timedelta(hours=24)) -> None:
        self._inner = LocalIssuer(authority, ttl)
        self.down: set[str] = set()
        self.silent: set[str] = set()
        self.asked: list[tuple[float, str]] = []

    async def sign(self, csr_pem: str, workload: Workload) -> IssuedChain:
        self.asked.append((asyncio.get_running_loop().time(), workload.uid))
        if workload.uid in self.silent:
            await asyncio.Event().wait()
        if self.down & {workload.uid, "*"}:
            raise Unavailable("the authority is being repaired")
        return await self._inner.sign(csr_pem, workload)


@pytest.fixture
def clock() -> LoopClock:
    return LoopClock()


@pytest.fixture
def authority(clock: LoopClock) -> Authority:
    root = self_signed_ca(
        "", organization=TD, lifetime=timedelta(days=3650), clock=ManualClock(START)
    )
    return Authority(root, TD, clock)


@pytest.fixture
def issuer(authority: Authority) -> MoodyIssuer:
    return MoodyIssuer(authority)


@pytest.fixture
def web(tmp_path: Path) -> Workload:
    return Workload(uid="web", identity=SpiffeId(TD, "shop", "web"), certs_dir=tmp_path / "web")


@pytest.fixture
def job(tmp_path: Path) -> Workload:
    return Workload(uid="job", identity=SpiffeId(TD, "shop", "job"), certs_dir=tmp_path / "job")
