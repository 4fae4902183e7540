"""Services start in order, stop in reverse, and lose no exception."""

import asyncio
import contextlib

import pytest

from mutua.lifecycle.supervisor import supervise


def service(name: str, journal: list[str], *, fails: Exception | None = None):
    async def serve(ready) -> None:
        journal.append(f"{name} starts")
        ready()
        try:
            if fails is not None:
                raise fails
            await asyncio.Event().wait()
        finally:
            journal.append(f"{name} stops")

    return serve


async def test_services_start_in_order_and_stop_in_reverse() -> None:
    journal: list[str] = []
    stop = asyncio.Event()
    asyncio.get_running_loop().call_later(1, stop.set)

    await supervise({"a": service("a", journal), "b": service("b", journal)}, stop=stop)

    assert journal == ["a starts", "b starts", "b stops", "a stops"]


async def test_a_failing_service_stops_the_others_and_its_error_is_kept() -> None:
    journal: list[str] = []
    services = {"a": service("a", journal), "b": service("b", journal, fails=ValueError("x"))}

    with pytest.raises(ExceptionGroup) as failed:
        await supervise(services, stop=asyncio.Event())

    assert failed.group_contains(ValueError, match="x")
    assert journal[-1] == "a stops"


async def test_a_service_that_just_ends_is_a_failure() -> None:
    async def ends(ready) -> None:
        ready()

    with pytest.raises(ExceptionGroup) as failed:
        await supervise({"a": ends}, stop=asyncio.Event())

    assert failed.group_contains(RuntimeError, match="'a' ended")


async def test_a_service_that_ignores_cancellation_is_named() -> None:
    async def stubborn(ready) -> None:
        ready()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)
        await asyncio.sleep(3600)

    stop = asyncio.Event()
    asyncio.get_running_loop().call_later(1, stop.set)

    with pytest.raises(ExceptionGroup) as failed:
        await supervise({"a": stubborn}, stop=stop, grace=2)

    assert failed.group_contains(TimeoutError, match="ignored cancellation")
