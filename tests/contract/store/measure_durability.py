"""How long does one write take with each setting of `synchronous`, and what does sealing cost?

Run by hand.

python tests/contract/store/measure_durability.py [directory]
"""

import asyncio
import sys
import tempfile
import time
from pathlib import Path

from mutua.api.object import SECRETS
from mutua.foundation.clock import SystemClock
from mutua.identity.sealing import KEY_BYTES, Sealer
from mutua.store.sqlite import SqliteStore, Synchronous

WRITES = 1000


async def measure(directory: Path, synchronous: Synchronous, sealer: Sealer | None) -> None:
    name = f"synchronous={synchronous:7} {'sealed' if sealer else 'clear '}"
    path = directory / f"{name}.db"
    store = SqliteStore(path, SystemClock(), synchronous=synchronous, sealing=sealer)
    durations: dict[str, list[float]] = {"create": [], "update": []}
    for number in range(WRITES):
        obj = {"metadata": {"name": f"c{number}", "namespace": "x"}, "data": {"blob": "x" * 2000}}
        start = time.perf_counter()
        made = await store.create(SECRETS, obj)
        created = time.perf_counter()
        await store.update(SECRETS, made | {"data": {"blob": "y" * 2000}})
        durations["create"].append(created - start)
        durations["update"].append(time.perf_counter() - created)
    store.close()
    for verb, seconds in durations.items():
        seconds.sort()
        p50, p99 = seconds[WRITES // 2] * 1e3, seconds[WRITES * 99 // 100] * 1e3
        print(f"{name} {verb}: p50 {p50:.2f} ms, p99 {p99:.2f} ms")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as directory:
        for synchronous in ("FULL", "NORMAL"):
            for sealer in (None, Sealer(bytes(KEY_BYTES))):
                asyncio.run(measure(Path(directory), synchronous, sealer))
