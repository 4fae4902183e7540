"""A call of CreateCertificate, from bytes to bytes; the transport is `server`'s.

    decode ─► who is it? ─► not too often? ─► which wishes are granted? ─► the authority signs

The certificate names the caller whom the transport authenticated.  What the signing request says
is ignored but for its proof of possession, as in Istio, so no field of it is even read here.

Codes and messages are Istio's.  Details about a caller nobody vouches for go to the log only.

Source: istio-semantics 4.2; istio security/pkg/server/ca/server.go.
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from mutua.controlplane.certificates.caller import Authenticators, Caller, Shown, Unauthenticated
from mutua.controlplane.certificates.counting import Count, counter_of
from mutua.controlplane.certificates.messages import (
    CertificateRequest,
    NotARequest,
    decode_request,
    encode_response,
)
from mutua.controlplane.certificates.rate import RateLimit
from mutua.foundation.errors import Denied, MutuaError, Rejected
from mutua.identity.authority import MAX_TTL, Authority, IssuedChain
from mutua.identity.validator import InvalidSvid
from mutua.telemetry.metrics import (
    AUTHENTICATION_FAILURES,
    CSRS,
    IDENTITY_ERRORS,
    ISSUED,
    PARSING_ERRORS,
    SIGNING_ERRORS,
)

IMPERSONATION: Final = "ImpersonatedIdentity"
SIGNER: Final = "CertSigner"
"""Keys of a request's metadata that Istio knows."""

RATE_LIMITED: Final = "certificates.rate_limited"
ANOTHER_SIGNER: Final = "certificates.another_signer"
CANCELLED: Final = "certificates.cancelled"
"""Labels of signing errors that are none of the authority's."""

log = logging.getLogger(__name__)


class Refused(MutuaError):
    """The call fails.

    Attributes:
        status: Name of the gRPC status code.
        counted: Names and labels of the counters that it is counted by.
    """

    code = "certificates.refused"

    def __init__(self, status: str, message: str, *counted: tuple[str, str]) -> None:
        super().__init__(message)
        self.status = status
        self.counted = counted


class CertificateService:
    """Answers calls."""

    def __init__(
        self,
        authority: Authority,
        authenticators: Authenticators,
        *,
        monotonic: Callable[[], float],
        limit: RateLimit | None = None,
        refusal: Callable[[Caller], str] = lambda _caller: "",
        count: Count = lambda _name, _label: None,
    ) -> None:
        """Serve an authority.

        Args:
            authority: Signs.
            authenticators: Tell who is calling.
            monotonic: Seconds of a clock that nobody sets.
            limit: How often one caller may ask.
            refusal: Returns why a caller gets nothing, "" if they do.
            count: Told how every call ended; see `counting`.
        """
        self._authority = authority
        self._authenticators = authenticators
        self._monotonic = monotonic
        self._refusal = refusal
        self._count = count
        self._limit = RateLimit() if limit is None else limit

    async def answer(self, data: bytes, shown: Shown) -> bytes:
        """Answer one call.

        Args:
            data: An IstioCertificateRequest.
            shown: What proves who sent it.

        Raises:
            Refused: With Istio's status and message.
        """
        self._count(CSRS, "")
        try:
            answer = await self._answer(data, shown)
        except Refused as refused:
            for name, label in refused.counted:
                self._count(name, label)
            raise
        except asyncio.CancelledError:
            self._count(SIGNING_ERRORS, CANCELLED)
            raise
        self._count(ISSUED, "")
        return answer

    async def _answer(self, data: bytes, shown: Shown) -> bytes:
        caller = await self._authenticated(shown)
        wait = self._limit.admit(str(caller.identity), self._monotonic())
        if wait:
            raise Refused(
                "RESOURCE_EXHAUSTED",
                f"too many requests of {caller.identity}: wait {wait:.1f} s",
                (SIGNING_ERRORS, RATE_LIMITED),
            )
        try:
            request = decode_request(data)
        except NotARequest as error:
            raise Refused("INVALID_ARGUMENT", str(error), (PARSING_ERRORS, "")) from error
        _require_grantable(request)
        issued = self._signed(request, caller)
        return encode_response((issued.leaf, *issued.intermediates, issued.roots_pem))

    async def _authenticated(self, shown: Shown) -> Caller:
        try:
            return await self._authenticators.authenticate(shown)
        except Unauthenticated as error:
            log.warning("certificate refused: not authenticated", extra={"reason": str(error)})
            counted = [(AUTHENTICATION_FAILURES, "")]
            if error.is_nobodys:
                counted.append((IDENTITY_ERRORS, ""))
            raise Refused("UNAUTHENTICATED", "request authenticate failure", *counted) from error

    def _signed(self, request: CertificateRequest, caller: Caller) -> IssuedChain:
        # Cut before it becomes a timedelta, which cannot hold every int64.
        seconds = max(0, min(request.seconds, int(MAX_TTL.total_seconds()) + 1))
        try:
            if why := self._refusal(caller):
                raise Denied(f"{caller.identity} gets no certificate: {why}")
            return self._authority.sign(
                request.csr_pem,
                caller.identity,
                timedelta(seconds=seconds),
                authenticated=caller.authenticated,
                pod=caller.pod_uid,
            )
        except MutuaError as error:
            log.warning(
                "certificate refused",
                extra={"identity": str(caller.identity), "reason": str(error)},
            )
            text = f"{error}; {error.hint}" if error.hint else str(error)
            raise Refused(
                _status_of(error), f"CSR signing error ({text})", counter_of(error)
            ) from error


def _require_grantable(request: CertificateRequest) -> None:
    """Refuse wishes that would be dropped silently otherwise."""
    if request.metadata.get(IMPERSONATION):
        raise Refused(
            "UNAUTHENTICATED",
            "request impersonation authentication failure",
            (AUTHENTICATION_FAILURES, ""),
        )
    if request.metadata.get(SIGNER):
        raise Refused(
            "INVALID_ARGUMENT",
            f"CSR signing error (metadata.{SIGNER}: this mesh has one signer; remove the field)",
            (SIGNING_ERRORS, ANOTHER_SIGNER),
        )


def _status_of(error: MutuaError) -> str:
    match error:
        case InvalidSvid():
            return "INTERNAL"
        case Rejected():
            return "INVALID_ARGUMENT"
        case Denied():
            return "PERMISSION_DENIED"
        case _:
            return "INTERNAL"
