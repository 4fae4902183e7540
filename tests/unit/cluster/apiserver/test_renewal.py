"""The API's certificates are replaced when the clock demands it, and otherwise left alone."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from mutua.cluster.apiserver.credentials import ApiCredentials, prepare_credentials
from mutua.cluster.apiserver.renewal import CredentialRenewal
from mutua.testing.clock import ManualClock

DAY = timedelta(days=1)


class Renewal:
    """Credentials in a directory, and those that were adopted after the first."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock()
        self.first = prepare_credentials(folder, self.clock)
        self.adopted: list[ApiCredentials] = []
        self.adopt: Callable[[ApiCredentials], None] = self.adopted.append
        self._folder = folder

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        def make() -> ApiCredentials:
            return prepare_credentials(self._folder, self.clock)

        renewal = CredentialRenewal(make, lambda new: self.adopt(new), self.clock)
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(renewal.run(self.first))
            yield
            task.cancel()


@pytest.fixture
def api(tmp_path: Path) -> Renewal:
    return Renewal(tmp_path)


@pytest.mark.parametrize("by", [200 * DAY, 2000 * DAY, -DAY / 24, -DAY / 2])
async def test_a_step_of_the_clock_yields_valid_certificates_within_a_tick(
    api: Renewal, by: timedelta
) -> None:
    async with api.running():
        api.clock.advance(by)
        await asyncio.sleep(1.5)
        (new,) = api.adopted
        await asyncio.sleep(60)

    assert new.admin.not_before <= api.clock.now() < new.admin.not_after
    assert new.authority_pem == api.first.authority_pem
    assert api.adopted == [new]


@pytest.mark.parametrize("by", [timedelta(), -timedelta(minutes=1), 180 * DAY])
async def test_what_is_good_is_left_alone(api: Renewal, by: timedelta) -> None:
    async with api.running():
        api.clock.advance(by)
        await asyncio.sleep(3600)

    assert api.adopted == []


async def test_what_cannot_be_done_is_said_once_and_tried_again(
    api: Renewal, caplog: pytest.LogCaptureFixture
) -> None:
    async with api.running():
        api.clock.advance(-30 * DAY)  # before the authority begins
        await asyncio.sleep(600)
        during = [*api.adopted]
        api.clock.advance(30 * DAY - DAY / 24)
        await asyncio.sleep(6)

    assert during == []
    assert len(api.adopted) == 1
    assert [record.levelname for record in caplog.records].count("WARNING") == 1


async def test_what_could_not_be_adopted_is_tried_again(api: Renewal) -> None:
    def full(_: ApiCredentials) -> None:
        raise OSError(28, "No space left on device")

    adopt, api.adopt = api.adopt, full
    async with api.running():
        api.clock.advance(-DAY / 24)
        await asyncio.sleep(60)
        api.adopt = adopt
        await asyncio.sleep(6)

    assert len(api.adopted) == 1
