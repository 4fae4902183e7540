"""The certificate service over gRPC: the shell around `service`, with TLS in front.

Its own certificate is signed by the mesh's authority for the DNS names of istiod, and replaced
at half of its life and whenever the authority or the trust bundle changes.  That is decided on the
wall clock at a short tick, so a machine that slept heals within it.
"""

import asyncio
import logging
import socket
from pathlib import Path
from typing import Any, Final

import grpc
import grpc.aio

from mutua.controlplane.certificates.caller import Shown
from mutua.controlplane.certificates.front import TlsFront
from mutua.controlplane.certificates.messages import METHOD, SERVICE
from mutua.controlplane.certificates.service import CertificateService, Refused
from mutua.controlplane.certificates.serving import ServingCertificate
from mutua.foundation.errors import MutuaError
from mutua.lifecycle.supervisor import Ready

PORT: Final = 15012
"""Source: istiod, xDS and CA over TLS."""

DEADLINE: Final = 10.0
"""Seconds one call may take, far beyond any expected."""

TICK: Final = 1.0
"""Seconds between two looks at the clock."""

STOP_GRACE: Final = 0.2
"""Seconds a call gets to finish when the server stops."""

CALLS: Final = 256
"""Calls at once, over all connections; more are refused with RESOURCE_EXHAUSTED."""

SOCKET_MODE: Final = 0o600

OPTIONS: Final = (
    # A signing request has at most 16 KiB, and little stands next to it.
    ("grpc.max_receive_message_length", 32 * 1024),
    ("grpc.max_metadata_size", 16 * 1024),
    ("grpc.absolute_max_metadata_size", 16 * 1024),
    ("grpc.max_concurrent_streams", 64),
    # A client that went away without a word, and one that stays without a reason.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.max_connection_idle_ms", 300_000),
    ("grpc.so_reuseport", 0),
)

log = logging.getLogger(__name__)


class CertificateServer:
    """Serves `CreateCertificate` on a TLS port."""

    def __init__(
        self, service: CertificateService, certificate: ServingCertificate, backend: Path
    ) -> None:
        """Serve nothing yet.

        Args:
            service: Answers the calls.
            certificate: Makes the TLS settings.
            backend: Path for the unix socket between TLS and gRPC, in a private directory.
        """
        self._service = service
        self._certificate = certificate
        self._backend = backend
        self._front = TlsFront(backend)
        self._is_failing = False

    async def serve(self, listener: socket.socket, ready: Ready = lambda: None) -> None:
        """Serve on a listening, non-blocking socket until cancelled.

        While the authority cannot sign, connections are closed at once.
        """
        self._backend.unlink(missing_ok=True)
        server = grpc.aio.server(
            handlers=[self._handler()], options=OPTIONS, maximum_concurrent_rpcs=CALLS
        )
        server.add_insecure_port(f"unix:{self._backend}")
        await server.start()
        self._backend.chmod(SOCKET_MODE)
        try:
            self._renew()
            async with asyncio.TaskGroup() as group:
                group.create_task(self._front.serve(listener), name="certificate connections")
                ready()
                while True:
                    await asyncio.sleep(TICK)
                    self._renew()
        finally:
            await server.stop(STOP_GRACE)
            self._backend.unlink(missing_ok=True)

    def _renew(self) -> None:
        try:
            if (context := self._certificate.renewed()) is not None:
                self._front.adopt(context)
            self._is_failing = False
        except MutuaError as error:
            if not self._is_failing:  # once, not every second
                log.warning(
                    "the certificate server has no new certificate", extra={"error": str(error)}
                )
            self._is_failing = True

    def _handler(self) -> grpc.GenericRpcHandler:
        method = grpc.unary_unary_rpc_method_handler(self._create)
        return grpc.method_handlers_generic_handler(SERVICE, {METHOD: method})

    async def _create(self, data: bytes, context: grpc.aio.ServicerContext) -> bytes:
        peer = self._front.peer(context.peer())
        status, message = grpc.StatusCode.UNAVAILABLE, "the connection has ended"
        if peer is not None:
            metadata = context.invocation_metadata() or ()
            shown = Shown(
                certificate=peer.certificate,
                authorization=_first(metadata, "authorization"),
                cluster=_first(metadata, "clusterid"),
            )
            try:
                async with asyncio.timeout(DEADLINE):
                    return await self._service.answer(data, shown)
            except Refused as refused:
                status, message = grpc.StatusCode[refused.status], str(refused)
            except TimeoutError:
                status, message = grpc.StatusCode.DEADLINE_EXCEEDED, f"not within {DEADLINE:g} s"
            except Exception:
                # The peer learns nothing of a bug; the log has its traceback.
                log.exception("certificate call failed")
                status, message = grpc.StatusCode.INTERNAL, "internal error"
        await context.abort(status, message)
        raise AssertionError("abort does not return")


def _first(metadata: Any, key: str) -> str:
    return next((str(value) for name, value in metadata if name == key), "")
