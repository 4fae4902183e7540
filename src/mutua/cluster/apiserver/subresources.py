"""What hangs below an object: status, scale, logs, exec, tokens.

attach, port-forward and eviction will be three more lines of the table in `Subresources`.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from mutua.api.object import PODS
from mutua.api.verdict import invalid
from mutua.cluster.apiserver import body
from mutua.cluster.apiserver.call import Call
from mutua.cluster.apiserver.message import Reply, Request, Stream, Upgrade
from mutua.cluster.apiserver.objects import Objects
from mutua.cluster.apiserver.render import json_response
from mutua.cluster.apiserver.scale import answer_scale
from mutua.cluster.apiserver.status import (
    Refusal,
    bad_request,
    method_not_allowed,
    refusal_response,
)
from mutua.cluster.apiserver.streaming_port import ExecRequest, LogOptions, StreamingBackend
from mutua.cluster.apiserver.tokens import ISSUER, SHORTEST_LIFETIME, Account, TokenIssuer
from mutua.foundation.clock import Clock, parse_rfc3339, rfc3339
from mutua.foundation.errors import Conflict

MAX_SECONDS: Final = 2**32
"""Longest life a client may ask a token for; what it gets is shorter.  Source: TokenRequest
validation."""


class Subresources:
    """Answers calls for what hangs below objects."""

    def __init__(
        self, objects: Objects, streaming: StreamingBackend, tokens: TokenIssuer, clock: Clock
    ) -> None:
        """Serve the subresources of the kinds.

        Args:
            objects: Reads and changes the objects themselves.
            streaming: Knows the containers.
            tokens: Makes tokens.
            clock: For `sinceSeconds`.
        """
        self._objects = objects
        self._streaming = streaming
        self._tokens = tokens
        self._clock = clock
        self._answers: dict[str, Callable[[Call], Awaitable[Reply]]] = {
            "status": objects.answer,
            "scale": lambda call: answer_scale(call, objects),
            "log": self._log,
            "exec": self._exec,
            "token": self._token,
        }

    async def answer(self, call: Call) -> Reply:
        """Answer one call.

        Raises:
            MutuaError: It is refused.
        """
        if call.target.subresource == "status" and call.verb not in {"get", "update", "patch"}:
            raise method_not_allowed()
        return await self._answers[call.target.subresource](call)

    async def _log(self, call: Call) -> Reply:
        if call.verb != "get":
            raise method_not_allowed()
        options = log_options(call.request, self._clock.now())
        await self._objects.read(call)
        target = call.target
        return Stream(
            chunks=self._streaming.logs(target.key_namespace, target.name, options),
            content_type="text/plain",
            refuse=lambda error: refusal_response(error, call.subject),
        )

    async def _exec(self, call: Call) -> Reply:
        request = call.request
        if call.verb not in {"get", "create"}:
            raise method_not_allowed()
        command = tuple(request.query.get("command", ()))
        if not any(command):
            raise bad_request("you must specify at least 1 command for the pod")
        if not request.header("upgrade"):
            raise bad_request("Upgrade request required")
        await self._objects.read(call)
        execution = ExecRequest(
            namespace=call.target.key_namespace,
            pod=call.target.name,
            container=request.parameter("container"),
            command=command,
            stdin=request.flag("stdin"),
            stdout=request.flag("stdout"),
            stderr=request.flag("stderr"),
            tty=request.flag("tty"),
            method=request.method,
            target=request.target,
            headers=request.headers,
        )
        return Upgrade(
            take=lambda reader, writer: self._streaming.exec(execution, reader, writer),
            refuse=lambda error: refusal_response(error, call.subject),
        )

    async def _token(self, call: Call) -> Reply:
        if call.verb != "create":
            raise method_not_allowed()
        sent = body.decode(call.request) or {}
        spec = sent.get("spec") if isinstance(sent, dict) else None
        spec = spec if isinstance(spec, dict) else {}
        seconds, audiences = spec.get("expirationSeconds", 3600), spec.get("audiences") or [ISSUER]
        if not isinstance(seconds, int) or not all(isinstance(a, str) for a in audiences):
            raise bad_request("spec.expirationSeconds and spec.audiences: a number and strings")
        _require_lifetime(seconds, call)
        metadata = (await self._objects.read(call))["metadata"]
        account = Account(
            namespace=metadata["namespace"], name=metadata["name"], uid=metadata["uid"]
        )
        if bound := spec.get("boundObjectRef"):
            account = await self._bound_to_pod(account, bound)
        lifetime = timedelta(seconds=seconds)
        token = self._tokens.issue(account, audiences=tuple(audiences), lifetime=lifetime)
        document = {
            "kind": "TokenRequest",
            "apiVersion": "authentication.k8s.io/v1",
            "metadata": {"name": metadata["name"], "namespace": metadata["namespace"]},
            "spec": spec | {"audiences": audiences},
            "status": {"token": token.text, "expirationTimestamp": rfc3339(token.expires)},
        }
        return json_response(document, status=201)

    async def _bound_to_pod(self, account: Account, reference: Any) -> Account:
        """Return the account, speaking for one of its pods.

        Raises:
            MutuaError: The reference is not one to a pod that runs as this account.
        """
        reference = reference if isinstance(reference, dict) else {}
        if (reference.get("kind"), reference.get("apiVersion")) != ("Pod", "v1"):
            raise bad_request("spec.boundObjectRef: tokens are bound to a v1 Pod or to nothing")
        name = str(reference.get("name") or "")
        pod = await self._objects.find(PODS, account.namespace, name)
        uid = pod["metadata"]["uid"]
        if reference.get("uid") not in {None, "", uid}:
            raise Conflict(
                f"the UID in the bound object reference ({reference['uid']}) does not match the "
                f"UID in record ({uid}). The object might have been deleted and then recreated"
            )
        runs_as = pod["spec"].get("serviceAccountName") or "default"
        if runs_as != account.name:
            raise bad_request(
                f'cannot bind token for serviceaccount "{account.name}" to pod running with '
                "different serviceaccount name."
            )
        return replace(account, pod=name, pod_uid=uid)


def _require_lifetime(seconds: int, call: Call) -> None:
    """Refuse what Kubernetes' validation of TokenRequests does.

    Raises:
        Refusal: The lifetime is too short or too long.
    """
    detail = ""
    if seconds < SHORTEST_LIFETIME.total_seconds():
        detail = "may not specify a duration less than 10 minutes"
    elif seconds > MAX_SECONDS:
        detail = "may not specify a duration larger than 2^32 seconds"
    if detail:
        error = invalid("spec.expirationSeconds", seconds, detail)
        kind = "TokenRequest.authentication.k8s.io"
        raise Refusal(422, "Invalid", f'{kind} "{call.target.name}" is invalid: {error}')


def log_options(request: Request, now: datetime) -> LogOptions:
    """Read the query of a log request.

    Raises:
        Refusal: A parameter is malformed.
    """
    since: datetime | None = None
    if (seconds := _natural(request, "sinceSeconds")) is not None:
        since = now - timedelta(seconds=min(seconds, 10**9))
    elif text := request.parameter("sinceTime"):
        try:
            since = parse_rfc3339(text)
        except ValueError:
            raise bad_request(f"invalid sinceTime: {text!r}") from None
    return LogOptions(
        container=request.parameter("container"),
        follow=request.flag("follow"),
        previous=request.flag("previous"),
        tail=_natural(request, "tailLines"),
        since=since,
        timestamps=request.flag("timestamps"),
        limit_bytes=_natural(request, "limitBytes"),
    )


def _natural(request: Request, name: str) -> int | None:
    text = request.parameter(name)
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 20):
        raise bad_request(f"invalid {name}: {text!r}")
    return int(text)
