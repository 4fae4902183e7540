"""What does a pod's Envoy say?  Its admin interface listens inside the pod only.

So the request is made there, by a few lines of Python in `istio-proxy`.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from lightkube import Client

from mutua.api.object import Object
from mutua.cli.istioctl.execution import run_in_each
from mutua.cli.istioctl.sidecar import ADMIN_PORT
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
        found = run_in_each(self.client, pods, ASK, str(self.port), *requests)
        return [
            one if isinstance(one, Unavailable) else _bodies(pod, requests, one)
            for pod, one in zip(pods, found, strict=True)
        ]


def _bodies(pod: Object, requests: Sequence[str], printed: str) -> list[str]:
    answers = json.loads(printed)
    for request, (status, body) in zip(requests, answers, strict=True):
        if status >= BAD:
            name = full_name(pod)
            raise Rejected(f"pod {name}: Envoy refused {request}: {body.strip()}")
    return [body for _, body in answers]
