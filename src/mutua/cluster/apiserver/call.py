"""One API request, understood: what every part of the server works on."""

from dataclasses import dataclass

from mutua.cluster.apiserver.auth import Action, User
from mutua.cluster.apiserver.message import Request
from mutua.cluster.apiserver.route import Target
from mutua.cluster.apiserver.status import Refusal, Subject, bad_request, method_not_allowed


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A request for an object or a collection.

    Attributes:
        request: As it came.
        target: What its URL addresses.
        verb: What it wants: get, list, watch, create, update, patch, delete, deletecollection.
        user: Who sent it.
    """

    request: Request
    target: Target
    verb: str
    user: User

    @property
    def subject(self) -> Subject:
        """What refusals are about."""
        return Subject(self.target.kind, self.target.name)

    @property
    def action(self) -> Action:
        """What the authorizer is asked."""
        target = self.target
        return Action(
            verb=self.verb,
            group=target.kind.resource.group,
            resource=target.kind.resource.plural,
            subresource=target.subresource,
            namespace=target.key_namespace or (target.name if _is_namespace(target) else ""),
            name=target.name,
            path=self.request.path,
        )


_ON_OBJECT = {"GET": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_ON_COLLECTION = {"GET": "list", "POST": "create", "DELETE": "deletecollection"}


def verb_of(request: Request, target: Target) -> str:
    """Return what a request wants from its target.

    Raises:
        Refusal: The target does not offer that.
    """
    method = request.method
    if target.subresource:
        verb = _ON_OBJECT.get(method, "create" if method == "POST" else "")
    elif target.name:
        verb = _ON_OBJECT.get(method, "")
    else:
        verb = _ON_COLLECTION.get(method, "")
        if verb == "list" and request.flag("watch"):
            verb = "watch"
    if not verb or (not target.subresource and verb not in target.kind.verbs):
        raise method_not_allowed()
    needs_namespace = verb == "create" and target.kind.namespaced and target.kind.stored
    if needs_namespace and target.namespace is None:
        raise bad_request("an empty namespace may not be set during creation")
    return verb


def unauthorized() -> Refusal:
    """Return the refusal of somebody who did not prove an identity."""
    return Refusal(401, "Unauthorized", "Unauthorized")


def _is_namespace(target: Target) -> bool:
    return target.kind.kind == "Namespace"
