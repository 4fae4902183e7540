"""What does a pod's Envoy say?  Its admin interface listens inside the pod only.

So the request is made there: by a few lines of Python, run in `istio-proxy` through the API's exec.
Unlike curl, Python is certainly there: it runs this program, and containers see the same files.
"""

import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from httpx2 import TransportError
from httpx2.websockets import HTTPXWSException, WebSocketUpgradeError
from lightkube import ApiError, AsyncClient, Client

from mutua.api.object import Object
from mutua.cli.client import TIMEOUT
from mutua.cli.istioctl.sidecar import ADMIN_PORT, PROXY
from mutua.cli.istioctl.target import full_name, require_proxy
from mutua.foundation.errors import Rejected, Unavailable

ASK: Final = """
import http.client, json, sys
answers = []
for request in sys.argv[2:]:
    method, path = request.split(" ", 1)
    link = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=20)
    try:
        link.request(method, path)
        answer = link.getresponse()
        answers.append([answer.status, answer.read().decode()])
    except OSError as error:
        sys.exit(f"Envoy's admin interface does not answer: {error}")
    finally:
        link.close()
json.dump(answers, sys.stdout)
"""
"""Makes the requests "METHOD /path" it is given and prints [status, body] of each as JSON."""

DUMP: Final = "GET /config_dump?include_eds"
CLUSTERS: Final = "GET /clusters?format=json"

BAD: Final = 400
"""The lowest status of a refusal (RFC 9110)."""

GONE: Final = 404
"""What the API answers to an exec in a pod that has been deleted."""

PARALLEL: Final = 8
"""Sidecars asked at the same time."""


@dataclass(frozen=True, slots=True)
class Admin:
    """Where to ask.

    Attributes:
        client: The way to the API.
        port: Envoy's admin port inside the pod.
    """

    client: Client
    port: int = ADMIN_PORT

    def ask(self, pod: Object, *requests: str) -> list[str]:
        """Return the bodies of the answers to requests such as "GET /certs".

        Raises:
            Rejected: The pod has no sidecar, or Envoy refused a request.
            Unavailable: The sidecar does not run (yet).
        """
        (found,) = self.ask_each([require_proxy(pod)], *requests)
        if isinstance(found, Unavailable):
            raise found
        return found

    def ask_each(self, pods: Sequence[Object], *requests: str) -> list[list[str] | Unavailable]:
        """Ask several sidecars at once; why one did not answer stands in for its answers.

        Raises:
            Rejected: An Envoy refused a request.
        """
        return asyncio.run(self._ask_each(pods, requests))

    async def _ask_each(
        self, pods: Sequence[Object], requests: Sequence[str]
    ) -> list[list[str] | Unavailable]:
        # Not the synchronous client: it closes an exec's WebSocket while a thread of its own still
        # reads from it, and that thread then eats the next connection's bytes.
        async with AsyncClient(self.client.config, timeout=TIMEOUT) as client:
            turn = asyncio.Semaphore(PARALLEL)

            async def one(pod: Object) -> list[str] | Unavailable:
                async with turn:
                    try:
                        return await self._ask(client, pod, requests)
                    except Unavailable as error:
                        return error

            return await asyncio.gather(*map(one, pods))

    async def _ask(self, client: AsyncClient, pod: Object, requests: Sequence[str]) -> list[str]:
        name = full_name(pod)
        try:
            done = await client.exec(
                pod["metadata"]["name"],
                namespace=pod["metadata"]["namespace"],
                container=PROXY,
                command=[sys.executable, "-I", "-S", "-c", ASK, str(self.port), *requests],
                stdin=b"",  # lightkube asks for stdin always; empty, it ends at once
                stdout=True,
                stderr=True,
                timeout=TIMEOUT,
            )
        except ApiError as error:
            raise Unavailable(f"pod {name}: {error.status.message}") from error
        except WebSocketUpgradeError as error:  # most often: deleted since it was listed
            status = error.response.status_code
            gone = "it is no longer there" if status == GONE else f"exec was refused ({status})"
            raise Unavailable(f"pod {name}: {gone}") from error
        except (HTTPXWSException, TransportError) as error:
            what = str(error) or type(error).__name__
            raise Unavailable(f"pod {name}: the connection to it broke: {what}") from error
        if done.exit_code:
            said = str(done.stderr).strip().splitlines()
            raise Unavailable(f"pod {name}: {said[-1] if said else 'no answer'}")
        answers = json.loads(done.stdout)
        for request, (status, body) in zip(requests, answers, strict=True):
            if status >= BAD:
                raise Rejected(f"pod {name}: Envoy refused {request}: {body.strip()}")
        return [body for _, body in answers]
