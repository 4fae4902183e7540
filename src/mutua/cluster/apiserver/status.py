"""How does a refusal look on the wire?  Errors as metav1.Status documents.

kubectl words its messages from reason, code and details, so these three matter more than the
message.  Every typed error of mutua has one place in the table of `status_of`; the few that only
the API itself can raise (wrong media type, unknown path …) are a `Refusal`.
"""

from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from mutua.api.kinds import Kind
from mutua.api.patch import BadPatch, UnsupportedPatchType
from mutua.api.verdict import Invalid
from mutua.cluster.apiserver.message import Response
from mutua.foundation.errors import Conflict, Denied, MutuaError, Rejected, Unavailable
from mutua.store.port import AlreadyExists, Expired, NotFound

Document = dict[str, Any]

encode: Final = msgspec.json.Encoder().encode
"""JSON of a document."""


class Refusal(Rejected):
    """An answer that is about the request rather than about an object.

    Attributes:
        status: HTTP status code.
        reason: metav1.StatusReason.
        details: metav1.StatusDetails, or empty.
    """

    code = "apiserver.refused"

    def __init__(
        self, status: int, reason: str, message: str, *, details: Document | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.details = details or {}


class Forbidden(Denied):
    """Nobody may do this, or not this user.

    Attributes:
        causes: Machine-readable causes, as in metav1.StatusDetails.
    """

    code = "apiserver.forbidden"

    def __init__(self, message: str, *, causes: tuple[Document, ...] = ()) -> None:
        super().__init__(message)
        self.causes = causes


def bad_request(message: str) -> Refusal:
    """The request is malformed."""
    return Refusal(400, "BadRequest", message)


def no_such_path() -> Refusal:
    """Nothing is served there."""
    return Refusal(404, "NotFound", "the server could not find the requested resource")


def method_not_allowed() -> Refusal:
    """The path does not offer this method."""
    return Refusal(
        405, "MethodNotAllowed", "the server does not allow this method on the requested resource"
    )


@dataclass(frozen=True, slots=True)
class Subject:
    """What the request was about, as far as that was understood.

    Attributes:
        kind: The kind of object; None when the path was not understood.
        name: The object's name, or "".
    """

    kind: Kind | None = None
    name: str = ""

    @property
    def details(self) -> Document:
        """The start of metav1.StatusDetails."""
        details: Document = {}
        if self.name:
            details["name"] = self.name
        if self.kind is not None:
            details |= {"group": self.kind.resource.group, "kind": self.kind.resource.plural}
        return {key: value for key, value in details.items() if value}


NOTHING: Final = Subject()


@dataclass(frozen=True, slots=True)
class _Verdict:
    status: int
    reason: str
    message: str
    details: Document = field(default_factory=dict)


def failure(error: MutuaError, subject: Subject = NOTHING) -> Document:
    """Return the Status document that says `error`."""
    verdict = _judge(error, subject)
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": verdict.message,
        "reason": verdict.reason,
        "details": verdict.details,
        "code": verdict.status,
    }


def success(subject: Subject, uid: str) -> Document:
    """Return the Status document that confirms a deletion."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": subject.details | {"uid": uid},
    }


def refusal_response(error: MutuaError, subject: Subject = NOTHING) -> Response:
    """Return the HTTP reply that says `error`."""
    document = failure(error, subject)
    return Response(status=document["code"], body=encode(document))


def _judge(error: MutuaError, subject: Subject) -> _Verdict:
    text = f"{error}; {error.hint}" if error.hint else str(error)
    details = subject.details
    match error:
        case Refusal():
            return _Verdict(error.status, error.reason, text, details | error.details)
        case NotFound():
            return _Verdict(404, "NotFound", text, details)
        case AlreadyExists():
            return _Verdict(409, "AlreadyExists", text, details)
        case BadPatch():
            return _Verdict(422, "Invalid", text, details)
        case UnsupportedPatchType():
            return _Verdict(415, "UnsupportedMediaType", text, details)
        case Conflict():
            return _Verdict(409, "Conflict", text, details)
        case Expired():
            return _Verdict(410, "Expired", text)
        case Invalid():
            return _invalid(error, subject)
        case Forbidden(causes=causes):
            return _Verdict(403, "Forbidden", text, details | {"causes": list(causes)})
        case Denied():
            return _Verdict(403, "Forbidden", text, details)
        case Unavailable():
            seconds = {"retryAfterSeconds": int(error.retry_after or 1)}
            return _Verdict(503, "ServiceUnavailable", text, details | seconds)
        case _:
            return _Verdict(400, "BadRequest", text, details)


def _invalid(error: Invalid, subject: Subject) -> _Verdict:
    kind = subject.kind
    title = ""
    details: Document = {"name": subject.name}
    if kind is not None:
        group = kind.resource.group
        title = f"{kind.kind}.{group}" if group else kind.kind
        details |= {"group": group, "kind": kind.kind}
    details["causes"] = [
        {"reason": e.type.reason, "message": e.message, "field": e.path} for e in error.errors
    ]
    return _Verdict(422, "Invalid", f'{title} "{subject.name}" is invalid: {error}', details)
