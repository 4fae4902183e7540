"""Run a few lines of Python in sidecars, several at once, through the API's exec.

Python, unlike curl or ss, is certainly there: it runs this program, and containers see the same
files.
"""

import asyncio
import sys
from collections.abc import Sequence
from typing import Final

from httpx2 import TransportError
from httpx2.websockets import HTTPXWSException, WebSocketUpgradeError
from lightkube import ApiError, AsyncClient, Client

from mutua.api.object import Object
from mutua.cli.client import TIMEOUT
from mutua.cli.istioctl.sidecar import PROXY
from mutua.cli.istioctl.target import full_name
from mutua.foundation.errors import Unavailable

GONE: Final = 404
"""What the API answers to an exec in a pod that has been deleted."""

PARALLEL: Final = 8
"""Sidecars asked at the same time."""


def run_in_each(
    client: Client, pods: Sequence[Object], script: str, *arguments: str
) -> list[str | Unavailable]:
    """Return what a script prints in the sidecar of each pod; or, in its place, why it did not."""
    return asyncio.run(_run_in_each(client, pods, script, arguments))


async def _run_in_each(
    client: Client, pods: Sequence[Object], script: str, arguments: Sequence[str]
) -> list[str | Unavailable]:
    # Not the synchronous client: it closes an exec's WebSocket while a thread of its own still
    # reads from it, and that thread then eats the next connection's bytes.
    async with AsyncClient(client.config, timeout=TIMEOUT) as connection:
        turn = asyncio.Semaphore(PARALLEL)

        async def one(pod: Object) -> str | Unavailable:
            async with turn:
                try:
                    return await _run(connection, pod, script, arguments)
                except Unavailable as error:
                    return error

        return await asyncio.gather(*map(one, pods))


async def _run(client: AsyncClient, pod: Object, script: str, arguments: Sequence[str]) -> str:
    name = full_name(pod)
    try:
        done = await client.exec(
            pod["metadata"]["name"],
            namespace=pod["metadata"]["namespace"],
            container=PROXY,
            command=[sys.executable, "-I", "-S", "-c", script, *arguments],
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
    return str(done.stdout)
