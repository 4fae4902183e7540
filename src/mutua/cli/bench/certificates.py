"""Certificates per second: by the authority alone, and by the CSR service over TLS and gRPC.

Both are counted per second of this process's CPU, that is per core: whoever asks over the network
is another process.  The floor says how fast OpenSSL would be with nothing around it.
"""

import asyncio
import json
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from mutua.api.object import SERVICE_ACCOUNTS
from mutua.cli.bench.figure import Figure
from mutua.cluster.adapters import CertificateReviews, TokenReviews
from mutua.cluster.apiserver.token_review import TokenReviewer
from mutua.cluster.apiserver.tokens import KEY_BYTES, Account, TokenIssuer
from mutua.controlplane.certificates.caller import AUDIENCE, Authenticators
from mutua.controlplane.certificates.messages import CertificateRequest, encode_request
from mutua.controlplane.certificates.rate import RateLimit
from mutua.controlplane.certificates.server import CertificateServer
from mutua.controlplane.certificates.service import CertificateService
from mutua.controlplane.certificates.serving import ServingCertificate
from mutua.controlplane.certificates.tls import SERVER_NAMES
from mutua.foundation.clock import SystemClock
from mutua.foundation.errors import Unavailable
from mutua.foundation.spiffe import SpiffeId
from mutua.identity.authority import Authority
from mutua.identity.csr import new_request
from mutua.identity.signature_speed import sign_and_verify_twice
from mutua.identity.x509 import self_signed_ca
from mutua.store.memory import MemoryStore

IDENTITY: Final = SpiffeId("cluster.local", "bench", "web")
DAY: Final = timedelta(days=1)


def certificates(seconds: float) -> list[Figure]:
    """Measure each for so many seconds."""
    clock = SystemClock()
    ca = self_signed_ca("bench", lifetime=DAY, clock=clock)
    authority = Authority(ca, IDENTITY.trust_domain, clock)
    request = new_request(IDENTITY)
    signed = _rate(lambda: authority.sign(request.csr_pem, IDENTITY), seconds)
    floor = _rate(sign_and_verify_twice(), seconds)
    served = asyncio.run(_served(authority, seconds))
    method = "verify request, sign P-256, re-read and validate; per second of CPU, one process"
    over_grpc = (
        "the same for a client with a service account token over TLS and gRPC, 4 connections with "
        "8 calls each; per second of the server's CPU, store in memory"
    )
    bare = "OpenSSL alone, one P-256 signature and two verifications, nothing parsed or encoded"
    return [
        Figure("certificates signed", signed, "1/s", method, ">= 7000"),
        Figure("certificates signed: OpenSSL's floor", floor, "1/s", bare),
        Figure("certificates over gRPC", served, "1/s", over_grpc, ">= 1700"),
    ]


def _rate(work: Callable[[], object], seconds: float) -> float:
    count, begin = 0, time.process_time()
    while (spent := time.process_time() - begin) < seconds:
        work()
        count += 1
    return count / spent


async def _served(authority: Authority, seconds: float) -> float:
    clock, store = SystemClock(), MemoryStore(SystemClock())
    tokens = TokenIssuer(bytes(KEY_BYTES), clock)
    meta = {"namespace": IDENTITY.namespace, "name": IDENTITY.service_account}
    account = await store.create(SERVICE_ACCOUNTS, {"metadata": meta})
    token = tokens.issue(
        Account(**meta, uid=account["metadata"]["uid"]), audiences=(AUDIENCE,)
    ).text
    service = CertificateService(
        authority,
        Authenticators(
            TokenReviews(TokenReviewer(store, tokens, clock)),
            CertificateReviews(store, clock, issued=lambda _: None, pods=lambda _: ()),
            trust_domain=lambda: IDENTITY.trust_domain,
            clock=clock,
            clusters=(),
        ),
        monotonic=time.monotonic,
        limit=RateLimit(rate=1e6, burst=1_000_000),
    )
    with (
        tempfile.TemporaryDirectory(prefix="mutua-bench-") as folder,
        socket.create_server(("127.0.0.1", 0)) as listener,
    ):
        listener.settimeout(0)
        server = CertificateServer(
            service, ServingCertificate(authority, clock), Path(folder, "ca.sock")
        )
        ready = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            serving = group.create_task(server.serve(listener, ready.set))
            await ready.wait()
            job = {
                "address": f"127.0.0.1:{listener.getsockname()[1]}",
                "name": SERVER_NAMES[0],
                "roots": authority.roots_pem,
                "request": encode_request(
                    CertificateRequest(csr_pem=new_request(IDENTITY).csr_pem)
                ).hex(),
                "token": token,
                "seconds": seconds,
            }
            begin = time.process_time()
            count = await _ask(job)
            spent = time.process_time() - begin
            serving.cancel()
    return count / spent


async def _ask(job: dict[str, Any]) -> int:
    argv = [sys.executable, "-m", "mutua.cli.bench.requester"]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*argv, stdin=pipe, stdout=pipe)
    said, _ = await process.communicate(json.dumps(job).encode())
    if process.returncode != 0:
        raise Unavailable("the CSR service refused what it should have signed")
    return int(said)
