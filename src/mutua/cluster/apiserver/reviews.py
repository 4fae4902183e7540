"""What may I do, and who am I?  Questions that `kubectl auth` asks, answered but never stored."""

from typing import Any, Final

from mutua.api.object import Object
from mutua.cluster.apiserver import body
from mutua.cluster.apiserver.auth import Action, Authorizer
from mutua.cluster.apiserver.call import Call
from mutua.cluster.apiserver.message import Response
from mutua.cluster.apiserver.render import json_response
from mutua.cluster.apiserver.status import bad_request
from mutua.cluster.apiserver.token_review import TokenReviewer
from mutua.cluster.apiserver.tokens import ISSUER, BadToken

Document = dict[str, Any]

MAX_AUDIENCES: Final = 16
"""How many of a review's audiences are looked at."""

ANYTHING: Document = {
    "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
    "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
    "incomplete": False,
}
"""The rules of somebody who may do everything."""

NOTHING: Document = {"resourceRules": [], "nonResourceRules": [], "incomplete": False}


def review(call: Call, authorizer: Authorizer) -> Response:
    """Answer a SelfSubject… review.

    Raises:
        Refusal: The question is malformed.
    """
    sent = body.completed(body.decode_object(call.request), call.target)
    spec = sent.get("spec") if isinstance(sent.get("spec"), dict) else {}
    status: Document
    match call.target.kind.kind:
        case "SelfSubjectAccessReview":
            is_allowed = authorizer.allows(call.user, _action(spec or {}))
            status = {"allowed": is_allowed}
        case "SelfSubjectRulesReview":
            # Without RBAC there are two kinds of users: those who may do everything, and others.
            is_allowed = authorizer.allows(call.user, Action(verb="*"))
            status = ANYTHING if is_allowed else NOTHING
        case _:
            status = {"userInfo": {"username": call.user.name, "groups": list(call.user.groups)}}
    metadata = {"creationTimestamp": None}
    return json_response(sent | {"metadata": metadata, "status": status}, status=201)


def _action(spec: Object) -> Action:
    resource = _texts(spec.get("resourceAttributes"))
    path = _texts(spec.get("nonResourceAttributes"))
    return Action(
        verb=resource.get("verb") or path.get("verb") or "",
        group=resource.get("group", ""),
        resource=resource.get("resource", ""),
        subresource=resource.get("subresource", ""),
        namespace=resource.get("namespace", ""),
        name=resource.get("name", ""),
        path=path.get("path", ""),
    )


def _texts(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        return {}
    return {key: text for key, text in value.items() if isinstance(text, str)}


async def answer_token_review(call: Call, reviewer: TokenReviewer) -> Response:
    """Answer a TokenReview: an unknown token is an answer, not a failure.

    Raises:
        Refusal: The question is malformed.
    """
    sent = body.completed(body.decode_object(call.request), call.target)
    spec = sent.get("spec") or {}
    token, audiences = spec.get("token"), spec.get("audiences") or [ISSUER]
    if not isinstance(token, str) or not token or not all(isinstance(a, str) for a in audiences):
        raise bad_request("spec.token: a token; spec.audiences: strings")
    status: Object
    try:
        found = await reviewer.review_any(token, audiences[:MAX_AUDIENCES])
    except BadToken as error:
        status = {"user": {}, "error": str(error)}
    else:
        extra = {}
        if found.account.pod:
            prefix = "authentication.kubernetes.io/pod-"
            extra = {f"{prefix}name": [found.account.pod], f"{prefix}uid": [found.account.pod_uid]}
        user = {
            "username": str(found.account),
            "uid": found.account.uid,
            "groups": list(found.groups),
            "extra": extra,
        }
        status = {"authenticated": True, "user": user, "audiences": [found.audience]}
    answer = sent | {"metadata": {"creationTimestamp": None}, "status": status}
    return json_response(answer, status=201)
