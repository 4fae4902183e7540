"""Does a token still speak for somebody?  The TokenReview of authentication.k8s.io.

A token is as good as what it is bound to: when its account or its pod is gone, or another one has
taken its name, it speaks for nobody, however long it would have lasted.

Source: Kubernetes pkg/serviceaccount/claims.go.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from mutua.api.object import PODS, SERVICE_ACCOUNTS, Resource
from mutua.cluster.apiserver.tokens import ISSUER, Account, BadToken, TokenIssuer
from mutua.foundation.clock import Clock, parse_rfc3339
from mutua.store.port import NotFound, ObjectStore

DELETION_GRACE: Final = timedelta(seconds=60)
"""How long after its announced deletion a pod's token still works.  Source: claims.go, `leeway`."""


@dataclass(frozen=True, slots=True)
class TokenUser:
    """Whom a token speaks for.

    Attributes:
        account: The service account, and the pod if it is bound to one.
        audience: The one asked for, that the token is meant for.
    """

    account: Account
    audience: str

    @property
    def groups(self) -> tuple[str, ...]:
        """Every group that a service account is in."""
        return (
            "system:serviceaccounts",
            f"system:serviceaccounts:{self.account.namespace}",
            "system:authenticated",
        )


class TokenReviewer:
    """Reviews the tokens that this server signed."""

    def __init__(self, store: ObjectStore, tokens: TokenIssuer, clock: Clock) -> None:
        """Look accounts and pods up in `store`."""
        self._store = store
        self._tokens = tokens
        self._clock = clock

    async def review(self, text: str, audience: str = ISSUER) -> TokenUser:
        """Return whom a token speaks for now.

        Raises:
            BadToken: Nobody; see `TokenIssuer.verify`, or what it is bound to is gone.
        """
        account = self._tokens.verify(text, audience)
        named = f"service account {account.namespace}/{account.name}"
        await self._bound(SERVICE_ACCOUNTS, account.namespace, account.name, account.uid, named)
        if account.pod:
            named = f"pod {account.namespace}/{account.pod}"
            await self._bound(PODS, account.namespace, account.pod, account.pod_uid, named)
        return TokenUser(account, audience)

    async def review_any(self, text: str, audiences: Sequence[str]) -> TokenUser:
        """Return whom a token speaks for towards one of several audiences, the first that fits.

        Raises:
            BadToken: Nobody, towards none of them; the last audience's reason.
        """
        refused = BadToken("the review names no audience")
        for audience in audiences:
            try:
                return await self.review(text, audience)
            except BadToken as error:
                refused = error
        raise refused

    async def _bound(self, kind: Resource, namespace: str, name: str, uid: str, named: str) -> None:
        try:
            found = await self._store.get(kind, namespace, name)
        except NotFound:
            raise BadToken(f"the token is bound to {named}, which is gone") from None
        metadata = found["metadata"]
        if metadata["uid"] != uid:
            raise BadToken(f"the token is bound to an earlier {named}")
        deleted = metadata.get("deletionTimestamp")
        if deleted and self._clock.now() > parse_rfc3339(deleted) + DELETION_GRACE:
            raise BadToken(f"the token is bound to {named}, which is being deleted")
