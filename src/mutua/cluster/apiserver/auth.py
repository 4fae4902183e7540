"""Who is calling, and may they?

Two ports, so that more ways to prove an identity and real RBAC can come without touching the
server: an `Authenticator` turns a request into a `User` (or None), an `Authorizer` decides on an
`Action`.  Today the mesh's owner holds a client certificate of the group system:masters and may
do everything; service account tokens are recognised, and may do nothing yet.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from typing_extensions import override

from mutua.cluster.apiserver.message import Request
from mutua.cluster.apiserver.token_review import TokenReviewer
from mutua.foundation.errors import Rejected
from mutua.identity.x509 import client_subject

MASTERS: Final = "system:masters"
"""The group that may do everything.  Source: Kubernetes RBAC, default roles."""

AUTHENTICATED: Final = "system:authenticated"
"""The group of everybody who proved an identity.  Source: as above."""


DISCOVERY: Final = (["api"], ["apis"], ["openapi"])
"""First path segments that everybody who proved an identity may read.  Source: Kubernetes'
system:discovery role."""


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who proved who they are."""

    name: str
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """What somebody wants to do, in RBAC's terms.

    Attributes:
        verb: get, list, watch, create, update, patch, delete, deletecollection; or the lower-case
            HTTP method for paths that are not objects.
        group: API group of the kind.
        resource: Plural, "" for a path that is no object.
        subresource: Or "".
        namespace: Or "".
        name: Or "".
        path: The URL's path.
    """

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""


class Authenticator(Protocol):
    """Tells who sent a request."""

    async def authenticate(self, request: Request) -> User | None:
        """Return the user, or None when this authenticator does not know them."""
        ...


class Authorizer(Protocol):
    """Tells what a user may do."""

    def allows(self, user: User, action: Action) -> bool:
        """Tell whether `user` may do `action`."""
        ...


class CertificateAuthenticator(Authenticator):
    """Believes client certificates: common name is the user, organizations are the groups."""

    @override
    async def authenticate(self, request: Request) -> User | None:
        if request.certificate is None:
            return None
        subject = client_subject(request.certificate)
        return User(subject.user, (*subject.groups, AUTHENTICATED)) if subject.user else None


class TokenAuthenticator(Authenticator):
    """Believes the service account tokens that this server issued."""

    def __init__(self, reviewer: TokenReviewer) -> None:
        """Believe whom `reviewer` vouches for."""
        self._reviewer = reviewer

    @override
    async def authenticate(self, request: Request) -> User | None:
        scheme, _, token = request.header("authorization").partition(" ")
        if scheme.lower() != "bearer":
            return None
        try:
            reviewed = await self._reviewer.review(token.strip())
        except Rejected:
            return None
        return User(str(reviewed.account), reviewed.groups)


class FirstOf(Authenticator):
    """Asks several authenticators in order."""

    def __init__(self, authenticators: Sequence[Authenticator]) -> None:
        """Ask these, in this order."""
        self._authenticators = tuple(authenticators)

    @override
    async def authenticate(self, request: Request) -> User | None:
        for authenticator in self._authenticators:
            if (user := await authenticator.authenticate(request)) is not None:
                return user
        return None


class MastersOnly(Authorizer):
    """Lets system:masters do everything and others only discover the API; RBAC will replace it."""

    @override
    def allows(self, user: User, action: Action) -> bool:
        if MASTERS in user.groups:
            return True
        root = action.path.split("/")[1:2]
        is_discovery = not action.resource and action.verb == "get" and root in DISCOVERY
        return is_discovery and AUTHENTICATED in user.groups
