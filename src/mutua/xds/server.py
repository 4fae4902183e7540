"""xDS over gRPC: the shell around `session`, working on bytes.

One gRPC server per pod, listening on that pod's own unix sockets, which are mounted into its
sidecar and nowhere else.  The socket is the identity: whoever is connected to it is that proxy,
so nothing a peer says about itself (node id, metadata) is trusted.

A stream is two loops: one hands what arrives to the session, the other sends what the session
wants sent whenever it is woken.  Only the second writes, one message at a time, and gRPC's flow
control holds it while the proxy does not read: back-pressure reaches the session, whose memory
is bounded.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from mutua.foundation.errors import Rejected
from mutua.xds.compile.reports import REFUSED
from mutua.xds.feed import Attachment, Feed
from mutua.xds.reports import decode_log
from mutua.xds.session import DeltaSession
from mutua.xds.sighting import Sighting
from mutua.xds.subscription import ProtocolViolation
from mutua.xds.wire import decode_request, encode_response

ADS: Final = "envoy.service.discovery.v3.AggregatedDiscoveryService"
SDS: Final = "envoy.service.secret.v3.SecretDiscoveryService"
METHODS: Final[Mapping[str, str]] = {
    ADS: "DeltaAggregatedResources",
    SDS: "DeltaSecrets",
}
"""Delta method of each discovery service."""

ACCESS_LOG: Final = "envoy.service.accesslog.v3.AccessLogService"

LOG_PACE: Final = 0.0002
"""Seconds from one access log entry to the next, over all proxies: 5,000 a second, about a
twentieth of a core.  Beyond that gRPC's flow control holds the stream, and Envoy drops entries
rather than requests."""

SOCKET_MODE: Final = 0o600
MAX_SOCKET_PATH: Final = 107
"""Bytes of a unix socket's path (unix(7), sun_path less its terminator)."""

STOP_GRACE: Final = 0.2
"""Seconds an open stream gets when its server stops; Envoy reconnects by itself."""

OPTIONS: Final = (
    # A request carries names and versions, not resources: 4 MiB is 40,000 of them.
    ("grpc.max_receive_message_length", 4 * 1024 * 1024),
    ("grpc.max_send_message_length", 16 * 1024 * 1024),
    # One ADS stream and a handful of secret streams, doubled for a reconnect.
    ("grpc.max_concurrent_streams", 64),
    # Find a stopped peer within 80 s; a dead one closes its socket.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_ping_strikes", 0),
    # No pings to measure a unix socket's bandwidth: they double the packets of a push.  Without
    # them a peer may be told only after 0.2 s that it may go on, so it may send ahead more than all
    # but the largest requests take.
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", 1024 * 1024),
    ("grpc.so_reuseport", 0),
)

log = logging.getLogger(__name__)


def delta_handler(service: str, feed: Feed) -> grpc.GenericRpcHandler:
    """Return the gRPC handler that serves `feed` as a discovery service.

    Args:
        service: `ADS` or `SDS`.
        feed: What the proxy behind this server should have.
    """

    async def stream(requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext) -> None:
        await _serve(feed, requests, context)

    method = grpc.stream_stream_rpc_method_handler(stream)
    return grpc.method_handlers_generic_handler(service, {METHODS[service]: method})


def ads_handler(feed: Feed) -> grpc.GenericRpcHandler:
    """Return the handler of the aggregated discovery service."""
    return delta_handler(ADS, feed)


LOG_PIECE: Final = 50
"""Entries recorded between two turns of the event loop: about a millisecond of work."""


class LogReader:
    """Reads what proxies log, at a pace, so that no flood of one starves the others.

    All proxies share one pace for what was served.  Refusals, which somebody may be waiting for,
    do not queue behind others' traffic: each proxy has a pace of its own for them.
    """

    def __init__(self) -> None:
        self._turn = asyncio.Lock()

    def handler(self, record: Callable[[Sighting], None]) -> grpc.GenericRpcHandler:
        """Return the handler of one proxy's access log service.

        Args:
            record: Told of every entry.
        """
        own = {REFUSED: asyncio.Lock()}

        async def stream(
            requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext
        ) -> bytes:
            try:
                await self._read(requests, record, own)
            except DecodeError as refused:
                log.warning("access log refused", exc_info=refused)
                context.set_code(grpc.StatusCode.INVALID_ARGUMENT)
            return b""

        method = grpc.stream_unary_rpc_method_handler(stream)
        return grpc.method_handlers_generic_handler(ACCESS_LOG, {"StreamAccessLogs": method})

    async def _read(
        self,
        requests: AsyncIterator[bytes],
        record: Callable[[Sighting], None],
        own: Mapping[str, asyncio.Lock],
    ) -> None:
        name = ""
        async for data in requests:
            name, sightings = decode_log(data, name)
            async with own.get(name, self._turn):
                for begin in range(0, len(sightings), LOG_PIECE):
                    piece = sightings[begin : begin + LOG_PIECE]
                    for sighting in piece:
                        record(sighting)
                    await asyncio.sleep(len(piece) * LOG_PACE)


async def serve_workload(
    sockets: Mapping[Path, Sequence[grpc.GenericRpcHandler]],
) -> "WorkloadServer":
    """Listen on one pod's sockets.

    Args:
        sockets: What to serve on which socket.  A socket file left by a dead process is replaced.

    Raises:
        Rejected: A path is too long for a unix socket.
    """
    servers = []
    for path, handlers in sockets.items():
        if len(bytes(path)) > MAX_SOCKET_PATH:
            raise Rejected(
                f"socket path longer than {MAX_SOCKET_PATH} bytes: {path}",
                hint="Use a shorter run directory.",
            )
        path.unlink(missing_ok=True)
        server = grpc.aio.server(handlers=handlers, options=OPTIONS)
        server.add_insecure_port(f"unix:{path}")
        await server.start()
        path.chmod(SOCKET_MODE)
        servers.append(server)
    return WorkloadServer(servers, tuple(sockets))


class WorkloadServer:
    """The running servers of one pod."""

    def __init__(self, servers: Sequence[Any], sockets: Sequence[Path]) -> None:
        self._servers = servers
        self._sockets = sockets

    async def stop(self) -> None:
        """End every stream and remove the sockets."""
        async with asyncio.TaskGroup() as group:
            for server in self._servers:
                group.create_task(server.stop(STOP_GRACE))
        for path in self._sockets:
            path.unlink(missing_ok=True)


async def _serve(
    feed: Feed, requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext
) -> None:
    """Serve one stream until either side ends it."""
    woken, ended = asyncio.Event(), asyncio.Event()
    attachment = Attachment(DeltaSession(), woken.set, ended.set)
    feed.attach(attachment)
    try:
        async with asyncio.TaskGroup() as group:
            writer = group.create_task(_write(feed, attachment.session, woken, context))
            reader = group.create_task(_read(feed, attachment, requests))
            superseded = group.create_task(ended.wait())
            await asyncio.wait((writer, reader, superseded), return_when=asyncio.FIRST_COMPLETED)
            for task in (writer, reader, superseded):
                task.cancel()
    except* (ProtocolViolation, DecodeError) as refused:
        log.warning("xds stream refused", extra={"proxy": feed.name}, exc_info=refused)
        context.set_code(grpc.StatusCode.INVALID_ARGUMENT)
    except* grpc.aio.UsageError as gone:
        log.debug("xds stream gone", extra={"proxy": feed.name}, exc_info=gone)
    finally:
        feed.detach(attachment)


async def _read(feed: Feed, attachment: Attachment, requests: AsyncIterator[bytes]) -> None:
    async for data in requests:
        for rejection in attachment.session.receive(decode_request(data)):
            log.warning(
                "xds resource refused",
                extra={
                    "proxy": feed.name,
                    "type_url": rejection.type_url,
                    "resource": rejection.name,
                    "reason": rejection.message,
                },
            )
            feed.on_rejection(rejection)
        feed.report()
        if attachment.session.is_due:
            attachment.wake()


async def _write(
    feed: Feed, session: DeltaSession, woken: asyncio.Event, context: grpc.aio.ServicerContext
) -> None:
    while True:
        while (response := session.next_response()) is not None:
            await context.write(encode_response(response, str(session.generation)))
        woken.clear()
        await woken.wait()
