"""What the control plane tells about itself: /metrics, /ready and /version on port 15014.

It listens on the node's address in the mesh's own network namespace: pods reach it, the host does
not.
"""

import socket
from collections.abc import Callable
from typing import Final

from mutua.cluster.apiserver.connection import Limits
from mutua.cluster.apiserver.http import serve_http
from mutua.cluster.apiserver.message import Request, Response
from mutua.foundation.clock import Clock
from mutua.lifecycle.supervisor import Ready
from mutua.telemetry.metrics import CONTENT_TYPE, Metrics

TEXT: Final = "text/plain; charset=utf-8"

LIMITS: Final = Limits(stranger_body=0, head=8192, idle=10.0, request=5.0, write=5.0)
"""Any pod may ask; nobody may keep others from asking for long."""


class Monitoring:
    """The HTTP endpoint of one control plane."""

    def __init__(
        self, metrics: Metrics, clock: Clock, *, address: str, port: int, version: str
    ) -> None:
        self._clock = clock
        self._where = (address, port)
        self._pages: dict[str, Callable[[], Response]] = {
            "/metrics": lambda: Response(body=metrics.text(), content_type=CONTENT_TYPE),
            # It is the last part of the control plane that starts, and the first that ends.
            "/ready": lambda: Response(content_type=TEXT),
            "/version": lambda: Response(body=f"{version}\n".encode(), content_type=TEXT),
        }

    async def run(self, ready: Ready) -> None:
        """Serve until cancelled.

        Raises:
            OSError: Somebody has the port.
        """
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(self._where)
            await serve_http(
                listener, self._answer, tls=None, clock=self._clock, limits=LIMITS, ready=ready
            )
        finally:
            listener.close()

    async def _answer(self, request: Request) -> Response:
        page = self._pages.get(request.path)
        if page is None:
            known = ", ".join(self._pages)
            return Response(status=404, body=f"not here: {known}\n".encode(), content_type=TEXT)
        if request.method not in {"GET", "HEAD"}:
            return Response(status=405, content_type=TEXT, headers=(("Allow", "GET, HEAD"),))
        return page()
