"""What does a pod's Envoy say?  Its admin interface listens inside the pod only.

So the request is made there: by a few lines of Python, run in `istio-proxy` through the API's exec.
Unlike curl, Python is certainly there: it runs this program, and containers see the same files.
"""

import io
import json
import sys
from dataclasses import dataclass
from typing import Any, Final

from lightkube import Client

from mutua.api.object import Object
from mutua.cli.client import TIMEOUT
from mutua.cli.istioctl.target import full_name, require_proxy
from mutua.controlplane.proxy_container import PROXY
from mutua.foundation.errors import Rejected, Unavailable
from mutua.xds.bootstrap import ADMIN_PORT

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
        require_proxy(pod)
        out, err = io.BytesIO(), io.BytesIO()
        metadata = pod["metadata"]
        done = self.client.exec(
            metadata["name"],
            namespace=metadata["namespace"],
            container=PROXY,
            command=[sys.executable, "-I", "-S", "-c", ASK, str(self.port), *requests],
            stdout=out,
            stderr=err,
            timeout=TIMEOUT,
        )
        if done.exit_code:
            said = err.getvalue().decode(errors="replace").strip().splitlines()
            raise Unavailable(f"pod {full_name(pod)}: {said[-1] if said else 'no answer'}")
        answers = json.loads(out.getvalue())
        for request, (status, body) in zip(requests, answers, strict=True):
            if status >= 400:
                raise Rejected(f"pod {full_name(pod)}: Envoy refused {request}: {body.strip()}")
        return [body for _, body in answers]

    def ask_json(self, pod: Object, *requests: str) -> list[Any]:
        """Return the answers to requests whose answers are JSON."""
        return [json.loads(body) for body in self.ask(pod, *requests)]
