"""Keeps every local workload's certificate fresh.

One agent serves all pods of a machine.  For each it makes the private key, has it certified,
publishes the result to the pod's SDS and writes the pod's certificate files; then it waits for the
half-life and does it again with a new key.

    add ──> request ──> issuer ──> publish ──> files ──> wait until due
              ^           │ refused, unreachable            │
              ├─ backoff ─┘ (the old certificate stays)     │
              └───────────── half-life, or another CA ──────┘

What the proxies verify with (`trust`) and which CA's certificates they should present (`expect`)
change independently of that, and `evidence` tells how far the proxies are.

Renewal compares wall-clock instants, because certificates do, and looks every TICK: a laptop that
slept and a clock that stepped are noticed at once.  Waiting after a failure counts on the event
loop's monotonic clock, so that setting the clock back cannot stretch it; it ends when the clock
steps, because the authority may have failed for what the clock said.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from mutua.agent.certificate_files import remove_certificates, write_certificates
from mutua.agent.issuer import CertificateIssuer
from mutua.agent.secret import SecretSource, WorkloadSecret
from mutua.agent.workload import Workload
from mutua.foundation.backoff import Backoff
from mutua.foundation.clock import Clock, StepWatch
from mutua.foundation.errors import MutuaError, Rejected
from mutua.foundation.spiffe import SpiffeId
from mutua.identity.bundle import TrustBundle
from mutua.identity.csr import SigningRequest, new_request
from mutua.identity.renewal import schedule
from mutua.identity.rotation import Evidence
from mutua.identity.x509 import parse_certificates
from mutua.lifecycle.supervisor import Ready

TICK: Final = 1.0
"""Seconds between two looks at the clock: how late a renewal can be after a resume."""

SIGNING_TIMEOUT: Final = 10.0
"""Seconds the issuer gets for one request."""

RETRY: Final = Backoff(ceiling=60.0)
"""Between failed requests for one workload.  Far below the half-life that remains."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateStatus:
    """What is known about one workload's certificate.

    Attributes:
        workload: Whose.
        not_after: Its end, None while there is none.
        renew_at: When the next request leaves, None while there is no certificate.
        failures: Requests that failed since the last success.
        error: Why the last one failed, "" when it did not.
        chain: What the proxy presents, PEM: leaf, intermediates, root; "" while there is none.
        bundle: What the proxy verifies peers with.
        is_bundle_confirmed: Whether the proxy said that it has taken this one up.
        issued_at: When it was received.
    """

    workload: Workload
    not_after: datetime | None
    renew_at: datetime | None
    failures: int
    error: str
    chain: str = ""
    bundle: TrustBundle | None = None
    is_bundle_confirmed: bool = False
    issued_at: datetime | None = None


@dataclass(slots=True)
class _Held:
    """One workload's certificate and how its renewal is going."""

    workload: Workload
    source: SecretSource
    busy: bool = False
    certified: SpiffeId | None = None  # whom the source's certificate names
    issued_at: datetime | None = None
    written: int = 0  # version of the source that is in the files
    trusted_at: int = 0  # version of the source that first held the present bundle
    certified_at: int = 0  # version of the source that first held the present certificate
    failures: int = 0
    retry_at: float = 0.0  # on the loop's clock
    error: str = ""

    def needs_work(self, now: datetime, monotonic: float, signer: str) -> bool:
        if self.busy or monotonic < self.retry_at:
            return False
        return self.is_lacking(now, signer)

    def is_lacking(self, now: datetime, signer: str) -> bool:
        return self.needs_certificate(now, signer) or self.needs_files()

    def succeed(self) -> None:
        self.failures, self.retry_at, self.error = 0, 0.0, ""

    def needs_certificate(self, now: datetime, signer: str) -> bool:
        secret = self.source.current
        if secret is None or self.certified != self.workload.identity:
            return True
        return not secret.is_of(signer) or secret.schedule.is_due(now)

    def publish(self, secret: WorkloadSecret) -> None:
        before = self.source.current
        self.source.publish(secret)
        if before is None or before.bundle != secret.bundle:
            self.trusted_at = self.source.version
        if before is None or before.issued is not secret.issued:
            self.certified_at = self.source.version

    def needs_files(self) -> bool:
        return self.workload.certs_dir is not None and self.written < self.source.version


class Agent:
    """Certificates of the local workloads."""

    def __init__(self, issuer: CertificateIssuer, clock: Clock, draw: Callable[[], float]) -> None:
        """Make an agent that holds nothing yet.

        Args:
            issuer: Who signs.
            clock: Wall time.
            draw: Returns uniform draws in [0, 1): jitter of renewals and retries.
        """
        self._issuer = issuer
        self._clock = clock
        self._draw = draw
        self._held: dict[str, _Held] = {}
        self._bundle: TrustBundle | None = None
        self._signer = ""

    async def add(self, workload: Workload) -> SecretSource:
        """Hold a certificate for a workload from now on; asking again changes nothing.

        Returns:
            Its secret's source.  Normally it holds a secret already, and the files are written;
            when the issuer refuses, it stays empty until `run` succeeds.
        """
        held = self._held.get(workload.uid)
        if held is None or held.workload != workload:
            held = self._held[workload.uid] = _Held(workload, SecretSource(str(workload.identity)))
            await self._work(held)
        return held.source

    def rename(self, uid: str, identity: SpiffeId) -> None:
        """Give a workload another identity; an unknown uid is fine.

        `run` has it certified within a tick; until then the old certificate serves.
        """
        held = self._held.get(uid)
        if held is not None:
            held.workload = replace(held.workload, identity=identity)
            held.retry_at = 0.0

    def trust(self, bundle: TrustBundle) -> None:
        """Have every proxy verify with this bundle from now on; their certificates stay."""
        self._bundle = bundle
        for held in self._held.values():
            secret = held.source.current
            if secret is not None and secret.bundle != bundle:
                held.publish(replace(secret, bundle=bundle))

    def expect(self, signer: str) -> None:
        """Have every workload certified by one CA; `run` sees to it within a tick.

        Args:
            signer: SHA-256 of the CA's certificate, hexadecimal.
        """
        self._signer = signer
        for held in self._held.values():
            held.retry_at = 0.0

    def renew(self, uid: str) -> None:
        """Have a workload certified anew within a tick; an unknown uid is fine.

        Until then the old certificate serves.
        """
        held = self._held.get(uid)
        if held is not None:
            held.certified, held.retry_at = None, 0.0

    def workloads(self) -> list[Workload]:
        """Return whom certificates are held for."""
        return [held.workload for held in self._held.values()]

    def lagging(self) -> list[str]:
        """Return the uids of pods with a certificate whose proxy has not confirmed the bundle."""
        return [
            uid
            for uid, held in self._held.items()
            if held.source.current is not None and held.source.confirmed() < held.trusted_at
        ]

    def presents(self, uid: str) -> bool:
        """Tell whether a pod's proxy has confirmed its present certificate, or is gone."""
        held = self._held.get(uid)
        return held is None or held.source.confirmed() >= held.certified_at

    def evidence(self) -> Evidence:
        """Tell, by pod uid, whose proxy has not confirmed the bundle, or the expected CA."""
        without_bundle: list[str] = []
        with_others: list[str] = []
        for held in self._held.values():
            secret, confirmed = held.source.current, held.source.confirmed()
            if secret is None or confirmed < held.trusted_at:
                without_bundle.append(held.workload.uid)
            if secret is None or not secret.is_of(self._signer) or confirmed < held.certified_at:
                with_others.append(held.workload.uid)
        return Evidence(tuple(without_bundle), tuple(with_others))

    def remove(self, uid: str) -> None:
        """Forget a workload and delete its files; an unknown uid is fine."""
        held = self._held.pop(uid, None)
        if held is not None and held.workload.certs_dir is not None:
            remove_certificates(held.workload.certs_dir)

    def status(self) -> list[CertificateStatus]:
        """Return what is known, one line per workload."""
        return [_status(held) for held in self._held.values()]

    async def run(self, ready: Ready = lambda: None) -> None:
        """Renew until cancelled (a service of mutua.lifecycle.supervisor).

        A slow issuer delays only the workload it is slow for.
        """
        loop, watch = asyncio.get_running_loop(), StepWatch()
        async with asyncio.TaskGroup() as tasks:
            ready()
            while True:
                stepped = watch.has_stepped(self._clock.now(), loop.time())
                for held in [*self._held.values()]:
                    if stepped:
                        held.retry_at = 0.0
                    now = self._clock.now()
                    if held.failures and not held.is_lacking(now, self._signer):
                        held.succeed()  # by itself: the clock was set right, or the old CA is back
                    if held.needs_work(now, loop.time(), self._signer):
                        held.busy = True  # before the task first runs, so that no tick starts two
                        tasks.create_task(self._work(held), name=f"renew {held.workload.identity}")
                await asyncio.sleep(TICK)

    async def _work(self, held: _Held) -> None:
        """Bring one workload up to date, or note when to try again."""
        held.busy = True
        try:
            if held.needs_certificate(self._clock.now(), self._signer):
                workload = held.workload  # it may be renamed meanwhile
                held.publish(await self._request(workload))
                held.certified, held.issued_at = workload.identity, self._clock.now()
            self._write(held)
        except (MutuaError, OSError) as error:  # TimeoutError is an OSError
            self._postpone(held, error)
        else:
            held.succeed()
        finally:
            held.busy = False

    async def _request(self, workload: Workload) -> WorkloadSecret:
        request = await _new_request(workload)
        async with asyncio.timeout(SIGNING_TIMEOUT):
            issued = await self._issuer.sign(request.csr_pem, workload)
        if parse_certificates(issued.leaf)[0].public_key() != request.key.public:
            raise Rejected("the issuer certified another key than the request's")
        return WorkloadSecret(
            key=request.key,
            issued=issued,
            bundle=self._bundle or issued.bundle,
            schedule=schedule(issued.validity, draw=self._draw()),
        )

    def _write(self, held: _Held) -> None:
        """Write the files, unless the workload was removed while its request was under way."""
        directory, secret = held.workload.certs_dir, held.source.current
        is_held = self._held.get(held.workload.uid) is held
        if directory is not None and secret is not None and is_held and held.needs_files():
            write_certificates(directory, secret)
            held.written = held.source.version

    def _postpone(self, held: _Held, error: Exception) -> None:
        delay = RETRY.delay(held.failures, draw=self._draw())
        held.failures += 1
        held.retry_at = asyncio.get_running_loop().time() + delay
        held.error = str(error) or type(error).__name__
        log.warning(
            "certificate not renewed; the old one stays",
            extra={
                "identity": str(held.workload.identity),
                "error": held.error,
                "retry_in": round(delay, 1),
            },
        )


async def _new_request(workload: Workload) -> SigningRequest:
    if workload.key_algorithm.is_slow:
        return await asyncio.to_thread(new_request, workload.identity, workload.key_algorithm)
    return new_request(workload.identity, workload.key_algorithm)


def _status(held: _Held) -> CertificateStatus:
    secret = held.source.current
    return CertificateStatus(
        workload=held.workload,
        not_after=secret.schedule.validity.not_after if secret else None,
        renew_at=secret.schedule.renew_at if secret else None,
        failures=held.failures,
        error=held.error,
        chain=secret.issued.chain_pem if secret else "",
        bundle=secret.bundle if secret else None,
        is_bundle_confirmed=secret is not None and held.source.confirmed() >= held.trusted_at,
        issued_at=held.issued_at,
    )
