"""Start services in order, stop them in reverse, lose no exception.

A service is a coroutine function: it announces readiness by calling `ready` once, serves until
cancelled, and cleans up in `finally`.  Cancellation is the one and only shutdown signal.

    start:  store -> authority -> xds       each after the previous is ready
    stop:   xds -> authority -> store       each bounded by `grace`
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

Ready = Callable[[], None]
Service = Callable[[Ready], Coroutine[Any, Any, None]]

GRACE: Final = 5.0
"""Seconds a service may spend in its `finally` blocks; well below a pod's usual 30 s."""

log = logging.getLogger(__name__)


async def supervise(
    services: Mapping[str, Service], *, stop: asyncio.Event, grace: float = GRACE
) -> None:
    """Run `services` until `stop` is set or one of them ends.

    Args:
        services: Name to service, in start order.
        stop: Set by a signal handler, or by a test.
        grace: Seconds each service gets to clean up once cancelled.

    Raises:
        ExceptionGroup: What the failed services raised.  A service that ends without being asked
            to is a failure too (RuntimeError).

    Cancellation:
        Cancelling `supervise` stops the services as `stop` does, and propagates.
    """
    running: dict[str, asyncio.Task[None]] = {}
    failures: list[Exception] = []
    try:
        await _serve(services, running, stop)
    finally:
        for name, task in reversed(running.items()):
            if (failure := await _stop(name, task, grace)) is not None:
                log.error("service failed", extra={"service": name}, exc_info=failure)
                failures.append(failure)
    if failures:
        raise ExceptionGroup("services failed", failures)


async def _serve(
    services: Mapping[str, Service], running: dict[str, asyncio.Task[None]], stop: asyncio.Event
) -> None:
    """Fill `running`, one ready service after another; return when it is time to stop."""
    stopping = asyncio.ensure_future(stop.wait())
    try:
        for name, service in services.items():
            is_ready = asyncio.Event()
            running[name] = asyncio.create_task(service(is_ready.set), name=name)
            readiness = asyncio.ensure_future(is_ready.wait())
            await _first_of(readiness, stopping, *running.values())
            readiness.cancel()
            if not is_ready.is_set():
                return
            log.debug("service ready", extra={"service": name})
        await _first_of(stopping, *running.values())
    finally:
        stopping.cancel()


async def _first_of(*futures: asyncio.Future[Any]) -> None:
    await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)


async def _stop(name: str, task: asyncio.Task[None], grace: float) -> Exception | None:
    ended_unasked = task.done()
    task.cancel()
    await asyncio.wait([task], timeout=grace)
    if not task.done():
        return TimeoutError(f"service {name!r} ignored cancellation for {grace:g} s")
    if not task.cancelled() and (error := task.exception()) is not None:
        return error if isinstance(error, Exception) else RuntimeError(repr(error))
    if ended_unasked:
        return RuntimeError(f"service {name!r} ended; services run until cancelled")
    return None
