"""Service account tokens: made for pods and `kubectl create token`, recognised by this server.

A token is a JWT signed with HMAC-SHA256: the API server is the only one that verifies it, so a
shared key that never leaves it is enough.  (Kubernetes signs with a key pair because others
verify too; when that is needed here, this module changes and nobody else.)

Source: RFC 7519 (claims), RFC 7515 (serialisation), RFC 7518 section 3.2 (HS256: the key has at
least the length of the hash).
"""

import base64
import hashlib
import hmac
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
from typing_extensions import override

from mutua.foundation.clock import Clock
from mutua.foundation.errors import Rejected

ISSUER: Final = "https://kubernetes.default.svc.cluster.local"
"""`iss`, and the default audience.  Source: kubeadm's default."""

KEY_BYTES: Final = 32
"""Length of the signing key (RFC 7518 section 3.2)."""

DEFAULT_LIFETIME: Final = timedelta(hours=1)
"""Source: TokenRequest, spec.expirationSeconds."""

SHORTEST_LIFETIME: Final = timedelta(minutes=10)
"""Source: TokenRequest validation."""

LONGEST_LIFETIME: Final = timedelta(days=1)
"""Longer wishes are cut, as API servers may."""


class BadToken(Rejected):
    """Not a token of this server, or not valid now."""

    code = "apiserver.bad_token"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A service account, and the pod that speaks for it if any.

    Attributes:
        namespace: Of the account.
        name: Of the account.
        uid: Of the account.
        pod: Name of the bound pod, or "".
        pod_uid: Its uid, or "".
    """

    namespace: str
    name: str
    uid: str = ""
    pod: str = ""
    pod_uid: str = ""

    @override
    def __str__(self) -> str:
        return f"system:serviceaccount:{self.namespace}:{self.name}"


@dataclass(frozen=True, slots=True)
class Token:
    """A token and the instant at which it stops working."""

    text: str
    expires: datetime


class TokenIssuer:
    """Signs and verifies tokens."""

    def __init__(self, key: bytes, clock: Clock) -> None:
        """Use a secret key.

        Args:
            key: KEY_BYTES random bytes.
            clock: For issue and expiry.
        """
        self._key = key
        self._clock = clock

    def issue(
        self,
        account: Account,
        *,
        audiences: tuple[str, ...] = (),
        lifetime: timedelta = DEFAULT_LIFETIME,
    ) -> Token:
        """Make a token.

        Args:
            account: For whom.
            audiences: Who shall accept it; none means this API server.
            lifetime: Wish, kept within the limits above.
        """
        now = self._clock.now()
        expires = now + min(max(lifetime, SHORTEST_LIFETIME), LONGEST_LIFETIME)
        bound: dict[str, Any] = {
            "namespace": account.namespace,
            "serviceaccount": {"name": account.name, "uid": account.uid},
        }
        if account.pod:
            bound["pod"] = {"name": account.pod, "uid": account.pod_uid}
        claims = {
            "iss": ISSUER,
            "sub": str(account),
            "aud": list(audiences) or [ISSUER],
            "iat": int(now.timestamp()),
            "nbf": int(now.timestamp()),
            "exp": int(expires.timestamp()),
            "kubernetes.io": bound,
        }
        head = _segment({"alg": "HS256", "typ": "JWT"}) + "." + _segment(claims)
        return Token(f"{head}.{_text(self._sign(head))}", expires)

    def verify(self, text: str, audience: str = ISSUER) -> Account:
        """Return who a token speaks for.  Whether they still exist, `TokenReviewer` knows.

        Args:
            text: The token.
            audience: For whom it must be meant.

        Raises:
            BadToken: It was not signed here, is not valid now, or is for another audience.
        """
        head, _, signature = text.rpartition(".")
        if not hmac.compare_digest(_text(self._sign(head)).encode(), signature.encode()):
            raise BadToken("not a token of this API server")
        # Signed by us, so of the shape that `issue` gave it.
        claims = msgspec.json.decode(_bytes(head.partition(".")[2]))
        now = self._clock.now().timestamp()
        if now >= claims["exp"]:
            raise BadToken("the token has expired")
        if now < claims["nbf"]:
            raise BadToken("the token is not valid yet; was the clock set back?")
        if audience not in claims["aud"]:
            raise BadToken(f"the token is for another audience than {audience}")
        bound = claims["kubernetes.io"]
        pod = bound.get("pod", {"name": "", "uid": ""})
        return Account(
            namespace=bound["namespace"],
            name=bound["serviceaccount"]["name"],
            uid=bound["serviceaccount"]["uid"],
            pod=pod["name"],
            pod_uid=pod["uid"],
        )

    def _sign(self, head: str) -> bytes:
        return hmac.digest(self._key, head.encode("utf-8", "replace"), hashlib.sha256)


def _segment(value: dict[str, Any]) -> str:
    return _text(msgspec.json.encode(value))


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
