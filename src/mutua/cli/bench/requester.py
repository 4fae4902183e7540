"""Agents without a mesh: ask the CSR service for certificates, as fast as it answers.

    python -m mutua.cli.bench.requester < JSON

Standard input says where, with which token and for how long; standard output says how many came.
"""

import asyncio
import json
import sys
import time
from typing import Any, Final

import grpc
import grpc.aio

from mutua.controlplane.certificates.messages import METHOD, SERVICE

CONNECTIONS: Final = 4
AT_ONCE: Final = 8
"""Calls in flight on each connection."""


async def ask(job: dict[str, Any]) -> int:
    """Ask until the time is over; return how many certificates came.

    Raises:
        grpc.RpcError: One did not.
    """
    credentials = grpc.ssl_channel_credentials(job["roots"].encode())
    options = [("grpc.ssl_target_name_override", job["name"])]
    body, metadata = bytes.fromhex(job["request"]), [("authorization", f"Bearer {job['token']}")]
    end = time.monotonic() + job["seconds"]

    async def one(call: Any) -> int:
        count = 0
        while time.monotonic() < end:
            await call(body, metadata=metadata)
            count += 1
        return count

    channels = [
        # An argument of its own each, or gRPC shares one connection.
        grpc.aio.secure_channel(job["address"], credentials, [*options, ("mutua.connection", i)])
        for i in range(CONNECTIONS)
    ]
    calls = [channel.unary_unary(f"/{SERVICE}/{METHOD}") for channel in channels]
    try:
        counts = await asyncio.gather(*(one(call) for call in calls for _ in range(AT_ONCE)))
    finally:
        for channel in channels:
            await channel.close()
    return sum(counts)


if __name__ == "__main__":
    print(asyncio.run(ask(json.loads(sys.stdin.read()))))
