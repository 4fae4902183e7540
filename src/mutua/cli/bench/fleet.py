"""Proxies without an Envoy: ADS clients that subscribe, confirm and count what they are sent.

    python -m mutua.cli.bench.fleet DIRECTORY PROXIES SERVICES
    python -m mutua.cli.bench.fleet DIRECTORY PROXIES

In the second form they ask for secrets only, each over one stream per secret, as Envoy does; in the
first, each subscribes to what an Envoy of that mesh would: all clusters and listeners, the
endpoints of every Service, the route of their port.  It answers every line on standard input with
the bytes and responses that came since the last.
"""

import asyncio
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mutua.agent.sds_resources import CERTIFICATE, SECRET, TRUST
from mutua.cli.bench.http2 import Connection
from mutua.cli.bench.hub import PORT, namespace_of, socket_of
from mutua.xds.proto import DeltaDiscoveryRequest, DeltaDiscoveryResponse
from mutua.xds.resource import CLUSTER, ENDPOINT, LISTENER, ROUTE
from mutua.xds.server import ADS, METHODS, SDS

METHOD: Final = f"/{ADS}/{METHODS[ADS]}"
SECRETS_METHOD: Final = f"/{SDS}/{METHODS[SDS]}"


@dataclass(slots=True)
class Count:
    """What arrived."""

    bytes: int = 0
    responses: int = 0


def subscriptions(services: int) -> list[bytes]:
    """Return a proxy's first requests."""
    names = [
        f"outbound|{PORT}||s{number}.{namespace_of(number)}.svc.cluster.local"
        for number in range(services)
    ]
    wanted = {CLUSTER: [], ENDPOINT: names, LISTENER: [], ROUTE: [str(PORT)]}
    return [_request(kind, resource_names_subscribe=found) for kind, found in wanted.items()]


def confirmation(response: bytes) -> bytes:
    """Return the request that confirms a response."""
    given = DeltaDiscoveryResponse.FromString(response)
    return _request(given.type_url, response_nonce=given.nonce)


def secrets() -> list[list[bytes]]:
    """Return the first requests of a proxy's streams for secrets."""
    return [[_request(SECRET, resource_names_subscribe=[name])] for name in (CERTIFICATE, TRUST)]


def _request(kind: str, **fields: Any) -> bytes:
    return bytes(DeltaDiscoveryRequest(type_url=kind, **fields).SerializeToString())


async def follow(
    socket: Path, streams: list[list[bytes]], count: Count, method: str = METHOD
) -> None:
    """Be a proxy: open its streams with these requests, and confirm until the server ends."""

    def answer(response: bytes) -> bytes:
        count.bytes += len(response)
        count.responses += 1
        return confirmation(response)

    loop = asyncio.get_running_loop()
    _, connection = await loop.create_unix_connection(Connection, str(socket))
    try:
        for first in streams:
            connection.call(method, first, answer)
        await connection.lost
    finally:
        connection.close()


async def run(directory: Path, proxies: int, services: int | None) -> None:
    """Be all proxies, until standard input ends; without Services, ask for secrets."""
    count = Count()
    method = SECRETS_METHOD if services is None else METHOD
    streams = secrets() if services is None else [subscriptions(services)]
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(follow(socket_of(directory, number), streams, count, method))
            for number in range(proxies)
        ]
        loop = asyncio.get_running_loop()
        while await loop.run_in_executor(None, sys.stdin.readline):
            found = {"bytes": count.bytes, "responses": count.responses}
            count.bytes = count.responses = 0
            sys.stdout.write(json.dumps(found) + "\n")
            sys.stdout.flush()
        for task in tasks:
            task.cancel()


def main() -> None:
    """Run, on another core than the control plane where there is one."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    directory, proxies, *services = sys.argv[1:]
    asyncio.run(run(Path(directory), int(proxies), int(services[0]) if services else None))


if __name__ == "__main__":
    main()
