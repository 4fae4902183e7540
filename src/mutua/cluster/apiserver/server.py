"""The API server: from an HTTP request to the part that answers it.

    who is it? (401) -> what is it about? (404, 405) -> may they? (403) -> answer

Every refusal leaves as the Status document that kubectl knows how to word.
"""

import socket
import ssl
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final

from mutua.cluster.apiserver.auth import Action, Authenticator, Authorizer, MastersOnly, User
from mutua.cluster.apiserver.call import Call, unauthorized, verb_of
from mutua.cluster.apiserver.connection import Limits
from mutua.cluster.apiserver.definitions import publish_definitions
from mutua.cluster.apiserver.documents import document
from mutua.cluster.apiserver.http import serve_http
from mutua.cluster.apiserver.message import Reply, Request, Response
from mutua.cluster.apiserver.objects import Objects
from mutua.cluster.apiserver.registry import Registry
from mutua.cluster.apiserver.reviews import answer_token_review, review
from mutua.cluster.apiserver.route import parse_path
from mutua.cluster.apiserver.status import (
    Forbidden,
    encode,
    method_not_allowed,
    no_such_path,
    refusal_response,
)
from mutua.cluster.apiserver.streaming_port import StreamingBackend
from mutua.cluster.apiserver.subresources import Subresources
from mutua.cluster.apiserver.token_review import TokenReviewer
from mutua.cluster.apiserver.tokens import TokenIssuer
from mutua.foundation.clock import Clock
from mutua.foundation.errors import MutuaError

PUBLIC: Final = frozenset({"/healthz", "/livez", "/readyz", "/version"})
"""Paths that need no identity.  Source: Kubernetes' system:public-info-viewer."""


class ApiServer:
    """Serves one registry to kubectl and to every other Kubernetes client."""

    def __init__(
        self,
        registry: Registry,
        *,
        authenticator: Authenticator,
        streaming: StreamingBackend,
        tokens: TokenIssuer,
        clock: Clock,
        authorizer: Authorizer | None = None,
        is_ready: Callable[[], bool] = lambda: True,
        pages: Mapping[str, Callable[[], Any]] | None = None,
    ) -> None:
        """Put the parts together.

        Args:
            registry: The objects.
            authenticator: Tells who is calling.
            streaming: Serves logs and exec.
            tokens: Makes service account tokens.
            clock: The time of everything.
            authorizer: Tells what they may do; the owner everything, by default.
            is_ready: What /readyz answers.
            pages: Further paths, and the JSON value that is read there.
        """
        self._registry = registry
        self._authenticator = authenticator
        self._authorizer = authorizer or MastersOnly()
        self._objects = Objects(registry, clock)
        self._subresources = Subresources(self._objects, streaming, tokens, clock)
        self._reviewer = TokenReviewer(registry, tokens, clock)
        self._clock = clock
        self._is_ready = is_ready
        self._pages = pages or {}
        self._answered: Counter[tuple[str, int]] = Counter()

    async def serve(
        self,
        listener: socket.socket,
        *,
        tls: ssl.SSLContext,
        ready: Callable[[], None] = lambda: None,
        limits: Limits | None = None,
    ) -> None:
        """Serve on a listening socket until cancelled; see `serve_http`."""
        await publish_definitions(self._registry, self._clock)
        await serve_http(
            listener, self.answer, tls=tls, clock=self._clock, limits=limits, ready=ready
        )

    async def answer(self, request: Request) -> Reply:
        """Answer one request; refusals are replies too."""
        try:
            reply = await self._answer(request)
        except MutuaError as error:
            reply = refusal_response(error)
        status = reply.status if isinstance(reply, Response) else 200
        self._answered[request.method, status] += 1
        return reply

    async def _answer(self, request: Request) -> Reply:
        if request.path in PUBLIC and request.method == "GET":
            return self._public(request)
        user = await self._authenticator.authenticate(request)
        if user is None:
            raise unauthorized()
        target = parse_path(request.path)
        if target is None:
            return self._document(request, user)
        call = Call(request=request, target=target, verb=verb_of(request, target), user=user)
        try:
            self._authorize(user, call.action)
            return await self._dispatch(call)
        except MutuaError as error:
            return refusal_response(error, call.subject)

    async def _dispatch(self, call: Call) -> Reply:
        if call.target.kind.kind == "TokenReview":
            return await answer_token_review(call, self._reviewer)
        if not call.target.kind.stored:
            return review(call, self._authorizer)
        if call.target.subresource:
            return await self._subresources.answer(call)
        return await self._objects.answer(call)

    def _document(self, request: Request, user: User) -> Reply:
        self._authorize(user, Action(verb=request.method.lower(), path=request.path))
        if request.path == "/metrics":
            return _text(200, "".join(self._metrics()))
        page = self._pages.get(request.path)
        found = Response(body=encode(page())) if page else document(request)
        if found is None:
            raise no_such_path()
        if request.method != "GET":
            raise method_not_allowed()
        return found

    def _public(self, request: Request) -> Reply:
        if request.path == "/version":
            return document(request) or _text(404, "")
        if request.path == "/readyz" and not self._is_ready():
            return _text(503, "not ready")
        return _text(200, "ok")

    def _authorize(self, user: User, action: Action) -> None:
        if self._authorizer.allows(user, action):
            return
        what = action.resource or f'path "{action.path}"'
        where = f' in the namespace "{action.namespace}"' if action.namespace else ""
        name = f' "{action.name}"' if action.name else ""
        raise Forbidden(
            f'{what}{name} is forbidden: User "{user.name}" cannot {action.verb} {what} in API '
            f'group "{action.group}"{where}'
        )

    def _metrics(self) -> list[str]:
        # A placeholder: the telemetry issue brings names, histograms and a scrape of the mesh.
        return ["# TYPE mutua_apiserver_requests_total counter\n"] + [
            f'mutua_apiserver_requests_total{{method="{method}",code="{code}"}} {count}\n'
            for (method, code), count in sorted(self._answered.items())
        ]


def _text(status: int, text: str) -> Response:
    return Response(status=status, body=text.encode(), content_type="text/plain")
