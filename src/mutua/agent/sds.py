"""The secret discovery service of one pod: certificates into Envoy, and new ones when they change.

It is served on the pod's own unix socket, which only that pod's proxy can reach: the socket is the
identity, and nothing the peer says about itself matters.  Envoy swaps a pushed certificate in
without a restart; open connections keep the one they were made with.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from mutua.agent.sds_resources import CERTIFICATE, SECRET, TRUST, secret_resources
from mutua.agent.sds_session import SecretSession, UnexpectedRequest
from mutua.agent.secret import SecretSource, WorkloadSecret
from mutua.xds.feed import Feed
from mutua.xds.proto import DiscoveryRequest
from mutua.xds.server import SDS, delta_handler

MAX_STREAMS: Final = 16
"""Streams of one proxy at a time: Envoy opens one per secret, and may be starting anew while its
old streams are found dead.  One more ends the oldest."""

log = logging.getLogger(__name__)


def sds_handler(source: SecretSource) -> grpc.GenericRpcHandler:
    """Return the gRPC handler that serves one workload's secrets, both variants of the protocol.

    Args:
        source: Its secrets.  Until there is one, streams wait.
    """
    feed = Feed(source.name, max_streams=MAX_STREAMS)

    def publish(secret: WorkloadSecret, version: int) -> None:
        feed.publish(secret_resources(secret), version)

    source.listen(publish)
    source.confirmed = lambda: feed.confirmed(SECRET, (CERTIFICATE, TRUST))
    return _FirstThatKnows((delta_handler(SDS, feed), _stream_handler(source)))


class _FirstThatKnows(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc has no types
    """Several handlers as one: `delta_handler` and ours serve methods of the same service."""

    def __init__(self, handlers: Sequence[Any]) -> None:
        self._handlers = handlers

    def service(self, handler_call_details: Any) -> Any:
        answers = (handler.service(handler_call_details) for handler in self._handlers)
        return next((answer for answer in answers if answer is not None), None)


def _stream_handler(source: SecretSource) -> grpc.GenericRpcHandler:
    async def stream(requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                session, woken = SecretSession(), asyncio.Event()
                tasks = (
                    group.create_task(_read(session, requests, woken)),
                    group.create_task(_watch(session, source, woken)),
                    group.create_task(_write(session, woken, context)),
                )
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in tasks:
                    task.cancel()
        except* (UnexpectedRequest, DecodeError) as refused:
            log.warning("secret stream refused", extra={"proxy": source.name}, exc_info=refused)
            context.set_code(grpc.StatusCode.INVALID_ARGUMENT)
        except* grpc.aio.UsageError as gone:
            log.debug("secret stream gone", extra={"proxy": source.name}, exc_info=gone)

    method = grpc.stream_stream_rpc_method_handler(stream)
    return grpc.method_handlers_generic_handler(SDS, {"StreamSecrets": method})


async def _read(
    session: SecretSession, requests: AsyncIterator[bytes], woken: asyncio.Event
) -> None:
    async for data in requests:
        session.receive(DiscoveryRequest.FromString(data))
        woken.set()


async def _watch(session: SecretSession, source: SecretSource, woken: asyncio.Event) -> None:
    seen = 0
    while True:
        secret = await source.wait_newer(seen)
        seen = source.version
        session.update(secret_resources(secret)[SECRET])
        woken.set()


async def _write(session: SecretSession, woken: asyncio.Event, context: Any) -> None:
    while True:
        await woken.wait()
        woken.clear()
        if (response := session.next_response()) is not None:
            await context.write(response.SerializeToString())
