"""Who asks for a certificate?  Istio's authenticators, in Istio's order.

    client certificate that the TLS stack verified  ─► one SPIFFE ID of this trust domain, valid
                                                       now, of an account and pod that still exist
    else `authorization: Bearer …`                  ─► TokenReview with audience istio-ca
    else                                            ─► Unauthenticated, naming what each one missed

A call that names a cluster with the metadata `clusterid` is refused when it is not this one:
a token of another cluster may well name the same service account.

Source: istio-semantics 4.2; istio security/pkg/server/ca/authenticate.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from mutua.foundation.clock import Clock
from mutua.foundation.errors import Denied, MutuaError, Rejected
from mutua.foundation.spiffe import SpiffeId
from mutua.identity.svid import Svid, read_svid

AUDIENCE: Final = "istio-ca"
"""Audience of the tokens that buy certificates.  Source: istio TOKEN_AUDIENCES."""

SERVICE_ACCOUNTS: Final = "system:serviceaccounts"
"""Group of every service account.  Source: Kubernetes."""

MAX_TOKEN_CHARACTERS: Final = 8 * 1024
"""Longest token that is looked at; a bound token has less than 1,500 characters."""

BEARER: Final = "bearer "


class Unauthenticated(Denied):
    """Nobody vouches for the caller.

    Attributes:
        is_nobodys: The proof was good, but of an identity that no workload can have.
    """

    code = "certificates.unauthenticated"

    def __init__(self, message: str, *, is_nobodys: bool = False) -> None:
        super().__init__(message)
        self.is_nobodys = is_nobodys


class NobodysIdentity(Rejected):
    """Proof of an identity that no workload can have."""

    code = "certificates.nobodys_identity"


@dataclass(frozen=True, slots=True)
class ReviewedUser:
    """Whom a token speaks for, as status.user of a TokenReview says.

    Attributes:
        username: Four parts for a service account.
        groups: Theirs.
        pod_uid: Of the pod that the token is bound to, "" when it is bound to none.
    """

    username: str
    groups: tuple[str, ...]
    pod_uid: str = ""


class TokenReviewer(Protocol):
    """The API server's TokenReview."""

    async def review(self, token: str, audience: str) -> ReviewedUser:
        """Tell whom a token speaks for, if it is meant for this audience.

        Raises:
            MutuaError: It is not authentic, not valid now, for another audience, or what it is
                bound to is gone.
        """
        ...


class CertificateReviewer(Protocol):
    """What `TokenReviewer` is for tokens, for certificates of this mesh."""

    async def review(self, svid: Svid) -> str:
        """Return the uid of the pod that a certificate was issued to, "" if that is unknown.

        Raises:
            MutuaError: That pod is gone, or its service account is.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What a call brought along to prove who sent it.

    Attributes:
        certificate: The client's certificate, DER, which the TLS stack verified against the trust
            bundle; empty when it showed none.
        authorization: Metadata of that name, "" when there is none.
        cluster: Metadata `clusterid`, "" when there is none.
    """

    certificate: bytes = b""
    authorization: str = ""
    cluster: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Somebody who proved who they are.

    Attributes:
        identity: Whom certificates are issued to.
        authenticated: How, in a person's words.
        pod_uid: Of the pod that their token is bound to, or their certificate was issued to; ""
            where that is unknown.
        serial_number: Of the certificate that they showed, hexadecimal, "" if none.
    """

    identity: SpiffeId
    authenticated: str
    pod_uid: str = ""
    serial_number: str = ""


class Authenticators:
    """Tells who is calling."""

    def __init__(
        self,
        tokens: TokenReviewer,
        certificates: CertificateReviewer,
        *,
        trust_domain: Callable[[], str],
        clock: Clock,
        clusters: Collection[str],
    ) -> None:
        """Believe client certificates of the trust domain, and tokens.

        Args:
            tokens: Reviews tokens.
            certificates: Reviews certificates of the trust domain.
            trust_domain: The mesh's, at the moment.
            clock: Wall time.
            clusters: Ids of the clusters whose tokens `tokens` knows.
        """
        self._tokens = tokens
        self._certificates = certificates
        self._trust_domain = trust_domain
        self._clock = clock
        self._clusters = frozenset(clusters)

    async def authenticate(self, shown: Shown) -> Caller:
        """Return who is calling.

        Raises:
            Unauthenticated: No authenticator knows them.
        """
        reasons: list[str] = []
        is_nobodys = False
        if shown.certificate:
            try:
                return await self._by_certificate(shown.certificate, self._clock.now())
            except MutuaError as error:
                reasons.append(f"client certificate: {error}")
                is_nobodys = isinstance(error, NobodysIdentity)
        else:
            reasons.append("client certificate: none was shown")
        try:
            return await self._by_token(shown)
        except MutuaError as error:
            reasons.append(f"token: {error}")
            is_nobodys = is_nobodys or isinstance(error, NobodysIdentity)
        raise Unauthenticated("; ".join(reasons), is_nobodys=is_nobodys)

    async def _by_certificate(self, der: bytes, now: datetime) -> Caller:
        try:
            svid = read_svid(der)
        except MutuaError as error:
            raise NobodysIdentity(str(error)) from error
        if svid.identity.trust_domain != self._trust_domain():
            raise Rejected(f"{svid.identity} is of another trust domain")
        # The handshake checked this too, but a connection may outlive its certificate.
        if not svid.validity.not_before <= now < svid.validity.not_after:
            raise Rejected(f"expired at {svid.validity.not_after:%F %T} UTC")
        return Caller(
            identity=svid.identity,
            authenticated="client certificate",
            pod_uid=await self._certificates.review(svid),
            serial_number=svid.serial_number,
        )

    async def _by_token(self, shown: Shown) -> Caller:
        if shown.cluster and shown.cluster not in self._clusters:
            raise Rejected(f"unknown cluster {shown.cluster[:100]!r}")
        scheme, token = shown.authorization[: len(BEARER)], shown.authorization[len(BEARER) :]
        if scheme.lower() != BEARER or not token:
            raise Rejected("no bearer token in the metadata `authorization`")
        if len(token) > MAX_TOKEN_CHARACTERS:
            raise Rejected(f"longer than {MAX_TOKEN_CHARACTERS} characters")
        user = await self._tokens.review(token, AUDIENCE)
        parts = user.username.split(":")
        if SERVICE_ACCOUNTS not in user.groups or len(parts) != 4:
            raise NobodysIdentity(f"{user.username} is not a service account")
        try:
            identity = SpiffeId(self._trust_domain(), parts[2], parts[3])
        except Rejected as error:
            raise NobodysIdentity(str(error)) from error
        return Caller(
            identity=identity, authenticated="service account token", pod_uid=user.pod_uid
        )
